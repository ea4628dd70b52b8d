"""Do the states at a subject's last token come to say more about it than its embedding does?

The block is chosen on half of the subjects and reported on the other; each control gets a block of its own in the same
way. A rise counts from the subject's embedding, decoded alike.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch

from rheostat.base.shapes import Profile
from rheostat.metrics.statistics import Values, bootstrap_mean, paired_difference
from rheostat.model import Model
from rheostat.studies.curve import curve
from rheostat.studies.held_out import cross_fitted
from rheostat.studies.judging import held, interval, judge, measurement, number
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.recall.enrichment import (
    CENTRED,
    END,
    FIRST,
    LAST,
    NORMED,
    PLAIN,
    WAYS,
    by_block,
    embedding_rate,
    measure,
    rates,
    states_of,
)
from rheostat.studies.recall.facts import Subject, chosen_subjects, own_words, subject_params
from rheostat.studies.recall.planted import saying
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.studies.untrained import untrained
from rheostat.tracing.attributes_rate import WordDecoder, shares

CLAIM = "recall-1"
STATEMENT = (
    "Layers enrich the subject: up to half of the tokens decoded at its position in upper layers are about it, against "
    "5 to 10 % in the embeddings."
)


def measure_all(name: str, table: pd.DataFrame, fresh: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return the rise of the rate at the best block: against other subjects' words, and beyond them against the rest.

    All at the last subject token. The second compares it with no rise at all, the direction of the claim itself.
    """
    beyond = by_block(table, "beyond")
    several = table[table["several"]]["subject"].unique()
    compared: list[tuple[str, pd.DataFrame, pd.DataFrame]] = [
        ("the embedding", beyond, 0 * beyond),
        ("the last prompt token", beyond, by_block(table, "beyond", place=END)),
        ("an untrained network", beyond, by_block(fresh, "beyond").loc[beyond.index]),
    ]
    if len(several) >= 2:
        first = by_block(table, "beyond", place=FIRST)
        compared.append(
            ("the first subject token, subjects of several tokens", beyond.loc[several], first.loc[several])
        )
    own, other = (by_block(table, column).to_numpy() for column in ("own", "other"))
    rise = "rise of the attributes rate"
    return [
        _rise(name, rise, "other subjects' words", own, other, seed),
        *(
            _rise(name, f"{rise} beyond others' words", control_name, one.to_numpy(), two.to_numpy(), seed)
            for control_name, one, two in compared
        ),
    ]


def that_decide(found: Sequence[Measurement]) -> list[Measurement]:
    """Return the measurements of a model that decide: where the claim's direction fails, no other control helps it."""
    return list(found) if found[1].low > 0 else [found[1]]


def measure_centred(name: str, table: pd.DataFrame, seed: int) -> Measurement:
    """Return the rate itself at the best block when what all subjects share is taken off the states."""
    own, other = (rates(table, column, way=CENTRED).to_numpy() for column in ("own", "other"))
    effect, _ = cross_fitted(own)
    control, _ = cross_fitted(other)
    return measurement(
        name,
        "attributes rate, minus the mean subject (does not decide)",
        paired_difference(effect, control, seed=seed),
        control=float(control.mean()),
        unit="subjects",
        control_name="other subjects' words",
    )


def _rise(name: str, quantity: str, control_name: str, own: Values, other: Values, seed: int) -> Measurement:
    effect, _ = cross_fitted(own)
    control, _ = cross_fitted(other)
    return measurement(
        name,
        quantity,
        paired_difference(effect, control, seed=seed),
        control=float(control.mean()),
        unit="subjects",
        control_name=control_name,
    )


def measure_planted(model: Model, context: Context, subjects: Sequence[Subject]) -> pd.DataFrame:
    """Return the rates when a direction that says the subject's words is added to its state at the middle block.

    Columns: subject, plain, planted, other. The direction is the mean of the unembedding's rows for the words that are
    one token, as long as the state itself.
    """

    def compute() -> pd.DataFrame:
        states, decoder, rows = states_of(model, subjects)[LAST], WordDecoder(model), []
        block = model.n_blocks // 2
        for place, one in enumerate(subjects):
            left_out = own_words(model, one)
            tokens = [token for word in sorted(one.words - left_out) if (token := _token(model, word)) is not None]
            state = states[place, block]
            planted = torch.stack([state, state + saying(model, tokens, state)])
            decoded = decoder.words(planted, leave_out=left_out)
            plain, found = shares(decoded, one.words - left_out).nan_to_num().tolist()
            rows.append({"subject": one.name, "plain": plain, "planted": found})
        return pd.DataFrame(rows)

    params = step_params(model, context, **subject_params(subjects))
    return context.step(f"planted-enrichment-{model.name}", params, compute)


def _token(model: Model, word: str) -> int | None:
    ids = model.tokens.tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
    return int(ids[0]) if len(ids) == 1 else None


