"""Is the first block a bigram predictor? Its lens reading against the words that follow each word on the web."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rheostat.base.shapes import Figure, Profile
from rheostat.data.bbc import load_bbc
from rheostat.data.web_ngrams import load_pair_counts
from rheostat.metrics.statistics import Values, bootstrap_mean, paired_difference
from rheostat.model import Model
from rheostat.sites.site import resolve
from rheostat.studies.curve import curve
from rheostat.studies.decoding.cells import lens_chunks
from rheostat.studies.judging import held, judge, measurement, number
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.studies.vocabulary import single_token

CLAIM = "decode-3"
STATEMENT = "The first block acts as a bigram predictor (after “is” it says “nt”)."
N_TYPES, N_TYPES_QUICK = 300, 60
SUCCESSORS = 10
"""How many of a word's most frequent followers count as its bigram row."""
CONTEXT_WORDS = 6
PLACES = {"embedding": "blocks.0.resid_pre", "first block": "blocks.0.resid_post", "last block": "blocks.-1.resid_post"}
"""Where the lens reads: embedding × unembedding (a control), the first block, and the output (the planted case)."""


@dataclass(frozen=True)
class WordType:
    """A word with its bigram row and a place in real text where it stands last."""

    word: str
    token: int
    followers: tuple[int, ...]
    """First tokens of its most frequent followers, most frequent first."""
    context: str


def bigram_rows(pairs: Mapping[tuple[str, str], int]) -> dict[str, list[str]]:
    """Return word → its most frequent followers, for plain lower-case words that have enough of them."""
    rows: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for (first, second), count in pairs.items():
        if first.isalpha() and first.islower() and second.isalpha():
            rows[first].append((count, second))
    ordered = {word: [second for _, second in sorted(found, reverse=True)] for word, found in rows.items()}
    return {word: followers for word, followers in ordered.items() if len(followers) >= SUCCESSORS}


def contexts(words: Sequence[str], texts: Sequence[str], seed: int) -> dict[str, str]:
    """Return word → a few words of real text that end in it, one drawn for each word that occurs."""
    wanted, places = set(words), defaultdict(list)
    for text in texts:
        split = text.split()
        for index in range(CONTEXT_WORDS - 1, len(split)):
            if split[index] in wanted:
                places[split[index]].append(" ".join(split[index - CONTEXT_WORDS + 1 : index + 1]))
    rng = np.random.default_rng(seed)
    return {word: places[word][int(rng.integers(len(places[word])))] for word in words if places[word]}


def word_types(model: Model, limit: int, seed: int) -> list[WordType]:
    """Return up to `limit` frequent words that are one token, with rows and contexts."""
    pairs = load_pair_counts()
    rows = bigram_rows(pairs)
    totals: dict[str, int] = defaultdict(int)
    for (first, _), count in pairs.items():
        totals[first] += count
    frequent = sorted(rows, key=lambda word: -totals[word])[: 4 * limit]
    found = contexts(frequent, [document.text for document in load_bbc()], seed)
    types = []
    for word in frequent:
        token = single_token(model, " " + word)
        if token is None or word not in found:
            continue
        followers = [model.tokens.encode(f"a {second}").ids for second in rows[word][:SUCCESSORS]]
        firsts = dict.fromkeys(ids[_start(model) + 1] for ids in followers)
        types.append(WordType(word, token, tuple(firsts), found[word]))
    chosen = np.random.default_rng(seed).permutation(len(types))[:limit]
    return [types[index] for index in sorted(chosen)]


