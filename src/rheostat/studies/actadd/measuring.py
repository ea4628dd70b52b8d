"""What is measured on texts: losses under topic, neutral, random and embedding vectors, block by block."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rheostat.directions.activation_addition import beginning_with
from rheostat.metrics.loss import Loss
from rheostat.metrics.statistics import Values
from rheostat.model import Model
from rheostat.studies.actadd.scoring import (
    N_VECTOR,
    Arm,
    Vectors,
    at_block,
    beginnings,
    log_ratios,
    losses,
    nouns,
    random_vectors,
    spaced,
    token_rows,
    topic_arms,
    word_vectors,
)
from rheostat.studies.actadd.texts import TextSet, bbc_texts, own_texts
from rheostat.studies.part import step_params
from rheostat.studies.study import Context

N_SENTENCES, N_SENTENCES_QUICK = 14, 4
"""Of each topic, in the passages."""
N_CURVE, N_CURVE_QUICK = 8, 4
"""Of these, for coefficients."""
N_BBC, N_BBC_QUICK = 8, 4
LARGE_VOCABULARY = 100_000
"""From so many tokens on, unembedding all positions costs more than the blocks do, and 4 of 7 sentences are scored."""
N_FEW = 5
"""Neutral nouns where the beginning of texts is varied, and in a quick run."""
FRACTIONS = (0.0, 1 / 8, 1 / 4)
"""Depths, as shares of the blocks, at which topics, nouns and a random vector are added to the passages."""
FURTHER = (2 / 5, 2 / 3)
"""Depths at which only the topics are."""
BBC_FRACTIONS = (1 / 4,)
COEFFICIENTS = (-1.0, 0.5, 1.0, 2.0, 3.0, 4.0)
FEW_COEFFICIENTS = (1.0, 3.0)
"""For random vectors, and in the middle of a text."""
CURVE_FRACTIONS = (1 / 8, 1 / 3)
"""Layers 6 and 16 of the paper's 48."""
TOPIC, NOUN, RANDOM, EMBEDDING, RESCALED = "topic", "noun", "random", "embedding", "embedding, rescaled"


def blocks_at(model: Model, fractions: Sequence[float]) -> list[int]:
    """Return the blocks at shares of the depth."""
    return list(dict.fromkeys(min(round(fraction * model.n_blocks), model.n_blocks - 1) for fraction in fractions))


@dataclass(frozen=True)
class Scored:
    """Losses of one set of texts on one model."""

    texts: TextSet
    table: pd.DataFrame
    """Rows {topic, sentence, vector, kind, block, coefficient, tokens, loss, clean}; `topic` is the text's."""

    @property
    def blocks(self) -> list[int]:
        """The blocks at which neutral nouns were added too."""
        return sorted(int(block) for block in self.table.loc[self.table["kind"] == NOUN, "block"].unique())

    def blocks_of(self, vector: str, kind: str) -> list[int]:
        """Return every block at which one vector was added."""
        rows = self.table[(self.table["vector"] == vector) & (self.table["kind"] == kind)]
        return sorted(int(block) for block in rows["block"].unique())

    @property
    def nouns(self) -> list[str]:
        """The neutral nouns."""
        return list(dict.fromkeys(self.table.loc[self.table["kind"] == NOUN, "vector"]))

    def names(self, kind: str) -> list[str]:
        """Return the vectors of one kind."""
        return list(dict.fromkeys(self.table.loc[self.table["kind"] == kind, "vector"]))

    def ratios(self, text: str, vector: str, kind: str, *, blocks: Sequence[int] | None = None) -> Values:
        """Return (sentence, block): log perplexity ratios of one vector at coefficient 1 on one topic's texts."""
        table = self.table
        chosen = (table["topic"] == text) & (table["vector"] == vector) & (table["kind"] == kind)
        chosen &= (table["coefficient"] == 1.0) & table["block"].isin(self.blocks if blocks is None else blocks)
        return log_ratios(table[chosen])

    def of_nouns(self, text: str) -> Values:
        """Return (noun, sentence, block) of the neutral nouns."""
        return np.stack([self.ratios(text, noun, NOUN) for noun in self.nouns])

    def dissociation(self, topic: str, vector: str, kind: str, *, blocks: Sequence[int] | None = None) -> Values:
        """Return (pair of sentences, block): log ratio on the topic's texts minus that on the other's."""
        on = self.ratios(topic, vector, kind, blocks=blocks)
        off = self.ratios(self.texts.other(topic), vector, kind, blocks=blocks)
        n = min(len(on), len(off))
        return on[:n] - off[:n]


