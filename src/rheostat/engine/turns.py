"""Ways of doing the same thing, timed in turns, so that a busy machine slows all of them alike."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Times:
    """Seconds of one way, in the order of its turns."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    """Processor time of this process: what others do to the machine's clock does not enter, what they do to its caches
    does."""


def take_turns(
    ways: Mapping[str, Callable[[], Any]], *, turns: int, device: torch.device
) -> tuple[dict[str, Any], dict[str, Times]]:
    """Do everything once unmeasured, then `turns` times in turns; return each way's last result, and its times.

    Each turn begins with another way: A B C, B C A, C A B, so that none always follows the same one.
    """
    results = {name: way() for name, way in ways.items()}
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for turn in range(turns):
        first = turn % max(len(names), 1)
        for name in (*names[first:], *names[:first]):
            way = ways[name]
            results[name] = None  # what a way returned is freed outside the time of any
            _finish(device)
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            results[name] = way()
            _finish(device)
            wall[name].append(time.perf_counter() - wall_start)
            cpu[name].append(time.process_time() - cpu_start)
    return results, {name: Times(tuple(wall[name]), tuple(cpu[name])) for name in ways}


def _finish(device: torch.device) -> None:
    """Wait for work that was only handed to an accelerator."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
