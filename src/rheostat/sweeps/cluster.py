"""A connection to a Ray cluster: the one that is named, the one this process is connected to, or a local one.

A local cluster is private: it listens on 127.0.0.1 alone, asks for a token that only this process and its children
know, shows no dashboard and reports no usage statistics.
"""

import importlib.util
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rheostat.base.errors import BadArgument, MissingExtra

_OBJECT_STORE = 256_000_000
"""Bytes for what is sent; a question is mostly far smaller."""

KNOCK = 10.0
"""Seconds in which a cluster must answer."""

_ANY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""The environment of every connection: Ray reports nothing, and hides no device from a worker that has none."""

_PRIVATE: dict[str, str] = {}
"""The environment of local clusters, with which Ray was loaded here; empty until then, for Ray reads it once."""


def check_ray() -> None:
    """Make sure that Ray is installed, without loading it.

    Raises:
        MissingExtra: it is not.
    """
    if importlib.util.find_spec("ray") is None:
        raise MissingExtra(
            "executor='ray' needs Ray, which is not installed. In rheostat's folder, type: pip install '.[ray]'"
        )


@contextmanager
def connected(address: str | None, *, n_workers: int | None) -> Iterator[Any]:
    """Yield the package `ray`, connected to a cluster; a connection that was there before stays as it is.

    Raises:
        BadArgument: no cluster answers at the address, or there is a connection already.
    """
    before = sys.modules.get("ray")
    if before is not None and before.is_initialized():
        if address is not None:
            raise BadArgument("this process is connected to a Ray cluster already; leave out the address to use it.")
        yield before
        return
    with _environment(_ANY if address is not None else {**_ANY, **_private()}):
        import ray

        try:
            _connect(ray, address, n_workers)
            yield ray
        finally:
            ray.shutdown()


def _private() -> Mapping[str, str]:
    """Return the environment of a local cluster.

    Raises:
        BadArgument: Ray was loaded without it.
    """
    if not _PRIVATE:
        if "ray" in sys.modules:
            raise BadArgument(
                "Ray was imported before, so a local cluster could not be closed to others. Leave `import ray` out, or "
                "connect by yourself with ray.init(): the sweep uses that connection."
            )
        _PRIVATE.update(
            RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",  # on every system: servers bind to 127.0.0.1
            RAY_AUTH_MODE="token",
            RAY_AUTH_TOKEN=secrets.token_hex(32),
        )
    return _PRIVATE


def _connect(ray: Any, address: str | None, n_workers: int | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        ray.init("local", num_cpus=n_workers, include_dashboard=False, object_store_memory=_OBJECT_STORE, **quiet)
        return
    try:
        _check_answers(address)
        ray.init(address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise BadArgument(
            f"no Ray cluster could be reached at {address!r}: {' '.join(str(error).split())}. "
            "`ray start --head` starts one and prints its address; without an address a local one is started."
        ) from error


def _check_answers(address: str) -> None:
    """Knock at a host:port, so that a wrong one is refused at once: Ray itself waits for minutes.

    Raises:
        OSError: nobody listens there.
        ValueError: it is no address.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto" or host in ("localhost", "127.0.0.1"):
        return  # Ray looks the place up by itself
    if not host:
        raise ValueError("an address is HOST:PORT")
    socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK).close()


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Set what the user has not set; put it back afterwards, and the handler of SIGTERM, which Ray changes."""
    added = {name: value for name, value in settings.items() if name not in os.environ}
    handler = signal.getsignal(signal.SIGTERM)
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
