"""Do Shapley values find the neurons that matter, better and cheaper than other ways?"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from rheostat.base.shapes import Figure, Profile
from rheostat.metrics.statistics import Values, bootstrap_mean
from rheostat.model import Model
from rheostat.neurons.cluster import n_of_share
from rheostat.neurons.shapley.recording import RecordedGame
from rheostat.neurons.shapley.sampling import bandit_shapley, sampled_shapley
from rheostat.studies.impairment.shapley_sampling import (
    BANDITS,
    DECIDING,
    PLAIN,
    RUNS,
    RUNS_QUICK,
    SHARE,
    enumerated,
    n_top,
    replays,
    saving,
)
from rheostat.studies.impairment.shapley_walks import (
    FULL,
    QUICK,
    Amounts,
    Prompts,
    every_coalition,
    losses_without,
    other_scores,
    prompts_of,
    recorded,
)
from rheostat.studies.judging import compared_all, held, judge, measurement, number
from rheostat.studies.part import Part, step_params
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context

CLAIM = "impair-10"
STATEMENT = "Sampled Neuron Shapley values rank units better than the post's own slow tracing and at far less cost."
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
N_RANDOM = 20
SHAPLEY, BANDIT, RANDOM = "Shapley, plain", "Shapley, bandit", "random"
NAMES = {
    "activation": "mean |activation|",
    "attribution": "|activation × gradient|",
    "signed attribution": "−activation × gradient",
    "singly": "removed one by one",
}
CONTROLS = (RANDOM, NAMES["activation"], NAMES["singly"])
"""That decide: what the claim and the issue name."""


def run(context: Context) -> Part:
    """Play the games of one block of the first model, and judge the claim."""
    model = context.models[0]
    amounts, n_runs = (QUICK, RUNS_QUICK) if context.quick else (FULL, RUNS)
    found = prompts_of(context, model, amounts.find, find=True)
    pilot = losses_without(context, model, found, amounts.pilot)
    block = model.n_blocks - 1
    single = recorded(
        context,
        model,
        found,
        found.game(model, block, 1, context.seed),
        amounts.walks,
        amounts.piece,
        "neurons",
    )
    scores, spent = _scores(context, model, found, block, single, amounts)
    removed = _removed(context, model, block, scores, prompts_of(context, model, amounts.measure, find=False))
    sampled = _sampled(context, model, found, block, amounts, n_runs)
    few = found.game(model, block, -(-model.body.shape("neurons")[0] // amounts.few_players), context.seed)
    exact, k, agreement = enumerated(every_coalition(context, model, found, few), few.n_players, n_runs, context.seed)
    measurements = _measurements(model.name, removed, sampled, context.seed)
    figures = (_removal_figure(model.name, block, removed, context.seed), _sampling_figure(model.name, sampled))
    text = "\n\n".join(
        (
            _which_block(model, block, pilot),
            f"Neurons of block {block}, singly. {compared_all(measurements[:-1])} {_evaluations(spent)}",
            _on_groups(sampled, amounts, context.seed),
            _on_few(few.n_players, exact, k, agreement, n_runs),
        )
    )
    section = Section("Shapley values", text, figures=tuple(figure.name for figure in figures))
    tables = {f"shapley-removed-{model.name}": removed, f"shapley-replays-{model.name}": _thinned(sampled)}
    return Part((section,), tables, figures, (_verdict(measurements, agreement),))


def _scores(
    context: Context, model: Model, found: Prompts, block: int, single: RecordedGame, amounts: Amounts
) -> tuple[dict[str, Values], dict[str, int]]:
    """Return method → score of every neuron, and how many coalitions were evaluated, each on one prompt."""
    walks, k = sorted(single.walks), n_of_share(SHARE, single.n_players)
    plain = sampled_shapley(single, walks, seed=single.seed)
    bandit = bandit_shapley(single, k, walks=walks, seed=single.seed, interval="normal", chunk=16)
    others = other_scores(context, model, found, block, amounts.singly)
    scores = {SHAPLEY: plain.values, BANDIT: bandit.values, **{NAMES[name]: one for name, one in others.items()}}
    spent = {SHAPLEY: plain.evaluations, BANDIT: bandit.evaluations}
    return scores, {**spent, NAMES["singly"]: amounts.singly * (single.n_players + 1)}


def _removed(
    context: Context, model: Model, block: int, scores: Mapping[str, Values], held_out: Prompts
) -> pd.DataFrame:
    """Return what held-out prompts lose: rows {ranking, draw, share, prompt, group, loss, clean}."""
    n = len(next(iter(scores.values())))
    orders = [(name, 0, np.argsort(-score, kind="stable")) for name, score in scores.items()]
    rng = np.random.default_rng([context.seed, 10])
    orders += [(RANDOM, draw, rng.permutation(n)) for draw in range(N_RANDOM)]

    def compute() -> pd.DataFrame:
        game = held_out.game(model, block, 1, context.seed)
        sets = [(name, draw, share, order[: n_of_share(share, n)]) for name, draw, order in orders for share in SHARES]
        present = np.ones((len(sets) + 1, n), dtype=bool)
        for row, (*_, gone) in enumerate(sets):
            present[row, gone] = False
        losses = game.per_prompt(present, range(len(held_out.items)))
        tables = [
            pd.DataFrame(
                {
                    "ranking": name,
                    "draw": draw,
                    "share": share,
                    "prompt": range(len(held_out.items)),
                    "group": held_out.groups,
                    "loss": losses[row],
                    "clean": losses[-1],
                }
            )
            for row, (name, draw, share, _) in enumerate(sets)
        ]
        return pd.concat(tables, ignore_index=True)

    params = step_params(
        model,
        context,
        block=block,
        rows=[list(row) for row in held_out.asked.rows],
        tops=[order[: n // 2].tolist() for _, _, order in orders],
        shares=SHARES,
    )
    return context.step(f"shapley-removed-{model.name}", params, compute)


def _sampled(context: Context, model: Model, found: Prompts, block: int, amounts: Amounts, n_runs: int) -> pd.DataFrame:
    game = found.game(model, block, amounts.group_size, context.seed)
    piece = max(1, amounts.group_walks // 8)
    walks = recorded(context, model, found, game, amounts.group_walks, piece, "groups")
    params = step_params(
        model, context, game=game.fingerprint, runs=n_runs, walks=amounts.group_walks, ways=list(BANDITS)
    )
    return context.step(f"shapley-replays-{model.name}", params, lambda: replays(walks, n_runs, context.seed))


def _rises(removed: pd.DataFrame, ranking: str, share: float) -> pd.Series:
    """Return the mean rise of the loss in each article, over prompts and draws."""
    rows = removed[(removed["ranking"] == ranking) & (removed["share"] == share)]
    return (rows["loss"] - rows["clean"]).groupby(rows["group"]).mean()


def _measurements(name: str, removed: pd.DataFrame, sampled: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return Shapley against every other ranking, the claim's controls first; last, evaluations saved."""
    rises = {ranking: _rises(removed, ranking, SHARE) for ranking in removed["ranking"].unique()}
    others = [one for one in (*CONTROLS, *rises) if one != SHAPLEY]
    found = [
        measurement(
            name,
            "rise of held-out loss without the top 5 % by Shapley values (nats)",
            bootstrap_mean((rises[SHAPLEY] - rises[other]).to_numpy(), seed=seed),
            control=float(rises[other].mean()),
            unit="articles",
            control_name=other,
        )
        for other in dict.fromkeys(others)
    ]
    ratio = saving(sampled, DECIDING, seed)
    logs = [float(np.log2(one)) for one in (ratio.value, ratio.low, ratio.high)]
    spent = type(ratio)(logs[0], logs[1], logs[2], ratio.n)
    quantity = f"evaluations of {PLAIN} over those of the {DECIDING}, at its overlap (log2)"
    return [*found, measurement(name, quantity, spent, control=0.0, unit="runs", control_name="equally many")]


