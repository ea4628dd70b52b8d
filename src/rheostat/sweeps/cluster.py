"""A connection to a Ray cluster: the one that is named, the one this process is connected to, or a local one.

A local cluster is private: it listens on 127.0.0.1 alone, asks for a token that only this process and its children
know, shows no dashboard and reports no usage statistics.
"""

import logging
import os
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType
from typing import Any

from rheostat.base.errors import BadArgument, MissingExtra

_OBJECT_STORE = 256_000_000
"""Bytes for what is sent; a question is mostly far smaller."""


@lru_cache(maxsize=1)
def _private() -> dict[str, str]:
    """Return the environment of a local cluster."""
    return {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on every system: servers bind to 127.0.0.1
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }


def find_ray() -> ModuleType:
    """Return the package.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtra(f"executor='ray' needs Ray ({error}). Type: pip install 'rheostat[ray]'") from error
    return ray


@contextmanager
def connected(address: str | None, *, n_workers: int | None) -> Iterator[ModuleType]:
    """Yield the package `ray`, connected to a cluster; leave one that was connected before as it is.

    Raises:
        BadArgument: no cluster answers at the address.
        MissingExtra: Ray is not installed.
    """
    with _environment(_private() if address is None else {"RAY_USAGE_STATS_ENABLED": "0"}):
        ray = find_ray()
        if ray.is_initialized():
            if address is not None:
                raise BadArgument(
                    "this process is connected to a Ray cluster already; leave out the address to use it."
                )
            yield ray
            return
        try:
            _connect(ray, address, n_workers)
            yield ray
        finally:
            ray.shutdown()


def _connect(ray: Any, address: str | None, n_workers: int | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        ray.init("local", num_cpus=n_workers, include_dashboard=False, object_store_memory=_OBJECT_STORE, **quiet)
        return
    try:
        ray.init(address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise BadArgument(
            f"no Ray cluster could be reached at {address!r}: {' '.join(str(error).split())} "
            "`ray start --head` starts one and prints its address; without an address a local one is started."
        ) from error


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """Set what the user has not set, and put back what Ray changes: variables, and the handler of SIGTERM."""
    before = {name: os.environ.get(name) for name in settings}
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    os.environ.update({name: value for name, value in settings.items() if before[name] is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
        if in_main_thread and handler is not None:
            signal.signal(signal.SIGTERM, handler)
