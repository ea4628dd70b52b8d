"""Do readings of risk and of a bad outcome go together over sentences of real news, beyond their shared sentiment?

Two concepts are correlated over sentences that neither was fitted on, with the readings of sentiment and the number of
tokens held fixed. Controls: power in place of utility, and random directions.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from rheostat.base.shapes import Profile
from rheostat.data.bbc import load_bbc
from rheostat.data.risk import RISK_PAIRS, UTILITY_PAIRS
from rheostat.directions.pairs import ContrastPair
from rheostat.directions.texts import texts_of_pairs
from rheostat.metrics.statistics import Values, bootstrap, partial_spearman, spearman
from rheostat.model import Model
from rheostat.studies.judging import held, judge, measurement, number
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.repe.concepts import POWER, SENTIMENT, power, sentiment
from rheostat.studies.repe.states import EMBEDDING, states_of
from rheostat.studies.study import Context

CLAIM = "repe-7"
STATEMENT = "Internal readings of risk and of negative utility go together on produced scenarios."
RISK, UTILITY, LENGTH = "risk", "negative utility", "tokens"
N_SENTENCES, N_QUICK, N_RANDOM, N_DRAWS = 72, 24, 10, 500


def sentences(n: int, seed: int) -> list[str]:
    """Return sentences of news on all topics, each from an article of its own."""
    found = []
    documents = load_bbc()
    for index in np.random.default_rng(seed).permutation(len(documents)):
        parts = re.split(r"(?<=[a-z]\.)\s+(?=[A-Z])", documents[index].text)
        fitting = [one for one in parts if 50 <= len(one) <= 130 and one.isascii() and '"' not in one]
        found += fitting[:1]
        if len(found) == n:
            break
    return found


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per block, reading and sentence: the score.

    Columns: block, reading (risk, negative utility, sentiment, power, random n, tokens), sentence, score.
    """
    chosen = sentences(N_QUICK if context.quick else N_SENTENCES, context.seed)
    pairs = {
        RISK: [ContrastPair(*one) for one in RISK_PAIRS],
        UTILITY: [ContrastPair(worse, better) for better, worse in UTILITY_PAIRS],
        SENTIMENT: list(sentiment(limit=16, seed=context.seed).pairs),
        POWER: list(power(limit=16).pairs),
    }

    def compute() -> pd.DataFrame:
        read = states_of(model, chosen, positions=slice(1, None)).values
        readings = {
            name: np.einsum("bnw,bw->bn", read, _axes(model, given))
            for name, given in context.progress(pairs.items(), f"reading risk, {model.name}")
        }
        generator = torch.Generator().manual_seed(context.seed)
        for draw in range(N_RANDOM):
            axis = torch.randn(read.shape[0], read.shape[2], generator=generator).numpy()
            readings[f"random {draw}"] = np.einsum("bnw,bw->bn", read, axis)
        lengths = np.array([len(model.row(one).ids) for one in chosen], dtype=np.float64)
        readings[LENGTH] = np.broadcast_to(lengths, readings[RISK].shape)
        tables = [
            pd.DataFrame({"block": block - 1, "reading": name, "sentence": range(len(chosen)), "score": of_block})
            for name, values in readings.items()
            for block, of_block in enumerate(values)
        ]
        return pd.concat(tables, ignore_index=True)

    asked = {name: [(one.positive, one.negative) for one in given] for name, given in pairs.items()}
    params = step_params(model, context, pairs=asked, sentences=chosen, random=N_RANDOM)
    return context.step(f"risk-{model.name}", params, compute)


def _axes(model: Model, pairs: list[ContrastPair]) -> Values:
    """Return the mean difference at the embedding and every block, (site, width): of all but the first token."""
    texts = texts_of_pairs(model, pairs)
    values = states_of(model, texts.texts, positions=slice(1, None)).values.astype(np.float64)
    return np.asarray(values[:, texts.positive].mean(1) - values[:, ~texts.positive].mean(1))


def readings_of(table: pd.DataFrame, name: str) -> Values:
    """Return scores (block, sentence), without the embedding."""
    own = table[(table["reading"] == name) & (table["block"] != EMBEDDING)]
    return own.pivot(index="block", columns="sentence", values="score").to_numpy(dtype=np.float64)


