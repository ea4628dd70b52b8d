"""Do emotions lie in clusters, none in early blocks and clear ones in the middle? Six emotions, 96 scenarios.

A scenario is tested by centroids of scenarios in other surroundings, and no scenario names an emotion. Controls:
shuffled labels, the words of the scenarios, and a network that learned nothing.
"""

import numpy as np
import pandas as pd

from rheostat.base.shapes import Figure, Profile, Scatter
from rheostat.data.emotions import EMOTIONS, SURROUNDINGS
from rheostat.directions.clusters import Clusters, find_clusters, nearest_is_own
from rheostat.metrics.statistics import Values
from rheostat.model import Model
from rheostat.studies.judging import against, held, judge, number
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.studies.untrained import untrained

CLAIM = "repe-8"
STATEMENT = "Emotions form no clusters in early layers and clear ones in the middle."
TEMPLATE = "Scenario: {}\nThe feeling that this scenario calls forth is"
N_QUICK = 6
TRAINED, UNTRAINED, WORDS = "trained", "untrained", "words"


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return rows of three kinds.

    `score`: network, block, text, group, label, and `value`: 1 where the nearest centroid is the own emotion's, with
    the same under shuffled labels as `chance`. `silhouette`: network, block, `value` and `chance`. `picture`: block,
    text, label, and the places `x` and `y` of t-SNE.
    """
    n = N_QUICK if context.quick else len(SURROUNDINGS)
    texts = [TEMPLATE.format(one) for scenarios in EMOTIONS.values() for one in scenarios[:n]]
    labels = [emotion for emotion in EMOTIONS for _ in range(n)]
    groups = list(range(n)) * len(EMOTIONS)

    def compute() -> pd.DataFrame:
        tables = []
        for network, read in ((TRAINED, model), (UNTRAINED, untrained(model, context.seed))):
            found = find_clusters(read, texts, labels, groups=groups, seed=context.seed)
            tables += [*_scores(network, found, groups, context.seed), _silhouettes(network, found)]
            if network == TRAINED:
                tables += [_picture(found, block) for block in pictured(model)]
        tables.append(_of_words(texts, labels, groups, context.seed))
        return pd.concat(tables, ignore_index=True)

    params = step_params(model, context, texts=texts, labels=labels)
    return context.step(f"emotions-{model.name}", params, compute)


def pictured(model: Model) -> tuple[int, int, int]:
    """Return the blocks that are drawn: the first, the middle one and the last."""
    return 0, model.n_blocks // 2, model.n_blocks - 1


def _scores(network: str, found: Clusters, groups: list[int], seed: int) -> list[pd.DataFrame]:
    blocks = dict(zip(found.table["site"], found.table["block"], strict=True))
    return [
        _right(states, list(found.labels), groups, seed).assign(network=network, block=int(blocks[site]))
        for site, states in found.states.items()
    ]


def _right(states: Values, labels: list[str], groups: list[int], seed: int) -> pd.DataFrame:
    """Return, per text, whether the nearest centroid of the other surroundings is that of its own emotion."""
    codes, fold = np.unique(labels, return_inverse=True)[1], np.array(groups)
    rng = np.random.default_rng(seed)
    chance = np.mean([nearest_is_own(states, rng.permutation(codes), fold) for _ in range(20)], axis=0)
    right = nearest_is_own(states, codes, fold)
    text = range(len(labels))
    return pd.DataFrame(
        {"kind": "score", "text": text, "group": groups, "label": labels, "value": right, "chance": chance}
    )


def _silhouettes(network: str, found: Clusters) -> pd.DataFrame:
    table = found.table.rename(columns={"silhouette": "value", "silhouette_shuffled": "chance"})
    return table[["block", "value", "chance"]].astype({"block": int}).assign(kind="silhouette", network=network)


def _picture(found: Clusters, block: int) -> pd.DataFrame:
    shown = found.scatter(f"blocks.{block}.resid_post").table.rename(columns={"series": "label"})
    return shown.assign(kind="picture", network=TRAINED, block=block)


def _of_words(texts: list[str], labels: list[str], groups: list[int], seed: int) -> pd.DataFrame:
    from sklearn.feature_extraction.text import CountVectorizer

    counts = CountVectorizer(binary=True, stop_words="english").fit_transform(texts).toarray().astype(np.float64)
    return _right(counts, labels, groups, seed).assign(network=WORDS, block=-1)


def bands(n_blocks: int) -> tuple[range, range]:
    """Return the early blocks, the first sixth, and the middle third."""
    return range(max(1, n_blocks // 6)), range(n_blocks // 3, 2 * n_blocks // 3)


def accuracy(table: pd.DataFrame, network: str, blocks: range, column: str = "value") -> Values:
    """Return, per surroundings, the share of scenarios nearest to their own emotion's centroid, over some blocks."""
    own = table[(table["kind"] == "score") & (table["network"] == network)]
    own = own[own["block"].isin(blocks)]
    return own.groupby("group")[column].mean().to_numpy(dtype=np.float64)