def run(context: Context) -> Part:
    """Decode the subjects of all models and judge the claim."""
    tables: dict[str, pd.DataFrame] = {}
    fresh: dict[str, pd.DataFrame] = {}
    planted: dict[str, Measurement] = {}
    for model in context.models:
        subjects = chosen_subjects(model, context)
        tables[model.name] = measure(model, context, subjects)
        blank = untrained(model, context.seed)
        fresh[model.name] = measure(blank, context, subjects, name=f"untrained-{model.name}", brief=True)
        planted[model.name] = _planted(measure_planted(model, context, subjects), context.seed)
    found = {name: measure_all(name, tables[name], fresh[name], context.seed) for name in tables}
    deciding = [one for ms in found.values() for one in that_decide(ms)]
    every = [one for ms in found.values() for one in ms]
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=all(one.low > 0 for one in planted.values())),
        reason=f"{held(deciding)} Where there is no rise beyond other subjects' words, the other controls do not "
        "decide. Decoded without the final norm, as in the source. A direction that says the "
        "subject's words, planted in the middle block at the length of the state, raises the rate by "
        + "; ".join(f"{number(one.effect)} {interval(one)}" for one in planted.values())
        + ".",
        measurements=(*every, *(measure_centred(name, table, context.seed) for name, table in tables.items())),
    )
    figures = tuple(_figure(name, tables[name], fresh[name], context.seed) for name in tables)
    ways = tuple(_ways(name, tables[name], context.seed) for name in tables)
    section = Section(
        heading="What the subject's states say",
        text="\n\n".join(_describe(name, tables, found[name]) for name in tables),
        figures=tuple(figure.name for figure in (*figures, *ways)),
    )
    kept = {"enrichment": joined(tables), "enrichment-untrained": joined(fresh)}
    return Part((section,), kept, (*figures, *ways), (verdict,))


def _planted(table: pd.DataFrame, seed: int) -> Measurement:
    return measurement(
        "planted",
        "rise of the attributes rate",
        bootstrap_mean((table["planted"] - table["plain"]).to_numpy(), seed=seed),
        control=0.0,
        unit="subjects",
        control_name="the state as it is",
    )


def _describe(name: str, tables: Mapping[str, pd.DataFrame], found: Sequence[Measurement]) -> str:
    table = tables[name]
    best = []
    for way in WAYS:
        own, other = (rates(table, column, way=way).mean() for column in ("own", "other"))
        block = int(own.to_numpy().argmax())
        best.append(
            f"{way}: embedding {embedding_rate(tables, name, way):.1%}, highest {own[block]:.1%} at block {block} "
            f"(other subjects' words there {other[block]:.1%})"
        )
    rises = "; ".join(f"{number(one.control)} {one.control_name}, difference {interval(one)}" for one in found[2:])
    return (
        f"{name}, {table['subject'].nunique()} subjects. Share of the decoded words that are about the subject, last "
        f"subject token. {'. '.join(text[0].upper() + text[1:] for text in best)}. Rise over the embedding at the "
        f"block that the other half of the subjects chose: {number(found[0].effect)}; other subjects' words "
        f"{number(found[0].control)} (difference {interval(found[0])}). Beyond other subjects' words the rise is "
        f"{number(found[1].effect)} {interval(found[1])}; controls: {rises}."
    )


def _figure(name: str, table: pd.DataFrame, fresh: pd.DataFrame, seed: int) -> Profile:
    lines = (
        (LAST, rates(table, "own")),
        ("other subjects' words there", rates(table, "other")),
        (END, rates(table, "own", place=END)),
        ("untrained network", rates(fresh, "own")),
    )
    rows: list[dict[str, object]] = []
    for label, wide in lines:
        rows += curve(label, enumerate(wide.to_numpy().T), seed)
    return Profile(
        name=f"enrichment-{name}",
        title=f"Words about the subject that its states decode to, {name}",
        x_label="block",
        y_label="attributes rate (share of 50 words)",
        table=pd.DataFrame(rows),
        note=f"n = {table['subject'].nunique()} subjects, 95 % bootstrap intervals; {PLAIN}.",
        reference={"embedding": embedding_rate({name: table}, name)},
    )


def _ways(name: str, table: pd.DataFrame, seed: int) -> Profile:
    rows: list[dict[str, object]] = []
    for way in (PLAIN, NORMED, CENTRED):
        excess = rates(table, "own", way=way) - rates(table, "other", way=way)
        rows += curve(way, enumerate(excess.to_numpy().T), seed)
    return Profile(
        name=f"enrichment-ways-{name}",
        title=f"The same beyond others' words, in three ways, {name}",
        x_label="block",
        y_label="attributes rate beyond other subjects' words",
        table=pd.DataFrame(rows),
        note=f"n = {table['subject'].nunique()} subjects, last subject token, 95 % bootstrap intervals.",
        reference={"no difference": 0.0},
    )
