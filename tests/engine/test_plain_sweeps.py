"""A sweep of a plain module gives every cell what a run of it alone gives, and runs a shared beginning once."""

from itertools import pairwise

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import rheostat as rh
from rheostat.base.errors import BadArgument, EditNotApplied, EditNotUsable, RheostatError, SiteNotFound
from rheostat.engine.chain import chain_of
from rheostat.engine.plain_sweep import sweep_outputs
from rheostat.engine.taps import count_hooks
from rheostat.sites.site import Site

N_INPUTS = 3
EXAMPLES = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MOVED = 1e-3
KINDS = {
    "scale": lambda path, strength: rh.Scale(path, 2.5, strength=strength),
    "add": lambda path, strength: rh.Add(path, torch.tensor(1.5, dtype=torch.float64), strength=strength),
    "zero": lambda path, strength: rh.Zero(path, strength=strength),
}


class Residual(nn.Module):
    """A part with a skip path and a module that runs twice: only between parts may a run begin."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(self.first(x)).relu())


class Wrapped(nn.Module):
    """The same parts behind a forward pass of its own, which nothing can begin in the middle."""

    def __init__(self, inner: nn.Sequential) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + x.sum(-1, keepdim=True)


@st.composite
def modules(draw: st.DrawFn) -> tuple[nn.Module, list[str], Tensor]:
    """Draw a perceptron, the paths that may be edited in it, and inputs."""
    widths = draw(st.lists(st.integers(2, 5), min_size=2, max_size=5))
    torch.manual_seed(draw(st.integers(0, 99)))
    parts: list[nn.Module] = []
    for before, after in pairwise(widths):
        parts += [nn.Linear(before, after), draw(st.sampled_from([nn.Tanh(), nn.ReLU(inplace=True)]))]
        if draw(st.booleans()):
            parts.append(Residual(after))
    parts.append(nn.Linear(widths[-1], 2))
    if draw(st.booleans()):
        parts = [nn.Sequential(*parts[:2]), *parts[2:]]
    module: nn.Module = nn.Sequential(*parts)
    if draw(st.booleans()):
        module = Wrapped(module)
    paths = [path for path, _ in module.named_modules() if path]
    return module.double().eval(), paths, torch.randn(N_INPUTS, widths[0], dtype=torch.float64)


def outputs(model: rh.Model, inputs: Tensor, cells: list[object], **options: int) -> Tensor:
    """Return (cell, row, …) in the order of the cells."""
    found: dict[int, Tensor] = {}
    for chunk in sweep_outputs(model, inputs, cells, **options):
        found.update(zip(chunk.cells, chunk.outputs, strict=True))
    return torch.stack([found[cell] for cell in range(len(cells))])


def one_by_one(model: rh.Model, inputs: Tensor, cells: list[object]) -> Tensor:
    return torch.stack([model.run_plain(inputs.clone(), cell).output for cell in cells])


@EXAMPLES
@given(data=st.data(), drawn=modules(), max_rows=st.sampled_from([1, 7, 999]))
def test_cells_of_a_plain_sweep_equal_single_runs(data, drawn, max_rows):
    module, paths, inputs = drawn
    model = rh.load(module)
    drawn_edits = st.tuples(
        st.sampled_from(sorted(KINDS)),
        st.sampled_from(paths),
        st.sampled_from(["", ":in"]),
        st.sampled_from([1.0, 0.5, 0.0]),
    )
    plans = data.draw(st.lists(st.lists(drawn_edits, max_size=3), min_size=1, max_size=6))
    cells = [[KINDS[kind](path + side, strength) for kind, path, side, strength in plan] for plan in plans]
    cells = [*cells, [rh.Add(paths[-1], torch.tensor([1.0, -2.0]).double())]]
    before, hooks = inputs.clone(), count_hooks(module)
    together = outputs(model, inputs, cells, max_rows=max_rows)
    alone = one_by_one(model, inputs, cells)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)
    assert (alone[-1] - model.run_plain(inputs.clone()).output).abs().max() > MOVED
    assert torch.equal(inputs, before) and count_hooks(module) == hooks


def test_every_edit_of_a_chain_moves_its_own_cell_alone():
    torch.manual_seed(0)
    model = rh.load(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 2)).double())
    inputs = torch.randn(N_INPUTS, 4, dtype=torch.float64)
    cells = [rh.Scale(str(part), 1.7) for part in range(5)] + [None]
    together = outputs(model, inputs, cells)
    clean = model.run_plain(inputs).output
    moved = (together - clean).abs().amax((1, 2))
    assert moved[:5].min() > MOVED and moved[5] == 0
    assert len({round(float(one), 9) for one in moved}) == 6


def test_a_part_that_changes_what_it_reads_in_place_does_not_change_what_cells_begin_from():
    torch.manual_seed(0)
    model = rh.load(nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 2)).double())
    inputs = torch.randn(N_INPUTS, 4, dtype=torch.float64)
    cells = [rh.Add("1:in", torch.tensor(1.5, dtype=torch.float64))]
    torch.testing.assert_close(outputs(model, inputs, cells), one_by_one(model, inputs, cells), rtol=0, atol=1e-12)


def test_captured_activations_patch_input_by_input():
    torch.manual_seed(0)
    model = rh.load(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).double())
    inputs, donors = torch.randn(2, N_INPUTS, 4, dtype=torch.float64)
    held = model.run_plain(donors, capture=["0", "1"]).activations
    cells = [rh.Replace("0", held), rh.Replace("1", held, strength=0.5), rh.Zero("1")]
    together = outputs(model, inputs, cells)
    torch.testing.assert_close(together, one_by_one(model, inputs, cells), rtol=0, atol=1e-12)
    torch.testing.assert_close(together[0], model.run_plain(donors).output, rtol=0, atol=1e-12)
    with pytest.raises(EditNotUsable, match=r"cell 0: .* has 3 rows for 2 inputs"):
        outputs(model, inputs[:2], cells)


def test_the_beginning_that_cells_share_runs_once_and_each_part_sees_only_cells_that_were_changed():
    parts = [nn.Linear(4, 4) for _ in range(4)]
    seen: list[list[int]] = [[] for _ in parts]
    model = rh.load(nn.Sequential(nn.Sequential(*parts[:2]), *parts[2:]).double())
    for number, part in enumerate(parts):
        part.register_forward_hook(lambda _m, args, _out, number=number: seen[number].append(len(args[0])))
    cells = [rh.Scale(path, 2.0) for path in ("0.1", "0.1", "1", "2", "2", "2")]
    outputs(model, torch.randn(N_INPUTS, 4).double(), cells)
    rows = [[one // N_INPUTS for one in part] for part in seen]
    checked = [1, 1]  # the cells that also run alone, those that join first and last
    assert rows == [
        [1, *checked],
        [1, *checked],
        [1, 2, *checked],
        [1, 3, *checked],
    ]  # what a part returns changes behind it


class MeanOfBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0, keepdim=True)


class ThreeRows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(3, 4)


class RowsSecond(nn.Module):
    """Turns (row, width) into (width, row) and back, so that the first axis inside is another."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.inside(x.T).T