def measure_all(name: str, table: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return the rank correlation of risk and negative utility, mean over the middle blocks, plain and partial."""
    n = len(readings_of(table, RISK))
    blocks = slice(n // 3, 2 * n // 3)
    random = [str(one) for one in table["reading"].unique() if str(one).startswith("random")]
    names = [RISK, UTILITY, POWER, SENTIMENT, LENGTH, *random]
    units = np.stack([readings_of(table, one)[blocks] for one in names]).transpose(2, 0, 1)
    measured = []
    for quantity, fixed in (("", []), (", given sentiment and length", [SENTIMENT, LENGTH])):
        for control, others in {"none": [], "power in place of utility": [POWER], "random directions": random}.items():

            def statistic(drawn: Values, fixed: Sequence[str] = fixed, others: Sequence[str] = others) -> float:
                return tie(drawn, names, UTILITY, fixed) - against_others(drawn, names, others, fixed)

            found = bootstrap(statistic, units, seed=seed, draws=N_DRAWS)
            measured.append(
                measurement(
                    name,
                    f"rank correlation of risk and negative utility{quantity}",
                    found,
                    control=against_others(units, names, others, fixed),
                    unit="sentences",
                    control_name=control,
                )
            )
    return measured


def tie(units: Values, names: Sequence[str], other: str, fixed: Sequence[str]) -> float:
    """Return the rank correlation of risk with another reading, mean over blocks, of (sentence, reading, block)."""
    risk, second = (units[:, names.index(one)].T for one in (RISK, other))
    if not fixed:
        return float(spearman(risk, second).mean())
    held_fixed = units[:, [names.index(one) for one in fixed]].transpose(2, 1, 0)
    each = [partial_spearman(x, y, given) for x, y, given in zip(risk, second, held_fixed, strict=True)]
    return float(np.mean(each))


def against_others(units: Values, names: Sequence[str], others: Sequence[str], fixed: Sequence[str]) -> float:
    """Return the mean size of the correlation of risk with other readings; 0 without any."""
    return float(np.mean([abs(tie(units, names, one, fixed)) for one in others])) if others else 0.0


def run(context: Context) -> Part:
    """Correlate risk and negative utility on all models and judge the claim."""
    tables = {model.name: measure(model, context) for model in context.models}
    found = {name: measure_all(name, table, context.seed) for name, table in tables.items()}
    deciding = [one for measured in found.values() for one in measured]
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=False),
        reason=f"{held(deciding)} Over sentences of news, each from another article; every reading is the mean over a "
        "sentence's tokens, and correlations are averaged over the middle third of the blocks.",
        measurements=tuple(deciding),
    )
    figures = tuple(_profile(name, table) for name, table in tables.items())
    section = Section(
        heading="Risk and utility",
        text="\n\n".join(_describe(name, found[name]) for name in tables),
        figures=tuple(figure.name for figure in figures),
    )
    return Part((section,), {"risk-and-utility": joined(tables)}, figures, (verdict,))


def _describe(name: str, found: list[Measurement]) -> str:
    plain, beyond = found[:3], found[3:]
    sentences_of = [
        f"{number(one.effect)} [{number(one.low)}, {number(one.high)}] {label} (power in place of utility "
        f"{number(power_.control)}, random directions {number(random_.control)})"
        for label, (one, power_, random_) in (("plain", plain), ("given sentiment and length", beyond))
    ]
    return f"{name}, {found[0].n} sentences. Rank correlation of risk and negative utility: {'; '.join(sentences_of)}."


def _profile(name: str, table: pd.DataFrame) -> Profile:
    risk, length = readings_of(table, RISK), readings_of(table, LENGTH)
    given = np.stack([readings_of(table, SENTIMENT), length], axis=1)
    rows = []
    for label, other in (("negative utility", UTILITY), ("power", POWER)):
        second = readings_of(table, other)
        for block in range(len(risk)):
            plain = float(spearman(risk[block], second[block]))
            beyond = float(partial_spearman(risk[block], second[block], given[block]))
            rows.append({"x": block, "value": plain, "series": f"{label}, plain"})
            rows.append({"x": block, "value": beyond, "series": f"{label}, given sentiment and length"})
    return Profile(
        name=f"risk-{name}",
        title=f"Risk against other readings, {name}",
        x_label="block (resid_post, mean over tokens)",
        y_label="Spearman's rank correlation with risk",
        table=pd.DataFrame(rows).sort_values(["series", "x"]).reset_index(drop=True),
        note=f"{risk.shape[1]} sentences of news.",
        reference={"none": 0.0},
    )