def measure_all(name: str, table: pd.DataFrame, n_blocks: int, seed: int) -> list[Measurement]:
    """Return the accuracy in middle blocks against early blocks and every control, over surroundings."""
    early, middle = bands(n_blocks)
    return against(
        name,
        "nearest-centroid accuracy of emotions in middle blocks",
        accuracy(table, TRAINED, middle),
        {
            "early blocks": accuracy(table, TRAINED, early),
            "shuffled labels": accuracy(table, TRAINED, middle, "chance"),
            "words": accuracy(table, WORDS, range(-1, 0)),
            "untrained": accuracy(table, UNTRAINED, middle),
        },
        unit="surroundings",
        seed=seed,
    )


def run(context: Context) -> Part:
    """Look for clusters on all models and judge the claim."""
    tables = {model.name: measure(model, context) for model in context.models}
    n_blocks = {model.name: model.n_blocks for model in context.models}
    found = {name: measure_all(name, table, n_blocks[name], context.seed) for name, table in tables.items()}
    early = {
        name: against(
            name,
            "nearest-centroid accuracy of emotions in early blocks",
            accuracy(table, TRAINED, bands(n_blocks[name])[0]),
            {"shuffled labels": accuracy(table, TRAINED, bands(n_blocks[name])[0], "chance")},
            unit="surroundings",
            seed=context.seed,
        )[0]
        for name, table in tables.items()
    }
    deciding = [one for measured in found.values() for one in measured]
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=False),
        reason=f"{held(deciding)} Early blocks are the first sixth, middle ones the middle third; accuracy there: "
        + "; ".join(
            f"{number(one.effect)}, beyond shuffled labels by [{number(one.low)}, {number(one.high)}] ({name})"
            for name, one in early.items()
        )
        + ".",
        measurements=tuple(deciding),
    )
    figures: list[Figure] = []
    for name, table in tables.items():
        figures += [_profile(name, table), *_scatters(name, table)]
    section = Section(
        heading="Clusters of emotions",
        text="\n\n".join(_describe(name, tables[name], found[name]) for name in tables),
        figures=tuple(figure.name for figure in figures),
    )
    scores = {name: table[table["kind"] != "picture"].dropna(axis=1, how="all") for name, table in tables.items()}
    return Part((section,), {"emotions": joined(scores)}, tuple(figures), (verdict,))


def _describe(name: str, table: pd.DataFrame, found: list[Measurement]) -> str:
    own = table[(table["kind"] == "score") & (table["network"] == TRAINED)].groupby("block")["value"].mean()
    outline = table[(table["kind"] == "silhouette") & (table["network"] == TRAINED)].set_index("block")["value"]
    controls = ", ".join(f"{one.control_name} {number(one.control)}" for one in found)
    return (
        f"{name}, {table['text'].nunique()} scenarios, six emotions. Nearest-centroid accuracy in the middle blocks "
        f"{number(found[0].effect)}; {controls}. The best block is {own.idxmax()} ({number(float(own.max()))}). The "
        f"silhouette is largest at block {outline.idxmax()} ({number(float(outline.max()))}) and "
        f"{number(float(outline.loc[0]))} "
        "at block 0."
    )


def _profile(name: str, table: pd.DataFrame) -> Profile:
    rows = []
    scored = table[table["kind"] == "score"]
    words = float(scored[scored["network"] == WORDS]["value"].mean())
    for network in (TRAINED, UNTRAINED):
        own = scored[scored["network"] == network].groupby("block")
        rows += [{"x": block, "value": value, "series": network} for block, value in own["value"].mean().items()]
    trained = scored[scored["network"] == TRAINED].groupby("block")["chance"].mean()
    rows += [{"x": block, "value": value, "series": "shuffled labels"} for block, value in trained.items()]
    outline = table[(table["kind"] == "silhouette") & (table["network"] == TRAINED)]
    pairs = zip(outline["block"], outline["value"], strict=True)
    rows += [{"x": int(block), "value": value, "series": "silhouette, trained"} for block, value in pairs]
    return Profile(
        name=f"emotions-{name}",
        title=f"Clusters of six emotions by block, {name}",
        x_label="block (resid_post, last token)",
        y_label="nearest-centroid accuracy, share; silhouette",
        table=pd.DataFrame(rows),
        note=f"{scored['text'].nunique()} scenarios; centroids are of other surroundings.",
        reference={"chance": 1 / 6, "words": words},
    )


def _scatters(name: str, table: pd.DataFrame) -> list[Scatter]:
    shown = table[table["kind"] == "picture"]
    scored = table[(table["kind"] == "score") & (table["network"] == TRAINED)].groupby("block")["value"].mean()
    found = []
    for block in sorted(shown["block"].unique().tolist()):
        own = shown[shown["block"] == block]
        found.append(
            Scatter(
                name=f"emotions-block-{block}-{name}",
                title=f"t-SNE of {len(own)} scenarios, block {block}, {name}",
                x_label="t-SNE dimension 1",
                y_label="t-SNE dimension 2",
                table=own[["x", "y", "label"]].rename(columns={"label": "series"}).reset_index(drop=True),
                note=f"Nearest-centroid accuracy of the states here: {scored.loc[block]:.2f} (chance 0.17). It "
                "decides, not the picture.",
            )
        )
    return found