def _verdict(measurements: list[Measurement], agreement: float) -> Verdict:
    deciding = [one for one in measurements if one.control_name in CONTROLS or one.unit == "runs"]
    return Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=agreement >= 0.9),
        reason=f"{held(deciding)} The post did not publish its tracing; removal one by one stands for it. "
        "A bandit finds who is among the top, not the values.",
        measurements=tuple(measurements),
    )


def _on_few(n_players: int, exact: Values, k: int, agreement: float, n_runs: int) -> str:
    return (
        f"A game of {n_players} groups on one prompt, all {2**n_players} coalitions measured: the bandit with the "
        f"paper's interval finds the exact top {k} in {number(100 * agreement)} % of {n_runs} "
        f"runs. The values add up to {number(float(exact.sum()))}, what the neurons are worth together."
    )


def _which_block(model: Model, block: int, pilot: pd.DataFrame) -> str:
    losses = pilot.set_index("block")["loss"]
    strongest = ", ".join(
        f"{place} ({number(loss)})" for place, loss in losses.drop(-1).sort_values(ascending=False).head(3).items()
    )
    return (
        f"{model.name}, block {block} of {model.n_blocks}: the last, because no later block can make up for what is "
        f"gone. Loss without its MLP {number(float(losses[block]))}, of the whole model {number(float(losses[-1]))}; "
        f"the prompts need most the MLPs of blocks {strongest}. Neurons are set to zero at the token that predicts the "
        "keyword; a coalition is worth minus the loss of its first token."
    )


