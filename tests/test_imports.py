"""Importing rheostat does nothing: it loads no heavy library and changes nothing in the interpreter."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "matplotlib", "ray")

OBSERVE = """
import builtins, json, logging, os, signal, sys, threading, warnings

def state():
    hooks = ("excepthook", "displayhook", "breakpointhook", "unraisablehook")
    return {
        "hooks of sys": [repr(getattr(sys, name)) for name in hooks],
        "import machinery": [repr(sys.meta_path), repr(sys.path_hooks), repr(builtins.__import__)],
        "print": repr(builtins.print),
        "logging": repr((logging.root.handlers, logging.root.level)),
        "warnings": repr(warnings.filters),
        "signals": repr([signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)]),
        "environment": dict(os.environ),
        "threads": threading.active_count(),
    }

before = state()
__import__(sys.argv[1])
after = state()
changed = [name for name in before if before[name] != after[name]]
loaded = [name for name in sys.argv[2:] if name in sys.modules]
json.dump({"changed": changed, "loaded": loaded}, sys.stdout)
"""


def effects_of_importing(package: str, *, path: Path | None = None) -> dict[str, list[str]]:
    """Import a package in a fresh interpreter; return what it changed and which heavy libraries it loaded."""
    environment = {**os.environ, "PYTHONPATH": str(path)} if path else None
    command = [sys.executable, "-c", OBSERVE, package, *HEAVY]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_importing_rheostat_loads_no_heavy_library_and_changes_nothing():
    assert effects_of_importing("rheostat") == {"changed": [], "loaded": []}


@pytest.mark.parametrize(
    ("code", "effects"),
    [
        ("import torch", {"changed": [], "loaded": ["torch"]}),
        ("import sys; sys.excepthook = print", {"changed": ["hooks of sys"], "loaded": []}),
        ("import sys; sys.meta_path.insert(0, object())", {"changed": ["import machinery"], "loaded": []}),
        ("import logging; logging.basicConfig()", {"changed": ["logging"], "loaded": []}),
        ("import warnings; warnings.simplefilter('ignore')", {"changed": ["warnings"], "loaded": []}),
        ("import os; os.environ['X_PLANTED'] = '1'", {"changed": ["environment"], "loaded": []}),
        ("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)", {"changed": ["signals"], "loaded": []}),
    ],
)
def test_a_planted_effect_is_seen(tmp_path: Path, code: str, effects: dict[str, list[str]]):
    (tmp_path / "torch.py").touch()  # stands in for the real one, which takes seconds
    (tmp_path / "planted.py").write_text(code, encoding="utf-8")
    assert effects_of_importing("planted", path=tmp_path) == effects
