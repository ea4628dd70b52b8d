"""Removing sublayers: what is left of a subject's words, and how much of everything else goes with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rheostat.data.neutral_prompts import NEUTRAL_PROMPTS
from rheostat.edit.arithmetic import Zero
from rheostat.metrics.loss import Loss
from rheostat.metrics.measure import measure as measure_metric
from rheostat.model import Model
from rheostat.studies.part import step_params
from rheostat.studies.recall.enrichment import CENTRED, PLAIN, ROWS
from rheostat.studies.recall.facts import Subject, chosen_subjects, other_words, own_words, subject_params
from rheostat.studies.study import Context
from rheostat.tracing.attributes_rate import WordDecoder, shares

WINDOW, READ_AT, DEPTH = 10, 40, 48
"""Blocks whose sublayer is removed in the paper, the block at which it reads, and blocks of its network."""
STEP = 2
N_RANDOM = 4
N_NEUTRAL, NEUTRAL_TOKENS = 30, 3
"""Neutral prompts, and tokens at the end of each whose loss is measured."""
NOTHING, RANDOM, LARGER = "nothing", "random", "larger"
WAYS = (PLAIN, CENTRED)
"""How the states are decoded."""


@dataclass(frozen=True)
class Removal:
    """Sublayers that are set to zero."""

    group: str
    """`nothing`, `mlp_out` or `attn_out` for a window of one kind, `random`, or `larger`: other sizes, for matching."""
    start: int
    """First block of a window; of the others a number."""
    sites: tuple[str, ...]

    @property
    def edits(self) -> list[Zero]:
        """The plan."""
        return [Zero(site) for site in self.sites]


def reading_block(n_blocks: int) -> int:
    """Return the block whose output is decoded: as deep as 40 of 48."""
    return round(READ_AT / DEPTH * n_blocks)


def window_width(n_blocks: int) -> int:
    """Return how many blocks lose a sublayer: as many as 10 of 48."""
    return max(1, round(WINDOW / DEPTH * n_blocks))


def removals_of(n_blocks: int, seed: int) -> list[Removal]:
    """Return every removal: windows of both kinds, random blocks, and larger sets for matching the damage."""
    end, width = reading_block(n_blocks), window_width(n_blocks)
    starts = range(0, end - width + 2, STEP)
    found = [Removal(NOTHING, -1, ())]
    for kind in ("mlp_out", "attn_out"):
        found += [Removal(kind, start, sites_of(kind, range(start, start + width))) for start in starts]
    rng = np.random.default_rng(seed)
    for draw in range(N_RANDOM):
        blocks = sorted(rng.permutation(end + 1)[:width].tolist())
        found.append(Removal(f"{RANDOM} mlp_out", draw, sites_of("mlp_out", blocks)))
    late = range(end // 2, end + 1)
    for number, size in enumerate(range(width // 2, len(late) + 1, max(1, width // 2))):
        blocks = sorted(rng.permutation(late)[:size].tolist())
        found.append(Removal(f"{LARGER} late", number, (*sites_of("mlp_out", blocks), *sites_of("attn_out", blocks))))
        attention = sorted(rng.permutation(end + 1)[: 2 * size].tolist())
        found.append(Removal(f"{LARGER} attn_out", number, sites_of("attn_out", attention)))
    return found


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per removal and subject.

    Columns: group, start, n (sublayers removed), loss (mean on neutral text, nats), subject, way, own and
    other: the attributes rate at the reading block with the words about the subject and about others.
    """
    subjects = chosen_subjects(model, context)
    listed = removals_of(model.n_blocks, context.seed)
    if context.quick:
        listed = [one for one in listed if not one.group.startswith((RANDOM, LARGER)) or one.start < 2]
    decoder = WordDecoder(model)

    def one_removal(removal: Removal) -> pd.DataFrame:
        loss = neutral_loss(model, removal, N_NEUTRAL // 3 if context.quick else N_NEUTRAL)
        table = rates(model, decoder, subjects, removal, context.seed, block=reading_block(model.n_blocks))
        return table.assign(group=removal.group, start=removal.start, n=len(removal.sites), loss=loss)

    tables = []
    for removal in context.progress(listed, f"removing sublayers, {model.name}"):
        params = step_params(model, context, **subject_params(subjects), sites=removal.sites, neutral=N_NEUTRAL)
        name = f"removal-{removal.group.replace(' ', '-').replace('_', '-')}-{removal.start + 1}-{model.name}"
        tables.append(context.step(name, params, partial(one_removal, removal)))
    return pd.concat(tables, ignore_index=True)


def sites_of(kind: str, blocks: Sequence[int] | range) -> tuple[str, ...]:
    """Return a kind of site in some blocks."""
    return tuple(f"blocks.{block}.{kind}" for block in blocks)


def neutral_loss(model: Model, removal: Removal, n: int) -> float:
    """Return the mean loss (nats) of the last tokens of n neutral prompts."""
    prompts = list(NEUTRAL_PROMPTS[:n])
    asked = slice(-NEUTRAL_TOKENS, None)
    output = model.run(prompts, removal.edits, logits_at=slice(-NEUTRAL_TOKENS - 1, -1))
    return float(np.mean(measure_metric(Loss(asked), model, prompts, output).values))


def rates(
    model: Model, decoder: WordDecoder, subjects: Sequence[Subject], removal: Removal, seed: int, *, block: int
) -> pd.DataFrame:
    """Return the attributes rates after a block: columns subject, way, own, other."""
    states, rows = states_of(model, subjects, removal, block), []
    others = other_words(subjects, seed)
    for number, one in enumerate(subjects):
        left_out = own_words(model, one)
        decoded = decoder.words(torch.stack([states[number], states[number] - states.mean(0)]), leave_out=left_out)
        other = torch.stack([shares(decoded, words - left_out) for words in others[one.name]]).mean(0)
        own = shares(decoded, one.words - left_out)
        pairs = zip(WAYS, own.nan_to_num().tolist(), other.nan_to_num().tolist(), strict=True)
        rows += [{"subject": one.name, "way": way, "own": x, "other": y} for way, x, y in pairs]
    return pd.DataFrame(rows)


def states_of(model: Model, subjects: Sequence[Subject], removal: Removal, block: int) -> Tensor:
    """Return the states (subject, d_model) at the subjects' last tokens, which nothing after them can change."""
    site, parts = f"blocks.{block}.resid_post", []
    for start in range(0, len(subjects), ROWS):
        prompts = [list(one.known.tokens[: one.last + 1]) for one in subjects[start : start + ROWS]]
        parts.append(model.capture(prompts, site, "last", edits=removal.edits)[site][:, 0])
    return torch.cat(parts)
