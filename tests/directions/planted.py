"""Directions whose scores are known: half way between two prompts lies 0, at the prompts themselves ±1."""

import rheostat as rh
from rheostat.directions.direction import Calibration, Direction
from rheostat.directions.directions import Directions

MORE, LESS = [5, 9, 30, 12, 7], [44, 8, 19]


def between(
    model: rh.Model, site: str, more: list[int] = MORE, less: list[int] = LESS, concept: str = "c"
) -> Direction:
    """Return the direction from the last token of one prompt to that of another, calibrated by the two."""
    up, down = (model.capture(ids, site, "last")[site][0, 0] for ids in (more, less))
    vector = up - down
    unit = vector / vector.norm()
    flat = unit.flatten()
    known = Calibration(float(up.flatten() @ flat), float(down.flatten() @ flat), 1.0)
    return Direction("c", site, vector, "planted", model.name, model.weight_hash, known)


def at_every_block(model: rh.Model, kind: str = "resid_post") -> Directions:
    """Return one planted direction per block."""
    sites = [f"blocks.{block}.{kind}" for block in range(model.n_blocks)]
    return Directions({site: between(model, site) for site in sites})