def measure_passages(model: Model, context: Context) -> Scored:
    """Score the passages on weddings and shipping; one step per block, and one for embedding vectors."""
    texts = own_texts(_number(model, context, N_SENTENCES, N_SENTENCES_QUICK))
    blocks = blocks_at(model, FRACTIONS)
    tables = [_crossed(model, context, texts, blocks), _embedded(model, context, texts, blocks[1:])]
    begin = beginnings(model)[0]
    tables += [_block_step(model, context, texts, block, begin, (), "topics") for block in blocks_at(model, FURTHER)]
    return Scored(texts, pd.concat(tables, ignore_index=True))


def measure_bbc(model: Model, context: Context) -> Scored:
    """Score BBC sentences on business and sport."""
    texts = bbc_texts(_number(model, context, N_BBC, N_BBC_QUICK), seed=context.seed)
    return Scored(texts, _crossed(model, context, texts, blocks_at(model, BBC_FRACTIONS)))


def measure_prompting(model: Model, context: Context) -> pd.DataFrame:
    """Return losses of the passages with the topic's word in the place of the inserted space, and with neither.

    Rows {topic, sentence, inserted, tokens, loss}; `inserted` is a word, or empty.
    """
    texts = own_texts(_number(model, context, N_SENTENCES, N_SENTENCES_QUICK))
    begin = beginnings(model)[0]

    def compute() -> pd.DataFrame:
        tables = []
        for topic, sentences in zip(texts.topics, texts.sentences, strict=True):
            for inserted in ("", *texts.words):
                prompts = [
                    spaced(model, one, begin, inserted=inserted) if inserted else beginning_with(model, one, begin)
                    for one in sentences
                ]
                metric = Loss(tokens=slice(N_VECTOR + bool(inserted), None))
                table = model.sweep(prompts, [None], metric, max_token_rows=token_rows(model), progress=False)
                tokens = [len(prompt) - N_VECTOR - bool(inserted) for prompt in prompts]
                table = table.rename(columns={"prompt": "sentence"})[["sentence", "loss"]]
                tables.append(table.assign(topic=topic, inserted=inserted, tokens=tokens))
        return pd.concat(tables, ignore_index=True)

    return context.step(f"prompting-{model.name}", _params(model, context, texts, begin), compute)


def measure_coefficients(model: Model, context: Context) -> pd.DataFrame:
    """Return losses of the passages over coefficients, at an early and a middle block, at the front and in the middle.

    Rows {topic, sentence, vector, kind, block, coefficient, align, tokens, loss, clean, dose}; `dose` is the vector's
    length over that of the state it is added to.
    """
    texts = own_texts(_number(model, context, N_CURVE, N_CURVE_QUICK))
    begin, blocks = beginnings(model)[0], blocks_at(model, CURVE_FRACTIONS)

    def compute() -> pd.DataFrame:
        vectors = {word: word_vectors(model, word, begin) for word in texts.words}
        drawn = random_vectors(vectors[texts.words[0]], 1, seed=context.seed)
        arms = topic_arms(vectors, dict.fromkeys(vectors, TOPIC), blocks, COEFFICIENTS)
        arms += topic_arms(drawn, dict.fromkeys(drawn, RANDOM), blocks, FEW_COEFFICIENTS)
        tables = []
        for topic, sentences in zip(texts.topics, texts.sentences, strict=True):
            prompts = [spaced(model, one, begin) for one in sentences]
            tables.append(losses(model, prompts, arms).assign(topic=topic, align="front"))
            for number, prompt in enumerate(prompts):
                middle = _in_the_middle(model, prompt, vectors, blocks)
                tables.append(middle.assign(topic=topic, align="middle", sentence=number))
        return _with_dose(model, begin, {**vectors, **drawn}, pd.concat(tables, ignore_index=True))

    params = _params(model, context, texts, begin, blocks=blocks, coefficients=COEFFICIENTS)
    return context.step(f"coefficients-{model.name}", params, compute)


