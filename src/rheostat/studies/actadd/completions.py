"""Sampled completions under vectors at the front, in the middle and at the back of a prompt, and their word scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rheostat.directions.activation_addition import beginning_with, prompt_vectors
from rheostat.engine.cells import Cell
from rheostat.metrics.loss import Loss
from rheostat.metrics.statistics import Values
from rheostat.model import Model
from rheostat.studies.actadd.measuring import EMBEDDING, NOUN, RANDOM, RESCALED, TOPIC, blocks_at
from rheostat.studies.actadd.power import PLANTED, planted_in_completions
from rheostat.studies.actadd.scoring import Vectors, at_block, beginnings, nouns, random_vectors, token_rows
from rheostat.studies.actadd.words import CONCEPTS, SPACE, WEDDINGS, Concept, mentions
from rheostat.studies.part import step_params
from rheostat.studies.study import Context

DRAWS, DRAWS_FEW, DRAWS_QUICK = 10, 5, 1
"""Per prompt: for weddings, for the other concepts, and in a quick run."""
NEW_TOKENS = 12
TEMPERATURE = 1.0
TOP_K = 20
FRACTIONS = (1 / 8, 1 / 3)
"""Depths at which vectors are added; where there is a choice, it is made on other prompts."""
UNSTEERED = "unsteered"
PLANTED_STRENGTH = 0.1
"""Of the planted direction, in lengths of the state before the last norm."""
DRAWS_SCORED = 3
"""Completions per prompt, with vectors at the last block, whose loss under the plain model is taken."""
ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Completed:
    """Completions of the prompts of one concept."""

    concept: Concept
    table: pd.DataFrame
    """Rows {kind, block, align, prompt, draw, text, mentions, loss}; loss is NaN where it was not taken."""

    @property
    def blocks(self) -> list[int]:
        """The blocks at which vectors were added."""
        return sorted(int(block) for block in self.table["block"].unique() if block >= 0)

    def shares(self, kind: str, block: int | None = None, *, align: str = "front") -> Values:
        """Return, per prompt, the share of completions that hold a word of the concept."""
        return self._per_prompt("mentions", kind, block, align)

    def losses(self, kind: str, block: int | None = None, *, align: str = "front") -> Values:
        """Return, per prompt, the mean loss of completions under the plain model, in nats per token."""
        return self._per_prompt("loss", kind, block, align)

    def shares_by_block(self, kind: str) -> Values:
        """Return (prompt, block) of `shares`."""
        return np.stack([self.shares(kind, block) for block in self.blocks], axis=1)

    def _per_prompt(self, column: str, kind: str, block: int | None, align: str) -> Values:
        table = self.table[(self.table["kind"] == kind) & (self.table["align"] == align)]
        if block is not None:
            table = table[table["block"] == block]
        return np.asarray(table.groupby("prompt")[column].mean().to_numpy(dtype=float))


def complete(model: Model, context: Context) -> dict[str, Completed]:
    """Complete the prompts of every concept; one step each."""
    return {
        concept.name: Completed(concept, _step(model, context, concept))
        for concept in context.progress(CONCEPTS, f"{model.name}, completions")
    }


def _step(model: Model, context: Context, concept: Concept) -> pd.DataFrame:
    begin = beginnings(model)[0]
    draws = DRAWS_QUICK if context.quick else DRAWS if concept is WEDDINGS else DRAWS_FEW

    def compute() -> pd.DataFrame:
        prompts = _prompts(model, concept, begin)
        cells = _cells(model, concept, begin, prompts, seed=context.seed)
        written = model.sweep_generations(
            prompts,
            cells,
            {"mentions": lambda text: float(mentions(text, concept.words))},
            draws=draws,
            max_new_tokens=NEW_TOKENS,
            temperature=TEMPERATURE,
            top_k=TOP_K,
            seed=context.seed,
            max_token_rows=ROWS_AT_ONCE,
        )
        scored = _scored(model, prompts, written)
        return scored[["kind", "block", "align", "prompt", "draw", "text", "mentions", "loss"]]

    settings = {"draws": draws, "new": NEW_TOKENS, "top_k": TOP_K, "fractions": FRACTIONS}
    params = step_params(model, context, concept=repr(concept), begin=begin, **settings)
    return context.step(f"completions-{concept.name}-{model.name}", params, compute)


def _prompts(model: Model, concept: Concept, begin: str) -> list[list[int]]:
    """Return the prompts behind as many inserted spaces as the vector has tokens behind the first."""
    n = max(len(beginning_with(model, text, begin)) for text in (concept.positive, concept.negative))
    first, space = beginning_with(model, "", begin), model.token_id(SPACE)
    return [[*first, *[space] * (n - 1), *model.tokens.spell(prompt)] for prompt in concept.prompts]


def _cells(model: Model, concept: Concept, begin: str, prompts: Sequence[Sequence[int]], *, seed: int) -> list[Cell]:
    """Return what is compared: nothing, the concept, a random vector and a neutral noun; for weddings more."""
    vectors = prompt_vectors(model, concept.positive, concept.negative, begin=begin)
    (drawn,) = random_vectors(vectors, 1, seed=seed).values()
    noun = prompt_vectors(model, nouns(model, 1)[0], SPACE, begin=begin)
    cells = [Cell(None, {"kind": UNSTEERED, "block": -1, "align": "front"})]
    blocks = blocks_at(model, FRACTIONS)
    several, strength = concept is WEDDINGS, concept.coefficient
    for block in blocks if several else blocks[:1]:
        arms: dict[str, Vectors] = {TOPIC: vectors, RANDOM: drawn, NOUN: noun}
        cells += [_cell(kind, found, block, "front", strength) for kind, found in arms.items()]
    if several:
        planted = planted_in_completions(model, concept.name, PLANTED_STRENGTH)
        cells.append(Cell(planted, {"kind": PLANTED, "block": -1, "align": "all"}))
        last = blocks[-1]
        true, embedded = at_block(vectors, last), at_block(vectors, 0).at(f"blocks.{last}.resid_pre", model)
        for kind, vector in ((EMBEDDING, embedded), (RESCALED, embedded.with_norms_of(true))):
            cells.append(_cell(kind, {true.site: vector}, last, "front", strength))
        shortest = min(map(len, prompts))
        for kind, found in ((TOPIC, vectors), (NOUN, noun)):
            cells += [_cell(kind, found, last, align, strength, n_tokens=shortest) for align in ("middle", "back")]
    return cells


def _cell(kind: str, vectors: Vectors, block: int, align: str, strength: float, *, n_tokens: int | None = None) -> Cell:
    edit = at_block(vectors, block).add(strength, align=align, n_tokens=n_tokens)
    return Cell(edit, {"kind": kind, "block": block, "align": align})


def _scored(model: Model, prompts: Sequence[Sequence[int]], written: pd.DataFrame) -> pd.DataFrame:
    """Add the plain model's loss of some completions."""
    chosen = written[(written["draw"] < DRAWS_SCORED) & (written["ids"].map(len) > 0)]
    chosen = chosen[(chosen["block"] == chosen["block"].max()) & chosen["kind"].isin([TOPIC, NOUN])]
    rows = [[*prompts[prompt], *ids] for prompt, ids in zip(chosen["prompt"], chosen["ids"], strict=True)]
    loss = pd.Series(np.nan, index=written.index)
    for length in sorted({len(prompts[prompt]) for prompt in chosen["prompt"]}):
        here = [number for number, prompt in enumerate(chosen["prompt"]) if len(prompts[prompt]) == length]
        metric = Loss(tokens=slice(length, None))
        table = model.sweep(
            [rows[number] for number in here], [None], metric, max_token_rows=token_rows(model), progress=False
        )
        loss.loc[chosen.index[here]] = table["loss"].to_numpy()
    return written.assign(loss=loss)
