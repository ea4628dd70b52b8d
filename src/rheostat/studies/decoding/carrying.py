"""Is a mixed-in concept carried on? Its words' ranks at later blocks, against unrelated lists and a shuffled vector.

Each list is mixed in at the block, source and factor that the other lists chose in the capitals part.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from rheostat.base.shapes import Figure, Profile
from rheostat.data.word_lists import UNRELATED_LISTS
from rheostat.edit.arithmetic import Add
from rheostat.metrics.statistics import Values, bootstrap_mean, paired_difference
from rheostat.model import Model
from rheostat.studies.decoding import capitals
from rheostat.studies.decoding.capitals import Effects, Task, build_task, country
from rheostat.studies.decoding.cells import all_cells, capture_cells, lens_ranks
from rheostat.studies.decoding.judging import held, judge, measurement, number
from rheostat.studies.decoding.mixing import Dial, adding, mixing, mixing_vectors
from rheostat.studies.decoding.part import Part, joined, step_params
from rheostat.studies.decoding.vocabulary import group_tokens
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context

CLAIM = "decode-8"
STATEMENT = (
    "The injected concept is carried on and joins the computation: with the mix at 14, France appears beside "
    "Germany and "
    "Capital at 19."
)
KINDS = ("own list", "unrelated words", "shuffled vector")
POINTS = ("attn_out", "resid_post")
"""Where the concept could reappear: what later attention reads, and the stream."""
N_UNRELATED = 2


def concept_words(concept: str) -> list[str]:
    """Return the country's name, its people's word and its capital."""
    found = country(concept)
    return [found.name, found.people, found.capital]


def edits(
    vectors: Mapping[tuple[str, int, str], torch.Tensor], text: str, dial: Dial, seed: int
) -> list[tuple[str, Add]]:
    """Return the list's own mixing, unrelated lists in its place, and its own vector with shuffled coordinates."""
    own = vectors[text, dial.block, dial.source]
    order = torch.from_numpy(np.random.default_rng(seed).permutation(own.numel()))
    found = [("own list", mixing(vectors, text, dial))]
    found += [("unrelated words", mixing(vectors, other, dial)) for other in UNRELATED_LISTS[:N_UNRELATED]]
    return [*found, ("shuffled vector", adding(own[order], dial))]


def measure(model: Model, context: Context, dials: Mapping[str, Dial]) -> pd.DataFrame:
    """Return one row per list, prompt, kind of mixing and later cell: log10 rank of the concept's best word.

    Columns: concept, prompt, kind, block, point, `rank`, and `plain`, the same without any mixing.
    """

    def compute() -> pd.DataFrame:
        task = build_task(model, n_prompts=1 if context.quick else capitals.N_PROMPTS)
        vectors = mixing_vectors(model, task.texts)
        jobs = [
            (concept, prompt, kind, edit)
            for concept, dial in dials.items()
            for kind, edit in edits(vectors, _text(task, concept), dial, context.seed)
            for prompt in task.prompts
        ]
        cells = all_cells(model, POINTS)
        mixed = capture_cells(model, [job[1] for job in jobs], cells, plans=[job[3] for job in jobs])
        plain = capture_cells(model, task.prompts, cells)
        tables = []
        for row in context.progress(range(len(jobs)), f"carrying, {model.name}"):
            concept, prompt, kind, _ = jobs[row]
            later = [index for index, cell in enumerate(cells) if cell.block > dials[concept].block]
            words = [group_tokens(model, concept_words(concept))]
            before = plain[later, task.prompts.index(prompt)]
            tables.append(
                pd.DataFrame(
                    {
                        "concept": concept,
                        "prompt": prompt,
                        "kind": kind,
                        "block": [cells[index].block for index in later],
                        "point": [cells[index].point for index in later],
                        "rank": lens_ranks(model, mixed[later, row], words, [])[0][:, 0].log10().numpy(),
                        "plain": lens_ranks(model, before, words, [])[0][:, 0].log10().numpy(),
                    }
                )
            )
        return pd.concat(tables, ignore_index=True)

    params = step_params(model, context, dials={name: str(dial) for name, dial in dials.items()}, kinds=KINDS)
    return context.step(f"carrying-{model.name}", params, compute)


def _text(task: Task, concept: str) -> str:
    return next(one.text for one in task.lists if one.concept == concept)


def improvement(table: pd.DataFrame, kind: str) -> "pd.Series[float]":
    """Return, per concept, by how many decades its words rank better than without mixing, mean over later cells."""
    here = table[table["kind"] == kind]
    return (here["plain"] - here["rank"]).groupby(here["concept"]).mean()


