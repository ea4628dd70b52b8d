"""`Service`: everything that answers need, put together when the server starts."""

import threading
from dataclasses import dataclass
from typing import Any

import torch

from rheostat.base.errors import BadArgument, FileNotUsable
from rheostat.capture.activations import Activations
from rheostat.data.neutral_prompts import NEUTRAL_PROMPTS
from rheostat.impairment.dial import Dial
from rheostat.impairment.draws import Draws
from rheostat.impairment.scale import measure_scale
from rheostat.models.network import Network
from rheostat.serve.audit import AuditLog
from rheostat.serve.batcher import Batcher
from rheostat.serve.keys import KeyBook
from rheostat.serve.limits import Limiter
from rheostat.serve.metrics import Metrics, resident_bytes
from rheostat.serve.offered import OfferedDirections, load_offered
from rheostat.serve.secret import read_secret
from rheostat.serve.settings import Settings


@dataclass(frozen=True, eq=False)
class Service:
    """One served model, with its keys, log and dial."""

    settings: Settings
    network: Network
    dial: Dial
    directions: OfferedDirections
    batcher: Batcher
    book: KeyBook
    limiter: Limiter
    audit: AuditLog
    draws: Draws
    metrics: Metrics
    created: int
    """When the server started, in seconds since 1970."""

    def intensity(self, impairment: float) -> float:
        """Return what the dial is turned to."""
        return impairment * self.settings.impairment.most

    def dial_described(self) -> dict[str, Any]:
        """Return what the dial does, as data."""
        found = self.settings.impairment.model_dump(exclude={"default", "texts"})
        return {**found, "label": self.dial.label, "default": self.settings.impairment.default}

    def close(self) -> None:
        """End the texts under way, and close the files."""
        self.batcher.close(self.settings.limits.grace_seconds)
        self.audit.append("stop")
        self.book.close()


def open_service(network: Network, settings: Settings, *, created: int) -> Service:
    """Open the files, measure the scale of the dial, and start the thread that computes.

    Raises:
        NeedsTokenizer: the model has none.
        FileNotUsable: keys, log or secret cannot be used.
        SiteNotFound, SiteNotOffered: the dial's site is not in the network.
        DirectionNotUsable: a direction that the settings name belongs to another network.
    """
    network.tokens.spell("a")  # a model without a tokenizer is refused before anything is written
    dial = make_dial(network, settings)
    directions = load_offered(network, settings.directions)
    secret = read_secret(settings.secret_path)
    book = KeyBook(settings.keys_path)
    audit = AuditLog(settings.audit_path, secret)
    audit.append(
        "start",
        model=network.name,
        weights=network.weight_hash,
        dial=dial.label,
        most=settings.impairment.most,
    )
    limiter, metrics = Limiter(book), Metrics()
    batcher = Batcher(network, max_rows=settings.limits.rows, max_waiting=settings.limits.waiting)
    metrics.watch("requests_running", lambda: limiter.running)
    metrics.watch("rows_busy", lambda: batcher.figures.rows)
    metrics.watch("rows_waiting", lambda: batcher.figures.waiting)
    metrics.watch("threads", threading.active_count)
    metrics.watch("resident_bytes", resident_bytes)
    return Service(settings, network, dial, directions, batcher, book, limiter, audit, Draws(secret), metrics, created)


def make_dial(network: Network, settings: Settings) -> Dial:
    """Return the dial of a server, with the scale of its sites.

    Raises:
        SiteNotFound, SiteNotOffered
    """
    asked = settings.impairment
    scale: Activations | None = None
    if asked.mode != "magnitude" and asked.relative:
        scale = measure_scale(network, _texts(settings), f"blocks.*.{asked.site}")
        for site, spread in scale.items():
            if not (torch.isfinite(spread).all() and (spread > 0).all()):
                raise BadArgument(
                    f"activations at {site} do not vary over the texts that the scale is measured on, so that noise "
                    "relative to it would do nothing. Give other texts (impairment.texts), or relative = false."
                )
    dial = Dial(asked.mode, asked.site, distribution=asked.distribution, scale=scale)
    dial.check(network)
    dial.plan(asked.most)
    return dial


def _texts(settings: Settings) -> tuple[str, ...]:
    path = settings.impairment.texts
    if path is None:
        return NEUTRAL_PROMPTS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileNotUsable(f"the texts {path} (impairment.texts) cannot be read: {error}") from error
    return tuple(line for line in lines if line.strip())