def measure_beginnings(model: Model, context: Context, passages: Scored) -> dict[str, Scored]:
    """Return, per token that may begin a text, the passages scored at one block with the topics and a few nouns."""
    (block,), words = blocks_at(model, FRACTIONS[-1:]), nouns(model, N_FEW)
    first, *others = beginnings(model)
    known = passages.table[
        (passages.table["block"] == block) & passages.table["vector"].isin([*passages.texts.words, *words])
    ]
    tables = {begin: _block_step(model, context, passages.texts, block, begin, words, "beginning") for begin in others}
    return {begin: Scored(passages.texts, table) for begin, table in {first: known, **tables}.items()}


def _crossed(model: Model, context: Context, texts: TextSet, blocks: Sequence[int]) -> pd.DataFrame:
    words = nouns(model, N_FEW) if context.quick else nouns(model)
    begin = beginnings(model)[0]
    steps = context.progress(blocks, f"{model.name}, {texts.name}")
    tables = [_block_step(model, context, texts, block, begin, words, texts.name) for block in steps]
    return pd.concat(tables, ignore_index=True)


def _block_step(
    model: Model, context: Context, texts: TextSet, block: int, begin: str, words: Sequence[str], name: str
) -> pd.DataFrame:
    def compute() -> pd.DataFrame:
        vectors = {word: word_vectors(model, word, begin) for word in (*texts.words, *words)}
        if words:
            vectors |= random_vectors(vectors[texts.words[0]], 1, seed=context.seed)
        kinds = {name: TOPIC if name in texts.words else NOUN if name in words else RANDOM for name in vectors}
        return _on_both(model, texts, begin, topic_arms(vectors, kinds, [block]))

    params = _params(model, context, texts, begin, block=block, nouns=list(words))
    return context.step(f"{name}-block-{block}-{model.name}", params, compute)


def _embedded(model: Model, context: Context, texts: TextSet, blocks: Sequence[int]) -> pd.DataFrame:
    """Score the vectors of block 0 added at later blocks, at their own length and at that of the block's own vector."""
    begin = beginnings(model)[0]

    def compute() -> pd.DataFrame:
        arms = []
        for word in texts.words:
            vectors = word_vectors(model, word, begin)
            for block in blocks:
                true = at_block(vectors, block)
                moved = at_block(vectors, 0).at(true.site, model)
                arms.append(Arm(word, EMBEDDING, block, 1.0, moved.add()))
                arms.append(Arm(word, RESCALED, block, 1.0, moved.with_norms_of(true).add()))
        return _on_both(model, texts, begin, arms)

    params = _params(model, context, texts, begin, blocks=list(blocks))
    return context.step(f"embedding-{model.name}", params, compute)


def _on_both(model: Model, texts: TextSet, begin: str, arms: Sequence[Arm]) -> pd.DataFrame:
    return pd.concat(
        [
            losses(model, [spaced(model, one, begin) for one in sentences], arms).assign(topic=topic)
            for topic, sentences in zip(texts.topics, texts.sentences, strict=True)
        ],
        ignore_index=True,
    )


def _in_the_middle(
    model: Model, prompt: Sequence[int], vectors: Mapping[str, Vectors], blocks: Sequence[int]
) -> pd.DataFrame:
    """Score what follows when the vector is added over the middle of a text."""
    n = len(prompt)
    arms = [
        Arm(word, TOPIC, block, coefficient, at_block(found, block).add(coefficient, align="middle", n_tokens=n))
        for word, found in vectors.items()
        for block in blocks
        for coefficient in FEW_COEFFICIENTS
    ]
    last = max(arms[0].edit.where.in_length(n))
    return losses(model, [list(prompt)], arms, covered=last + 1)


def _with_dose(model: Model, begin: str, vectors: Mapping[str, Vectors], table: pd.DataFrame) -> pd.DataFrame:
    held = model.capture(beginning_with(model, " ", begin), "blocks.*.resid_pre", positions="all")
    lengths = {
        (word, block): float(at_block(found, block).norms[-1] / held[f"blocks.{block}.resid_pre"][0, -1].norm())
        for word, found in vectors.items()
        for block in table["block"].unique()
    }
    each = [lengths[place] for place in zip(table["vector"], table["block"], strict=True)]
    return table.assign(dose=np.abs(table["coefficient"]) * np.array(each))


def _number(model: Model, context: Context, full: int, quick: int) -> int:
    if context.quick:
        return quick
    return full if model.d_vocab < LARGE_VOCABULARY else -(-full * 4 // 7)


def _params(model: Model, context: Context, texts: TextSet, begin: str, **settings: object) -> dict[str, object]:
    return step_params(model, context, sentences=texts.sentences, topic_words=texts.words, begin=begin, **settings)
