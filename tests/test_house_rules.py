"""Rules that neither ruff nor import-linter can express: who may hook, draw and print, and what nobody may do."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "rheostat"

HOOKS = re.compile(r"register_(\w+_)?hook|_(global_)?(forward|backward)(_pre)?_hooks")
UNSAFE_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
UNSAFE_LOADS = {"torch.load", "pickle.load", "pickle.loads"}
"""Calls that make whatever a file names. `pickle.Unpickler` does too, unless it is told what it may make."""
BROAD = {"Exception", "BaseException"}


@dataclass(frozen=True)
class Violation:
    """A place in the sources that breaks a rule."""

    rule: str
    where: str
    """The file, below the package, and the line."""


def violations(package: Path) -> list[Violation]:
    """Return every broken rule in the Python files below `package`."""
    found = []
    for file in sorted(package.rglob("*.py")):
        path = file.relative_to(package)
        room = path.parts[0] if len(path.parts) > 1 else ""
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            rules = [rule for rule in broken_rules(node, room) if (rule, path.as_posix()) not in ALLOWED]
            found += [Violation(rule, f"{path}:{node.lineno}") for rule in rules]
    return found


ALLOWED = {
    ("no broad except", "cli/main.py"),  # the one place where an unforeseen error becomes one line and the exit code 3
    ("no broad except", "serve/batcher.py"),  # the one place where whatever a job brings ends that job alone
    ("no pickle", "data/mnist.py"),  # the one place where a pickle is read, by an unpickler that makes arrays only
}


def broken_rules(node: ast.AST, room: str) -> Iterator[str]:
    """Yield the rules that one syntax node in the folder `room` breaks."""
    modules = imported_modules(node)
    roots = {module.split(".")[0] for module in modules}
    if room != "engine" and any(HOOKS.fullmatch(name) for name in names(node)):
        yield "only engine touches hooks"
    if room != "report" and "matplotlib" in roots:
        yield "only report draws"
    if room != "cli" and (is_call(node, "print") or "typer" in roots):
        yield "only cli prints"
    if roots & UNSAFE_MODULES:
        yield "no pickle"
    if modules & UNSAFE_LOADS or any(is_call(node, name, owner=own) for own, _, name in map(_parted, UNSAFE_LOADS)):
        yield "files from outside are data"
    if has_keyword(node, "allow_pickle") or has_keyword(node, "trust_remote_code"):
        yield "files from outside are data"
    if is_broad_handler(node):
        yield "no broad except"
    if "__future__.annotations" in modules:
        yield "no postponed annotations"


def names(node: ast.AST) -> list[str]:
    """Return what a node names: an attribute, a variable, or a string that is a whole name (as for `getattr`)."""
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name) | ast.Constant(value=str(name)):
            return [name]
    return []


def imported_modules(node: ast.AST) -> set[str]:
    """Return the dotted names that an import statement brings in; `from a import b` gives both a and a.b."""
    match node:
        case ast.Import(names=aliases):
            return {alias.name for alias in aliases}
        case ast.ImportFrom(module=str(module), names=aliases):
            return {module} | {f"{module}.{alias.name}" for alias in aliases}
        case ast.Call(
            func=ast.Name("__import__") | ast.Attribute(attr="import_module"), args=[ast.Constant(str(name)), *_]
        ):
            return {name}
    return set()


def _parted(name: str) -> tuple[str, str, str]:
    return name.partition(".")


def is_call(node: ast.AST, name: str, *, owner: str | None = None) -> bool:
    """Tell whether a node calls `name(…)`, or `owner.name(…)`."""
    match node:
        case ast.Call(func=ast.Name(id=called)):
            return owner is None and called == name
        case ast.Call(func=ast.Attribute(value=ast.Name(id=before), attr=called)):
            return owner == before and called == name
    return False


def has_keyword(node: ast.AST, name: str) -> bool:
    """Tell whether a call passes `name=True`."""
    match node:
        case ast.Call(keywords=keywords):
            return any(
                keyword.arg == name and isinstance(keyword.value, ast.Constant) and keyword.value.value is True
                for keyword in keywords
            )
    return False


def is_broad_handler(node: ast.AST) -> bool:
    """Tell whether a node catches, or suppresses, every exception."""
    match node:
        case ast.ExceptHandler(type=None):
            return True
        case ast.ExceptHandler(type=ast.Tuple(elts=caught)):
            return any(isinstance(one, ast.Name) and one.id in BROAD for one in caught)
        case ast.ExceptHandler(type=ast.Name(id=caught)):
            return caught in BROAD
        case ast.Call(func=ast.Name("suppress") | ast.Attribute(attr="suppress"), args=suppressed):
            return any(isinstance(one, ast.Name) and one.id in BROAD for one in suppressed)
    return False


def test_the_sources_keep_every_house_rule():
    assert len(list(PACKAGE.rglob("*.py"))) > 10
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    ("rule", "file", "code"),
    [
        ("only engine touches hooks", "edit/add.py", "module.register_forward_hook(change)"),
        ("only engine touches hooks", "model.py", "block.register_forward_pre_hook(change, with_kwargs=True)"),
        ("only engine touches hooks", "capture/take.py", "tensor.register_hook(keep)"),
        ("only engine touches hooks", "capture/take.py", "getattr(module, 'register_full_backward_hook')(keep)"),
        ("only engine touches hooks", "models/load.py", "module._forward_hooks.clear()"),
        ("only report draws", "studies/decoding.py", "import matplotlib.pyplot as plt"),
        ("only report draws", "cli/lens.py", "def draw():\n    from matplotlib import pyplot"),
        ("only report draws", "lenses/logit.py", "importlib.import_module('matplotlib.figure')"),
        ("only cli prints", "lenses/logit.py", "print('block 3')"),
        ("only cli prints", "report/terminal.py", "import typer"),
        ("no pickle", "data/arrays.py", "import pickle"),
        ("no pickle", "models/load.py", "import dill"),
        ("files from outside are data", "data/mnist.py", "from pickle import loads"),
        ("files from outside are data", "data/mnist.py", "arrays = pickle.load(stream)"),
        ("files from outside are data", "data/mnist.py", "arrays = pickle.loads(content)"),
        ("files from outside are data", "models/load.py", "state = torch.load(path)"),
        ("files from outside are data", "models/load.py", "from torch import load"),
        ("files from outside are data", "data/arrays.py", "np.load(path, allow_pickle=True)"),
        ("files from outside are data", "models/load.py", "from_pretrained(name, trust_remote_code=True)"),
        ("no broad except", "engine/run.py", "try:\n    go()\nexcept Exception:\n    pass"),
        ("no broad except", "engine/run.py", "try:\n    go()\nexcept (ValueError, BaseException):\n    pass"),
        ("no broad except", "engine/run.py", "try:\n    go()\nexcept:\n    pass"),
        ("no broad except", "models/anatomy.py", "with contextlib.suppress(Exception):\n    go()"),
        ("no postponed annotations", "base/axes.py", "from __future__ import annotations"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, rule: str, file: str, code: str):
    plant(tmp_path, file, code)
    assert {violation.rule for violation in violations(tmp_path)} == {rule}


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("engine/hooks.py", "module.register_forward_hook(change)"),
        ("report/figures.py", "import matplotlib.pyplot as plt"),
        ("cli/main.py", "import typer\nprint('text')"),
        ("report/page.py", "console.print('text')\n'''Only engine calls register_forward_hook.'''"),
        ("models/load.py", "safetensors.torch.load(raw)\nfrom_pretrained(name, trust_remote_code=asked)"),
        ("engine/run.py", "try:\n    go()\nexcept (OSError, ValueError):\n    raise"),
        ("data/mnist.py", "import pickle\nclass ArraysOnly(pickle.Unpickler): ..."),
    ],
)
def test_what_the_rules_allow_is_not_reported(tmp_path: Path, file: str, code: str):
    plant(tmp_path, file, code)
    assert violations(tmp_path) == []


def plant(package: Path, file: str, code: str) -> None:
    """Write a small package that holds one file."""
    target = package / file
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(f"{code}\n", encoding="utf-8")
