"""What the lens answers: the logit lens on the network as it is impaired for the request."""

import math
from dataclasses import replace
from typing import Any

import pandas as pd

from rheostat.base.errors import BadArgument
from rheostat.lenses.logit import LogitLens
from rheostat.lenses.reading import POINTS, Reading, read
from rheostat.serve.floors import check_sites
from rheostat.serve.keys import Key
from rheostat.serve.protocol import LensRequest
from rheostat.serve.question import Question, check_activations, check_model, check_prompts, dialled
from rheostat.serve.refusals import TookTooLong
from rheostat.serve.service import Service
from rheostat.sites.positions import Positions

MAX_ROWS = 20_000
"""Of one answer: blocks × points × positions × (likeliest and tracked) tokens."""


def lens_question(service: Service, key: Key, asked: LensRequest) -> Question:
    """Check a request to the lens.

    Raises:
        Refusal, or another RheostatError: why it is not answered.
    """
    check_model(service.network, asked.model)
    check_activations(key)
    sites = tuple(f"blocks.*.{point}" for point in points(service, asked))
    for site in sites:
        check_sites(service.network, key, site)
    row = service.network.row(asked.prompt)
    check_prompts(service, [row])
    n_places = len(where(asked).in_prompt(row)) * service.network.n_blocks * len(points(service, asked))
    n_rows = n_places * (asked.k + len(asked.track))
    if n_rows > MAX_ROWS:
        raise BadArgument(
            f"the answer would have {n_rows} rows: at most {MAX_ROWS}. Ask for fewer positions, less k or track."
        )
    impairment, changes, plans = dialled(service, key, asked, [row])
    changes = replace(changes, sites=(*changes.sites, *sites))
    return Question("lens", impairment, asked.draw, (row,), plans, changes)


def lens_content(service: Service, key: Key, asked: LensRequest, question: Question) -> dict[str, Any]:
    """Compute what the lens reads, between steps of the batch; probabilities only for keys that may see them.

    Raises:
        TookTooLong: the thread that computes did not come to it in time.
        NotOneToken, SiteNotOffered, …
    """
    given = asked.points if asked.points is None else tuple(asked.points)

    def look() -> Reading:
        return read(
            LogitLens(service.network),
            question.rows[0].text if question.rows[0].text is not None else question.rows[0].ids,
            positions=where(asked),
            points=POINTS if given is None else given,
            k=asked.k,
            track=asked.track,
            edits=question.plans[0],
        )

    seconds, coming = service.settings.limits.seconds, service.batcher.call(look)
    try:
        reading = coming.result(seconds)
    except TimeoutError as error:
        coming.cancel()
        raise TookTooLong(f"the answer took longer than {seconds:g} s.") from error
    columns = ["block", "point", "position", "token", "rank", *(["probability"] if key.logits else [])]
    return {
        "tokens": list(reading.row_tokens),
        "rows": _rows(reading.table, columns),
        "tracked": _rows(reading.tracked, columns),
        "output": _rows(reading.final, [one for one in columns if one not in ("block", "point")]),
    }


def where(asked: LensRequest) -> Positions:
    """Return the positions asked for: a keyword, an index, or what plans say.

    Raises:
        BadArgument
    """
    given = asked.positions
    if isinstance(given, int) and not isinstance(given, bool):
        return Positions.parse(given)
    return Positions.from_json(given)


def points(service: Service, asked: LensRequest) -> tuple[str, ...]:
    """Return the decode points asked for, by default those that the family has."""
    return (
        tuple(asked.points) if asked.points is not None else tuple(p for p in POINTS if p in service.network.body.taps)
    )


def _rows(table: pd.DataFrame, columns: list[str]) -> list[dict[str, Any]]:
    return [{str(name): _plain(value) for name, value in row.items()} for row in table[columns].to_dict("records")]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
