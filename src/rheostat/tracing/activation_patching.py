"""Activation patching: put one activation of one prompt into the run of another, place by place.

Denoising puts the clean prompt's activations into the corrupted run and finds what suffices for the answer; noising
puts the corrupted prompt's into the clean run and finds what is necessary (Heimersheim and Nanda 2024, How to use and
interpret activation patching, arXiv:2404.15255). Introduced as causal mediation by Vig et al. 2020 (arXiv:2004.12265).
"""

import pandas as pd

from rheostat.base.errors import BadArgument
from rheostat.capture.activations import Activations
from rheostat.edit.patching import Replace
from rheostat.engine.cells import Cell, patching_cells
from rheostat.engine.forward import capture
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt
from rheostat.sites.positions import PositionsLike
from rheostat.sweeps.executor import ExecutorName
from rheostat.sweeps.sweep import sweep
from rheostat.tracing.attribution_patching import attribute_patching, check_top
from rheostat.tracing.patching import Direction, Pair, Patching, site_pattern


def patch_activations(
    network: Network,
    clean: Prompt,
    corrupt: Prompt,
    *,
    answer: str | int,
    versus: str | int,
    kind: str = "resid_pre",
    positions: PositionsLike = "all",
    direction: Direction = "denoise",
    by_unit: bool = False,
    top: int | None = None,
    executor: ExecutorName = "local",
    address: str | None = None,
    n_workers: int | None = None,
) -> Patching:
    """Patch one kind of site, block by block and token by token.

    Args:
        network: the loaded network.
        clean: the prompt whose answer is `answer`.
        corrupt: a prompt with as many tokens whose answer is `versus`.
        answer: one token, such as `" Berlin"`.
        versus: the token that it is compared with.
        kind: of the sites: `resid_pre`, `attn_out`, `mlp_out`, `heads`, `neurons`, …, or `embed`, `final`, `logits`.
        positions: tokens to patch, the same in both prompts; a substring may stand in either.
        direction: `denoise`: clean activations into the corrupted run; `noise`: the reverse.
        by_unit: patch each head (of `heads`), neuron or dimension alone.
        top: patch only so many places: those of the largest estimate by attribution patching; None: all.
        executor: who computes, `local` or `ray`; see `sweep`.
        address: of a running Ray cluster.
        n_workers: of a Ray cluster.

    Raises:
        BadArgument: the prompts differ in length, a substring covers other tokens in one than in the other, the two
            runs prefer the answer equally, an unknown direction, or `top` is below 1.
        NotOneToken, SiteNotOffered, PositionNotFound
    """
    sites = site_pattern(network, kind)
    check_top(top)
    pair = Pair.of(network, clean, corrupt, answer=answer, versus=versus, direction=direction)
    where = pair.positions(positions)
    activations = capture(network, [pair.source], sites, positions=where)
    if top is None:
        cells = patching_cells(activations, by_unit=by_unit)
    else:
        estimate = attribute_patching(
            network,
            clean,
            corrupt,
            answer=answer,
            versus=versus,
            kind=kind,
            positions=where,
            direction=direction,
            by_unit=by_unit,
            top=top,
        )
        cells = cells_at(activations, estimate.table)
    table = sweep(network, [pair.target], cells, pair.metric, executor=executor, address=address, n_workers=n_workers)
    table = table.rename(columns={pair.metric.column: "logit_difference"}).drop(columns=["cell", "prompt"])
    return pair.patching(network, kind, table, estimated=False, top=top)


def cells_at(source: Activations, places: pd.DataFrame) -> list[Cell]:
    """Return one cell per row of a table {site, position, [unit]}: that activation of `source` put there.

    Raises:
        BadArgument: `source` does not hold one of the positions.
    """
    cells, values = [], {}
    held = {position: index for index, position in enumerate(source.positions[0])}
    for place in places.to_dict("records"):
        if place["position"] not in held:
            raise BadArgument(f"the source of patching does not hold position {place['position']}.")
        units = (int(place["unit"]),) if "unit" in place else None
        key = place["site"], place["position"]
        if key not in values:
            values[key] = source[place["site"]][0, held[place["position"]]]
        labels: dict[str, object] = {name: place[name] for name in ("site", "position", "unit") if name in place}
        cells.append(Cell(Replace(place["site"], values[key], positions=int(place["position"]), units=units), labels))
    return cells