@pytest.mark.parametrize("part", [MeanOfBatch, ThreeRows, RowsSecond])
@pytest.mark.parametrize("wrap", [False, True])
def test_a_module_whose_rows_cannot_share_a_batch_runs_cell_by_cell(part, wrap):
    torch.manual_seed(0)
    middle = part()
    module = nn.Sequential(nn.Linear(4, 4), middle, nn.Linear(4, 2)).double()
    model = rh.load(Wrapped(module) if wrap else module)
    before = "inner." if wrap else ""
    site = f"{before}1.inside" if part is RowsSecond else f"{before}0"
    cells = [rh.Scale(site, 1 + strength) for strength in (0.5, 1.0, 2.0, 3.0)]
    inputs = torch.randn(N_INPUTS, 4).double()
    alone = one_by_one(model, inputs, cells)
    torch.testing.assert_close(outputs(model, inputs, cells), alone, rtol=0, atol=1e-12)
    assert (alone[0] - alone[1]).abs().max() > MOVED


def test_what_is_no_chain_for_sure_is_none():
    line, same = nn.Linear(2, 2), nn.Linear(2, 2)
    assert chain_of(nn.Sequential(line, nn.Sequential(nn.Tanh(), same)), []).paths == ("0", "1.0", "1.1")
    assert chain_of(nn.Sequential(line, nn.Sequential(same)), [Site("module", path="1:in")]).paths == ("0", "1")
    assert chain_of(nn.Sequential(same, line, same), []) is None
    assert chain_of(nn.Sequential(same, nn.Sequential(same)), []) is None
    assert chain_of(Wrapped(nn.Sequential(line)), []) is None
    assert chain_of(nn.Sequential(), []) is None
    hooked = nn.Sequential(line)
    hooked.register_forward_hook(lambda *_: None)
    assert chain_of(hooked, []) is None