def _start(model: Model) -> int:
    """Return how many special tokens a text begins with."""
    return len(model.encode("a")) - 1


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per word and place.

    Columns: word, place; `rank` and `other rank`: mean log10 rank of the word's followers and of another word's; `hit`,
    `other hit`, `unigram hit`: whether the lens's top token is among them, another word's, or the followers that
    are most frequent overall; `echo`: whether it is the word itself; `top`: the top token.
    """
    types = word_types(model, N_TYPES_QUICK if context.quick else N_TYPES, context.seed)

    def compute() -> pd.DataFrame:
        others = [types[(index + len(types) // 2) % len(types)] for index in range(len(types))]
        common = common_followers(types)
        tables = []
        for place, vectors in _states(model, types).items():
            ranks, tops = [], []
            for rows, logits in lens_chunks(model, vectors):
                for scores, own, other in zip(logits, types[rows], others[rows], strict=True):
                    ranks.append([_log_rank(scores, own.followers), _log_rank(scores, other.followers)])
                    tops.append(int(scores.argmax()))
            rank = np.array(ranks)
            tables.append(
                pd.DataFrame(
                    {
                        "word": [one.word for one in types],
                        "place": place,
                        "rank": rank[:, 0],
                        "other rank": rank[:, 1],
                        "hit": [float(top in one.followers) for top, one in zip(tops, types, strict=True)],
                        "other hit": [float(top in one.followers) for top, one in zip(tops, others, strict=True)],
                        "unigram hit": [float(top in common) for top in tops],
                        "echo": [float(top == one.token) for top, one in zip(tops, types, strict=True)],
                        "top": [model.show_token(top) for top in tops],
                    }
                )
            )
        return pd.concat(tables, ignore_index=True)

    params = step_params(model, context, types=[asdict(one) for one in types], places=PLACES)
    return context.step(f"bigram-{model.name}", params, compute)


def common_followers(types: Sequence[WordType]) -> frozenset[int]:
    """Return the followers that stand in most rows: what a unigram table would say."""
    counts: dict[int, int] = defaultdict(int)
    for one in types:
        for token in one.followers:
            counts[token] += 1
    return frozenset(sorted(counts, key=lambda token: -counts[token])[:SUCCESSORS])


def _states(model: Model, types: Sequence[WordType]) -> dict[str, Tensor]:
    prompts = [one.context for one in types]
    parts = [
        model.capture(prompts[start : start + 64], list(PLACES.values()), positions="last")
        for start in range(0, len(prompts), 64)
    ]
    names = {place: str(resolve(model, site)[0]) for place, site in PLACES.items()}
    return {place: torch.cat([part[name][:, 0] for part in parts]) for place, name in names.items()}


def _log_rank(scores: Tensor, tokens: Sequence[int]) -> float:
    chosen = scores[list(tokens)]
    ranks = (scores[None] > chosen[:, None]).sum(-1) + 1
    return float(ranks.double().log10().mean())


# --- analysing --------------------------------------------------------------------------------------------------------


def column(table: pd.DataFrame, place: str, name: str) -> Values:
    """Return one column at one place, one value per word."""
    return table.loc[table["place"] == place, name].to_numpy(dtype=float)


def measure_all(name: str, table: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return the first block's agreement with the word's own row, against three controls."""

    def advantage(place: str) -> Values:
        return column(table, place, "other rank") - column(table, place, "rank")

    first, embedding = advantage("first block"), advantage("embedding")
    hit = column(table, "first block", "hit")
    return [
        measurement(
            name,
            "followers' rank at the first block, decades better than another word's followers'",
            bootstrap_mean(first, seed=seed),
            control=0.0,
            unit="token types",
            control_name="another word's row",
        ),
        measurement(
            name,
            "the same advantage",
            paired_difference(first, embedding, seed=seed),
            control=float(embedding.mean()),
            unit="token types",
            control_name="plain embedding × unembedding",
        ),
        measurement(
            name,
            f"share of words whose top token at the first block is one of their {SUCCESSORS} likeliest followers",
            paired_difference(hit, column(table, "first block", "other hit"), seed=seed),
            control=float(column(table, "first block", "other hit").mean()),
            unit="token types",
            control_name="another word's row",
        ),
        measurement(
            name,
            "the same share of hits",
            paired_difference(hit, column(table, "first block", "unigram hit"), seed=seed),
            control=float(column(table, "first block", "unigram hit").mean()),
            unit="token types",
            control_name="the followers most frequent overall",
        ),
    ]


def run(context: Context) -> Part:
    """Measure all models and judge the claim."""
    tables = {model.name: measure(model, context) for model in context.models}
    every = {name: measure_all(name, table, context.seed) for name, table in tables.items()}
    deciding = [one for ms in every.values() for one in ms]
    planted = {
        name: paired_difference(
            column(table, "last block", "hit"), column(table, "last block", "other hit"), seed=context.seed
        )
        for name, table in tables.items()
    }
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=all(one.above_zero for one in planted.values())),
        reason=f"{held(deciding)} At the model's output, where bigrams must show, the share of hits exceeds "
        f"another word's "
        "row by " + "; ".join(f"{name} {interval}" for name, interval in planted.items()) + ".",
        measurements=tuple(deciding),
    )
    figures: tuple[Figure, ...] = (_figure(tables, context.seed),)
    section = Section(
        heading="Is the first block a bigram predictor?",
        text="\n\n".join(_describe(name, table, every[name]) for name, table in tables.items()),
        figures=tuple(figure.name for figure in figures),
        tables=("bigram",),
    )
    return Part((section,), {"bigram": joined(tables)}, figures, (verdict,))


def _describe(name: str, table: pd.DataFrame, found: Sequence[Measurement]) -> str:
    first = table[table["place"] == "first block"]
    tops = first["top"].value_counts()
    examples = ", ".join(f"{row['word']} → {row['top']}" for _, row in first.head(6).iterrows())
    after_is = first.loc[first["word"] == "is", "top"]
    said = f" After “is” it says {after_is.iloc[0]}." if len(after_is) else ""
    return (
        f"{name}, {len(first)} words in real contexts. At the first block's output the top token is one of the word's "
        f"{SUCCESSORS} likeliest followers for {first['hit'].mean():.1%} of the words (another word's row "
        f"{first['other hit'].mean():.1%}, the overall most frequent followers "
        f"{first['unigram hit'].mean():.1%}), and the word "
        f"itself for {first['echo'].mean():.1%}; at the model's output it is a follower for "
        f"{column(table, 'last block', 'hit').mean():.1%}. A word's followers rank {number(found[0].effect)} "
        f"decades better than "
        f"another word's at the first block and {number(found[1].control)} in the plain embedding. {len(tops)} "
        f"different top "
        f"tokens, the commonest {tops.index[0]} ({tops.iloc[0]} times); {examples}.{said}"
    )


def _figure(tables: Mapping[str, pd.DataFrame], seed: int) -> Profile:
    labels = {
        "hit": "own row",
        "other hit": "another word's row",
        "unigram hit": "most frequent overall",
        "echo": "echo",
    }
    rows: list[dict[str, object]] = []
    for name, table in tables.items():
        for key, label in labels.items():
            series = f"{label}, {name}" if len(tables) > 1 else label
            rows += curve(series, [(place, column(table, place, key)) for place in PLACES], seed)
    n = min(table["word"].nunique() for table in tables.values())
    return Profile(
        name="bigram",
        title="What the lens's top token is, by place",
        x_label="place",
        y_label="share of words",
        table=pd.DataFrame(rows),
        note=f"n = {n} words in real contexts per model, 95 % bootstrap intervals; rows of the {SUCCESSORS} "
        f"likeliest followers.",
    )