def _evaluations(spent: Mapping[str, int]) -> str:
    each = ", ".join(f"{count} for {name}" for name, count in spent.items())
    return f"Coalitions evaluated, each on one prompt: {each}. The gradient takes one run forward and back per prompt."


def _on_groups(sampled: pd.DataFrame, amounts: Amounts, seed: int) -> str:
    plain = sampled[(sampled["way"] == PLAIN) & (sampled["run"] == 0)]
    n_players = int(plain["evaluations"].iloc[0]) - 1
    said = []
    for way in BANDITS:
        ends = sampled[sampled["way"] == way].groupby("run").tail(1)
        ratio = saving(sampled, way, seed)
        said.append(
            f"{way}: overlap {number(float(ends['overlap'].mean()))} after {ends['evaluations'].mean():.0f} "
            f"evaluations, settled in {int(ends['settled'].sum())} of {len(ends)} runs; plain sampling takes "
            f"{number(ratio.value)} times as many for that overlap [{number(ratio.low)}, {number(ratio.high)}]"
        )
    last = sampled[sampled["way"] == PLAIN].groupby("run").tail(1)
    return (
        f"Groups of {amounts.group_size} neighbouring neurons, {n_players} players, top {n_top(n_players)}; overlap "
        f"with the top of a reference run of {amounts.group_walks // 2} other walks. {'. '.join(said)}. Plain sampling "
        f"ends at {number(float(last['overlap'].mean()))} after {int(last['evaluations'].iloc[0])}."
    )


def _removal_figure(name: str, block: int, removed: pd.DataFrame, seed: int) -> Figure:
    rows = []
    for ranking in removed["ranking"].unique():
        for share in SHARES:
            rise = bootstrap_mean(_rises(removed, ranking, share).to_numpy(), seed=seed)
            rows.append({"x": 100 * share, "value": rise.value, "low": rise.low, "high": rise.high, "series": ranking})
    n = removed["group"].nunique()
    return Profile(
        name=f"shapley-removed-{name}",
        title=f"Held-out loss as neurons of block {block} are removed, {name}",
        x_label="neurons removed (%), highest first",
        y_label="rise of the loss (nats)",
        table=pd.DataFrame(rows),
        note=f"Prompts of {n} articles that no ranking has seen; 95 % bootstrap intervals over articles. "
        f"Random: the mean of {N_RANDOM} orders.",
        reference={"nothing removed": 0.0},
    )


def _thinned(sampled: pd.DataFrame) -> pd.DataFrame:
    """Return every tenth walk, and the last of each run."""
    last = sampled.groupby(["way", "run"])["walks"].transform("max")
    return sampled[(sampled["walks"] % 10 == 0) | (sampled["walks"] == last)].reset_index(drop=True)


def _sampling_figure(name: str, sampled: pd.DataFrame) -> Figure:
    """Draw the mean overlap over evaluations; a run that has ended keeps its overlap."""
    spent = sampled[sampled["way"] == PLAIN].groupby("walks")["evaluations"].first()
    grid = np.linspace(spent.iloc[0], spent.iloc[-1], 30)
    rows = []
    for way in (PLAIN, *BANDITS):
        curves = []
        for _, run_rows in sampled[sampled["way"] == way].groupby("run"):
            places = np.searchsorted(run_rows["evaluations"].to_numpy(), grid, side="right") - 1
            curves.append(run_rows["overlap"].to_numpy()[np.maximum(places, 0)])
        for x, values in zip(grid, np.array(curves).T, strict=True):
            each = bootstrap_mean(values, seed=0, draws=500)
            rows.append({"x": float(x), "value": each.value, "low": each.low, "high": each.high, "series": way})
    return Profile(
        name=f"shapley-evaluations-{name}",
        title=f"How soon the top 5 % of groups are found, {name}",
        x_label="coalitions evaluated, each on one prompt",
        y_label="share of the reference's top that is found",
        table=pd.DataFrame(rows),
        note=f"Means over {sampled['run'].nunique()} runs of recorded walks in random orders, 95 % bootstrap intervals "
        "over runs. The reference is a plain run of as many other walks.",
    )
