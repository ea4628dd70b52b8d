"""Attention knockout over known facts: what the last token may not read, window by window.

The sources are those of the paper (the subject, all other tokens, the last token itself) and three controls: the other
tokens without the prompt's first, which attention uses as a resting place; as many random non-subject tokens as the
subject has; and the two roles dealt out at random.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from rheostat.edit.knockout import CutAttention
from rheostat.metrics.statistics import Values
from rheostat.model import Model
from rheostat.studies.known_facts import KnownFact
from rheostat.studies.part import step_params
from rheostat.studies.recall.facts import chosen_facts
from rheostat.studies.study import Context
from rheostat.tracing.attention_knockout import attention_knockout, token_roles, window_width

SUBJECT, OTHERS, LAST, WITHOUT_FIRST = "subject", "non-subject", "last", "non-subject without the first token"
RANDOM, DEALT_SUBJECT, DEALT_OTHERS = "random non-subject", "dealt subject", "dealt non-subject"
DRAWS = 1
"""Random choices of tokens per fact."""
N_IDLE = 8
"""Facts on which a cut of strength 0 is tried."""


def sources_of(model: Model, known: KnownFact, seed: int) -> dict[str, tuple[int, ...]]:
    """Return the sets of tokens to cut; a drawn set carries the number of its draw."""
    roles = token_roles(model, known.fact.prompt, list(known.subject))
    subject, others = roles[SUBJECT], roles[OTHERS]
    sources = {**roles, **({WITHOUT_FIRST: others[1:]} if others[1:] else {})}
    rng = np.random.default_rng([seed, *known.tokens])
    everything = (*subject, *others)
    for draw in range(DRAWS):
        picked = rng.permutation(len(others))[: len(subject)]
        dealt = set(rng.permutation(len(everything))[: len(subject)].tolist())
        sources[f"{RANDOM} {draw}"] = tuple(sorted(others[one] for one in picked))
        sources[f"{DEALT_SUBJECT} {draw}"] = tuple(sorted(everything[one] for one in dealt))
        sources[f"{DEALT_OTHERS} {draw}"] = tuple(sorted(t for n, t in enumerate(everything) if n not in dealt))
    return sources


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per fact, source and window: columns fact, relation, source, centre, clean, probability, change.

    `change` is in % of the answer's uncut probability.
    """
    facts = chosen_facts(model, context)

    def compute() -> pd.DataFrame:
        tables = []
        for known in context.progress(facts, f"cutting attention, {model.name}"):
            sources = sources_of(model, known, context.seed)
            found = attention_knockout(
                model,
                known.fact.prompt,
                {name: list(tokens) for name, tokens in sources.items()},
                answer=known.answer,
            )
            table = found.table[["source", "centre", "probability", "change"]]
            tables.append(table.assign(fact=known.fact.prompt, relation=known.fact.relation, clean=found.probability))
        return pd.concat(tables, ignore_index=True)

    asked = [(one.fact.prompt, one.answer) for one in facts]
    params = step_params(model, context, facts=asked, width=window_width(model.n_blocks), draws=DRAWS)
    return context.step(f"knockout-{model.name}", params, compute)


def measure_idle(model: Model, context: Context) -> pd.DataFrame:
    """Return, per fact, whether cutting with strength 0 in every block leaves the logits bit-identical."""
    facts = chosen_facts(model, context)[:N_IDLE]

    def compute() -> pd.DataFrame:
        rows = []
        for known in facts:
            cut = CutAttention("blocks.*.pattern", positions="last", keys=list(known.subject), strength=0.0)
            same = torch.equal(model.run(known.fact.prompt).logits, model.run(known.fact.prompt, cut).logits)
            rows.append({"fact": known.fact.prompt, "same": same})
        return pd.DataFrame(rows)

    asked = [one.fact.prompt for one in facts]
    return context.step(f"idle-cut-{model.name}", step_params(model, context, facts=asked), compute)


def changes(table: pd.DataFrame, source: str) -> Values:
    """Return the changes (fact, centre) in %, of a drawn source as the mean over its draws."""
    found: Values = np.mean(drawn_changes(table, source), axis=0)
    return found


def drawn_changes(table: pd.DataFrame, source: str) -> list[Values]:
    """Return the changes (fact, centre) in %, one array per draw of the source."""
    names = [name for name in _names(source) if (table["source"] == name).any()]
    order = table["fact"].drop_duplicates()
    wides = (table[table["source"] == name].pivot(index="fact", columns="centre", values="change") for name in names)
    return [wide.loc[order].to_numpy(dtype=float) for wide in wides]


def _names(source: str) -> Sequence[str]:
    drawn = source in (RANDOM, DEALT_SUBJECT, DEALT_OTHERS)
    return [f"{source} {draw}" for draw in range(DRAWS)] if drawn else [source]
