"""`Metrics`: what the server has done, as text that Prometheus reads."""

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path


class Metrics:
    """Counters, and gauges that are asked when somebody looks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, tuple[tuple[str, str], ...]], float] = defaultdict(float)
        self._gauges: dict[str, Callable[[], float | int]] = {}

    def count(self, name: str, amount: float | int = 1, **labels: str) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[name, tuple(sorted(labels.items()))] += amount

    def watch(self, name: str, value: Callable[[], float | int]) -> None:
        """Show what a function returns."""
        self._gauges[name] = value

    def text(self) -> str:
        """Return the exposition format, version 0.0.4."""
        with self._lock:
            counts = dict(self._counts)
        lines = []
        for name in sorted({name for name, _ in counts}):
            lines.append(f"# TYPE rheostat_{name} counter")
            lines += [
                f"rheostat_{name}{_labels(dict(own))} {counts[name, own]:.10g}"
                for one, own in sorted(counts)
                if one == name
            ]
        for name, value in sorted(self._gauges.items()):
            lines += [f"# TYPE rheostat_{name} gauge", f"rheostat_{name} {value():.10g}"]
        return "\n".join(lines) + "\n"


def resident_bytes() -> float:
    """Return the memory of this process; 0 where the system does not say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    for line in status.read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return 1024 * float(line.split()[1])
    return 0.0


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}" if labels else ""