def measure_all(name: str, table: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return the list's improvement against both controls."""
    own = improvement(table, "own list")
    found = []
    for kind in KINDS[1:]:
        control = improvement(table, kind).reindex(own.index)
        found.append(
            measurement(
                name,
                "rank of the concept's words at later blocks, decades better than without mixing",
                paired_difference(_array(own), _array(control), seed=seed),
                control=float(control.mean()),
                unit="word lists",
                control_name=f"{kind} in the same place",
            )
        )
    return found


def _array(values: "pd.Series[float]") -> Values:
    return np.asarray(values.to_numpy(dtype=float))


def run(context: Context) -> Part:
    """Measure the models on which mixing has an effect of its own, and judge the claim."""
    tables: dict[str, pd.DataFrame] = {}
    dials: dict[str, dict[str, Dial]] = {}
    for model in context.models:
        effects = Effects.of(capitals.measure(model, context))
        dials[model.name] = _early_enough(effects, model.n_blocks)
        tables[model.name] = measure(model, context, dials[model.name])
    every = [one for name, table in tables.items() for one in measure_all(name, table, context.seed)]
    planted = [
        capitals.planted_found(capitals.measure_planted(model, context), context.seed) for model in context.models
    ]
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(every, planted_found=all(one.low > 0 for one in planted)),
        reason=f"{held(every)} Mean over the attention outputs and block outputs of all later blocks, last token.",
        measurements=tuple(every),
    )
    figures: tuple[Figure, ...] = tuple(_figure(name, table, context.seed) for name, table in tables.items())
    section = Section(
        heading="Is the mixed-in concept carried on?",
        text="\n\n".join(_describe(name, table, dials[name], every) for name, table in tables.items()),
        figures=tuple(figure.name for figure in figures),
        tables=("carrying",),
    )
    return Part((section,), {"carrying": joined(tables)}, figures, (verdict,))


def _early_enough(effects: Effects, n_blocks: int) -> dict[str, Dial]:
    """Return each list's dial; a dial in the last block leaves no later block, so the best one before it is taken."""
    found = {}
    for choose, report in effects.halves():
        gain = effects.beyond[choose].mean(axis=(0, 1))
        inner = np.array([dial.block < n_blocks - 1 for dial in effects.dials])
        dial = effects.dials[int(np.where(inner, gain, -np.inf).argmax())]
        found.update({effects.concepts[row]: dial for row in report})
    return {concept: found[concept] for concept in effects.concepts}


def _describe(name: str, table: pd.DataFrame, dials: Mapping[str, Dial], every: Sequence[Measurement]) -> str:
    own = table[table["kind"] == "own list"]
    means = own.assign(gain=own["plain"] - own["rank"]).groupby(["block", "point"])["gain"].mean()
    block, point = max(means.index, key=lambda place: float(means[place]))
    places = "; ".join(dict.fromkeys(str(dial) for dial in dials.values()))
    said = " ".join(
        f"{number(one.effect)} decades better, with {one.control_name} {number(one.control)} (difference "
        f"[{number(one.low)}, {number(one.high)}])."
        for one in every
        if one.model == name
    )
    shown = _share_in_top(own)
    return (
        f"{name}, mixed in at {places}. At later blocks the concept's words rank {said} The gain is largest at "
        f"block {block}'s {point}: {number(float(means.max()))} decades. One of the words is among the ten "
        f"likeliest in {shown:.0%} of the later cells "
        f"with the list, and in {_share_in_top(own.assign(rank=own['plain'])):.0%} without mixing."
    )


def _share_in_top(table: pd.DataFrame) -> float:
    return float((table["rank"] <= 1).mean())


def _figure(name: str, table: pd.DataFrame, seed: int) -> Profile:
    rows = []
    gains = table.assign(gain=table["plain"] - table["rank"])
    for kind in KINDS:
        here = gains[gains["kind"] == kind].groupby(["block", "concept"])["gain"].mean().reset_index()
        for block, group in here.groupby("block"):
            if len(group) >= 2:
                mean = bootstrap_mean(_array(group["gain"]), seed=seed)
                rows.append({"x": block, "value": mean.value, "low": mean.low, "high": mean.high, "series": kind})
    return Profile(
        name=f"carrying-{name}",
        title=f"Words of the mixed-in country at later blocks of {name}",
        x_label="block",
        y_label="gain in rank over no mixing (decades)",
        table=pd.DataFrame(rows),
        note=f"n = {table['concept'].nunique()} word lists, 95 % bootstrap intervals; mean of attention and "
        f"block outputs.",
        reference={"no mixing": 0.0},
    )
