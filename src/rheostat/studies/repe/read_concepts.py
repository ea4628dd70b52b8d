"""Scores of held-out texts by every reader at every block: the one table that the parts on reading stand on."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from rheostat.directions.texts import LabelledTexts, texts_of_pairs
from rheostat.metrics.statistics import Values
from rheostat.model import Model
from rheostat.studies.part import step_params
from rheostat.studies.repe.concepts import Concept, all_concepts
from rheostat.studies.repe.cross_fit import CrossFit, cross_fit, fit_and_score, folds_of
from rheostat.studies.repe.random_axis import RandomAxis
from rheostat.studies.repe.states import EMBEDDING, States, states_of
from rheostat.studies.study import Context
from rheostat.studies.untrained import untrained
from rheostat.studies.vocabulary import single_token

MEAN, PCA, LOGISTIC = "mean difference", "first principal component", "logistic regression"
LENS, RANDOM, SHUFFLED, WORDS, UNTRAINED = "logit lens", "random direction", "shuffled labels", "words", "untrained"
METHODS = {MEAN: "mean_difference", PCA: "pca", LOGISTIC: "logistic"}
EMBEDDED = "embedding"
CHOSEN = -2
"""Stands among the blocks for the one that other groups chose, fold by fold."""
SHUFFLES, DRAWS = 10, 10
ANSWERS = {"truth": (" True", " False")}


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per concept, reader, block and text; `CHOSEN` for scores at the block that others chose.

    Columns: concept, unit, reader, draw (of shuffles and random directions), block, text, group, positive, score and,
    in rows of `CHOSEN`, `at`: that block.
    """
    concepts = all_concepts(quick=context.quick, seed=context.seed)

    def compute() -> pd.DataFrame:
        blank, tables = untrained(model, context.seed), []
        for concept in context.progress(concepts, f"reading concepts, {model.name}"):
            tables.append(_concept(model, blank, concept, context.seed))
        return pd.concat(tables, ignore_index=True)

    asked = [(pair.positive, pair.negative) for concept in concepts for pair in concept.pairs]
    params = step_params(model, context, texts=asked, shuffles=SHUFFLES, draws=DRAWS, shuffled="by group")
    return context.step(f"concepts-{model.name}", params, compute)


def _concept(model: Model, blank: Model, concept: Concept, seed: int) -> pd.DataFrame:
    texts = texts_of_pairs(model, concept.pairs)
    states = states_of(model, texts.texts)
    main = cross_fit(states, texts, METHODS[MEAN], seed=seed, shuffles=SHUFFLES)
    found = [
        *_profile(MEAN, states, main.scores[:1]),
        *_at_chosen(MEAN, states, main, slice(0, 1)),
        *_at_chosen(SHUFFLED, states, main, slice(1, None)),
        _rows(EMBEDDED, EMBEDDING, 0, main.scores[0, 0]),
    ]
    for reader in (PCA, LOGISTIC):
        fit = cross_fit(states, texts, METHODS[reader], seed=seed, chosen=main)
        found += [*_profile(reader, states, fit.scores), *_at_chosen(reader, states, fit, slice(0, 1))]
    random = random_scores(states, texts, seed)
    chosen = CrossFit(random, np.repeat(main.chosen[:1], DRAWS, axis=0), main.fold)
    found += [*_profile(RANDOM, states, random), *_at_chosen(RANDOM, states, chosen, slice(None))]
    fresh = states_of(blank, texts.texts)
    empty = cross_fit(fresh, texts, METHODS[MEAN], seed=seed)
    found += [*_profile(UNTRAINED, fresh, empty.scores), *_at_chosen(UNTRAINED, fresh, empty, slice(0, 1))]
    lens = lens_scores(model, states, concept.words)[None]
    read = CrossFit(lens, _best_of_others(lens, texts, main.fold), main.fold)
    found += [*_profile(LENS, states, lens), *_at_chosen(LENS, states, read, slice(0, 1))]
    found.append(_rows(WORDS, CHOSEN, 0, word_scores(texts, main.fold)))
    table = pd.concat(found, ignore_index=True)
    table["group"], table["positive"] = texts.groups[table["text"]], texts.positive[table["text"]]
    return table.assign(concept=concept.name, unit=concept.unit)


def _rows(reader: str, block: int, draw: int, scores: Values, at: Sequence[int] | int = 0) -> pd.DataFrame:
    return pd.DataFrame(
        {"reader": reader, "block": block, "draw": draw, "text": range(len(scores)), "score": scores, "at": at}
    )


def _profile(reader: str, states: States, scores: Values) -> list[pd.DataFrame]:
    """Return rows for every block of (draw, site, text), without the embedding."""
    return [
        _rows(reader, block, draw, of_sites[place])
        for draw, of_sites in enumerate(scores)
        for place, block in enumerate(states.blocks)
        if block != EMBEDDING
    ]


def _at_chosen(reader: str, states: States, fit: CrossFit, labellings: slice) -> list[pd.DataFrame]:
    blocks, scores = np.array(states.blocks), fit.at_chosen
    return [
        _rows(reader, CHOSEN, draw, scores[labelling], blocks[fit.chosen[labelling][fit.fold]].tolist())
        for draw, labelling in enumerate(range(len(scores))[labellings])
    ]


def random_scores(states: States, texts: LabelledTexts, seed: int) -> Values:
    """Return scores (draw, site, text) along random directions, each turned by the fitted texts of the fold."""
    fold = folds_of(texts, seed)
    scores = np.empty((DRAWS, *states.values.shape[:2]))
    order = np.ones(len(texts.texts) // 2)
    for one in np.unique(fold):
        for draw in range(DRAWS):
            labels = texts.positive[None]
            axis = RandomAxis.drawn(seed + draw)
            scores[draw][:, fold == one] = fit_and_score(states, axis, labels, order, fold != one, fold == one)[0]
    return scores


def lens_scores(model: Model, states: States, words: tuple[Sequence[str], Sequence[str]]) -> Values:
    """Return, per site and text, how much likelier the lens finds words for more than words for less."""
    more, less = ([t for t in (single_token(model, word) for word in side) if t is not None] for side in words)
    found = []
    for values in states.values:
        logits = model.unembed(torch.from_numpy(values).to(model.dtype))
        found.append((logits[:, more].logsumexp(-1) - logits[:, less].logsumexp(-1)).detach().double().numpy())
    return np.stack(found)


def _best_of_others(scores: Values, texts: LabelledTexts, fold: Values) -> np.ndarray:
    """Return, per fold, the site at which scores that were not fitted tell the other folds' texts best."""
    from rheostat.metrics.statistics import auroc

    chosen = []
    for one in np.unique(fold):
        others = fold != one
        positive = np.broadcast_to(texts.positive[others], scores[0][:, others].shape)
        chosen.append(1 + int(auroc(scores[0][:, others], positive)[1:].argmax()))
    return np.array([chosen])


def word_scores(texts: LabelledTexts, fold: Values) -> Values:
    """Return scores of held-out texts by a logistic regression on the words that they hold."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    scores = np.empty(len(texts.texts))
    for one in np.unique(fold):
        fit = [text for text, where in zip(texts.texts, fold, strict=True) if where != one]
        test = [text for text, where in zip(texts.texts, fold, strict=True) if where == one]
        counter = CountVectorizer(binary=True).fit(fit)
        reader = LogisticRegression(max_iter=1000).fit(counter.transform(fit), texts.positive[fold != one])
        scores[fold == one] = reader.decision_function(counter.transform(test))
    return scores