@pytest.mark.parametrize(
    ("cell", "error", "says"),
    [
        (rh.Zero("fisrt"), SiteNotFound, "cell 1: .*'fisrt'.*first"),
        (rh.Zero("idle"), EditNotApplied, "cell 1: .*idle"),
        (rh.Zero("first", positions="last"), EditNotUsable, "cell 1: .*no token positions"),
        (rh.Zero("first", units=(0,)), EditNotUsable, "cell 1: .*named sites"),
        (rh.Mix("first", "a text"), EditNotUsable, "cell 1: .*reads no text"),
    ],
)
def test_what_a_plain_module_cannot_do_is_refused_before_any_cell_runs(perceptron, cell, error, says):
    chunks = sweep_outputs(perceptron, torch.zeros(2, 4).double(), [rh.Zero("first"), cell])
    with pytest.raises(error, match=says):
        next(chunks)
    assert count_hooks(perceptron.module) == 0


def test_the_table_holds_metrics_of_every_input_and_cell(perceptron):
    inputs = torch.randn(N_INPUTS, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cells = [
        rh.Cell(rh.Scale(site, factor), {"site": site, "factor": factor})
        for site in ("first", "second")
        for factor in (0.0, 3.0)
    ]
    table = perceptron.sweep_plain(
        inputs, cells, {"top": lambda out: out.argmax(-1), "size": lambda out: out.norm(dim=-1)}
    )
    assert list(table.columns) == ["cell", "row", "site", "factor", "top", "size"]
    assert len(table) == N_INPUTS * 4
    for row in table.itertuples():
        output = perceptron.run_plain(inputs[[row.row]], rh.Scale(row.site, row.factor)).output[0]
        assert row.size == pytest.approx(float(output.norm()), abs=1e-9)
        assert row.top == int(output.argmax())
    assert table["size"].nunique() > N_INPUTS


@pytest.mark.parametrize(
    ("inputs", "metrics", "says"),
    [
        (torch.zeros(2, 4), {}, "no metric"),
        (torch.zeros(2, 4), {"row": lambda out: out[:, 0]}, "'row' belongs to another column"),
        (torch.zeros(2, 4), {"all": lambda out: out}, r"'all' returned \(2, 2\) for 2 rows"),
        (torch.zeros(0, 4), {"one": lambda out: out[:, 0]}, "0 inputs"),
    ],
)
def test_a_slip_in_a_plain_sweep_is_named(perceptron, inputs, metrics, says):
    with pytest.raises(BadArgument, match=says):
        perceptron.sweep_plain(inputs.double(), [rh.Zero("first")], metrics)
    with pytest.raises(RheostatError):
        perceptron.sweep_plain(inputs.double(), [], metrics)
