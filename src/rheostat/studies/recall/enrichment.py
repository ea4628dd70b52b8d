"""Enrichment: do the states at a subject come to say more about it from block to block?

Every state is decoded to words, and the attributes rate is the share of them that stand in the profile of the
subject's country. Controls: the profiles of other countries, the subject's first token, the prompt's last token, and a
network of the same shape that learned nothing. The subject's own words and those of the prompt never count.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from rheostat.model import Model
from rheostat.studies.part import step_params
from rheostat.studies.recall.facts import Subject, other_words, own_words, subject_params
from rheostat.studies.study import Context
from rheostat.tracing.attributes_rate import WordDecoder, shares

ROWS = 32
"""Prompts captured at a time."""
EMBEDDING, LAST, FIRST, END = "embedding", "last subject token", "first subject token", "last prompt token"
PLACES = (LAST, FIRST, END)
PLAIN, NORMED, CENTRED = "unembedding alone", "with the final norm", "minus the mean subject"
WAYS = (PLAIN, NORMED, CENTRED)
"""How a state is decoded. The paper goes without the norm; centring removes what all subjects share."""


def states_of(model: Model, subjects: Sequence[Subject]) -> dict[str, Tensor]:
    """Return states by place: of the embedding (subject, 1, d_model), of the others (subject, block, d_model)."""
    sites = [f"blocks.{block}.resid_post" for block in range(model.n_blocks)]
    found: dict[str, list[Tensor]] = {place: [] for place in (EMBEDDING, *PLACES)}
    for start in range(0, len(subjects), ROWS):
        chunk = subjects[start : start + ROWS]
        acts = model.capture([one.known.fact.prompt for one in chunk], ["blocks.0.resid_pre", *sites])
        for row, one in enumerate(chunk):
            found[EMBEDDING].append(acts["blocks.0.resid_pre"][row, list(one.known.subject)].mean(0, keepdim=True))
            ends = (one.last, one.known.subject[0], len(one.known.tokens) - 1)
            for place, position in zip(PLACES, ends, strict=True):
                found[place].append(torch.stack([acts[site][row, position] for site in sites]))
    return {place: torch.stack(states) for place, states in found.items()}


def measure(
    model: Model, context: Context, subjects: Sequence[Subject], *, name: str = "", brief: bool = False
) -> pd.DataFrame:
    """Return one row per subject, place, block and way of decoding.

    Columns: subject, several (whether it has several tokens), place, way, block (−1 for the embedding), `own`: the
    share of words about the subject, `other`: about other subjects, on average. The first token is only decoded where
    it is not the last; `brief`: only embedding and last token, in the paper's way.
    """
    name = name or model.name

    def compute() -> pd.DataFrame:
        states, others = states_of(model, subjects), other_words(subjects, context.seed)
        decoder = WordDecoder(model)
        rows: list[dict[str, object]] = []
        for number, one in enumerate(context.progress(subjects, f"decoding subjects, {name}")):
            several = len(one.known.subject) > 1
            for place in (EMBEDDING, LAST) if brief else (EMBEDDING, LAST, END, *([FIRST] if several else [])):
                for way in WAYS if place in (EMBEDDING, LAST) and not brief else (PLAIN,):
                    rows += _rows(decoder, states[place], number, one, others[one.name], place, way)
        return pd.DataFrame(rows)

    params = step_params(model, context, **subject_params(subjects), ways=WAYS, brief=brief)
    return context.step(f"enrichment-{name}", params, compute)


def _rows(
    decoder: WordDecoder,
    states: Tensor,
    number: int,
    subject: Subject,
    others: Sequence[frozenset[str]],
    place: str,
    way: str,
) -> list[dict[str, object]]:
    chosen = states[number] - states.mean(0) if way == CENTRED else states[number]
    left_out = own_words(decoder.network, subject)
    decoded = decoder.words(chosen, final_norm=way == NORMED, leave_out=left_out)
    own = shares(decoded, subject.words - left_out).tolist()
    other = torch.stack([shares(decoded, words - left_out) for words in others]).mean(0).tolist()
    first = -1 if place == EMBEDDING else 0
    shared = {"subject": subject.name, "several": len(subject.known.subject) > 1, "place": place, "way": way}
    return [
        {**shared, "block": first + b, "own": x, "other": y} for b, (x, y) in enumerate(zip(own, other, strict=True))
    ]


def by_block(table: pd.DataFrame, column: str, *, place: str = LAST, way: str = PLAIN) -> pd.DataFrame:
    """Return the rates of one place, subjects × blocks, minus each subject's embedding rate; no words count as 0.

    `column` is `own`, `other`, or `beyond`: own − other.
    """
    table = table.assign(beyond=table["own"] - table["other"])
    chosen = table[table["way"] == way]
    wide = chosen[chosen["place"] == place].pivot(index="subject", columns="block", values=column).fillna(0.0)
    embedded = chosen[chosen["place"] == EMBEDDING].set_index("subject")[column].fillna(0.0)
    return wide.sub(embedded, axis=0)


def rates(table: pd.DataFrame, column: str, *, place: str = LAST, way: str = PLAIN) -> pd.DataFrame:
    """Return the rates of one place, subjects × blocks, as measured."""
    chosen = table[(table["way"] == way) & (table["place"] == place)]
    return chosen.pivot(index="subject", columns="block", values=column).fillna(0.0)


def embedding_rate(tables: Mapping[str, pd.DataFrame], name: str, way: str = PLAIN) -> float:
    """Return the mean rate of a model's subject embeddings."""
    table = tables[name]
    return float(table[(table["way"] == way) & (table["place"] == EMBEDDING)]["own"].mean())
