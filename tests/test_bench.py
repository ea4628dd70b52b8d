"""The benchmarks run, on a toy, and notice results that disagree; no time is asserted."""

import json
from pathlib import Path

import pytest
import torch

import rheostat as rh
from bench import __main__ as command
from bench import (
    actadd,
    capture,
    directions,
    floor,
    generate,
    generation_sweep,
    impaired_generation,
    impairment,
    lens,
    page,
    plain_sweep,
    rows,
    shapley,
    sweep,
    where,
)
from rheostat.lenses import reading
from rheostat.models.toy import toy
from rheostat.tasks.item import Item
from tests.contract.conftest import word_tokenizer

ITEMS = [
    Item(" ".join(f"w{(7 * place * start) % 59 + 4}" for place in range(1, n)), " w9 w11", str(start))
    for start in (1, 2, 3)
    for n in (4, 7, 9)
]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "TURNS", {8: 1})
    monkeypatch.setattr(rows, "N_ROWS", 3)
    monkeypatch.setattr(floor, "SHAPES", ((2, 1), (2, 4)))
    monkeypatch.setattr(impairment, "items", lambda _n: ITEMS)


@pytest.fixture(scope="module")
def model() -> rh.Model:
    return rh.load(toy("llama"))


@pytest.fixture(scope="module")
def worded() -> rh.Model:
    """For benchmarks that need texts."""
    return rh.load(toy("llama"), tokenizer=word_tokenizer())


@pytest.mark.parametrize("name", [*command.BENCHMARKS, *command.LONG])
def test_every_benchmark_runs_and_agrees(model: rh.Model, worded: rh.Model, name: str):
    record = command.measure(worded if name.startswith(("directions", "impairment")) else model, [name], quick=True)
    assert record["agrees"]
    assert any(outcome["checks"] for outcome in record["outcomes"])
    assert all(outcome["seconds"] > 0 and outcome["plain_seconds"] > 0 for outcome in record["outcomes"])
    assert json.loads(json.dumps(record)) == record


@pytest.mark.parametrize(
    "benchmark",
    [actadd, capture, generate, generation_sweep, impaired_generation, plain_sweep, rows, shapley, sweep],
    ids=lambda module: module.__name__,
)
def test_a_plain_way_that_computes_something_else_is_noticed(model: rh.Model, monkeypatch, benchmark):
    true = benchmark.ours
    if benchmark in (generate, impaired_generation):
        monkeypatch.setattr(benchmark, "ours", lambda *arguments: true(*arguments)[:-1])
    elif benchmark is generation_sweep:
        monkeypatch.setattr(generation_sweep, "ours", lambda *arguments: true(*arguments)[::-1])
    elif benchmark is capture:
        monkeypatch.setattr(capture, "ours", lambda *arguments: [one + 1 for one in true(*arguments)])
    else:
        monkeypatch.setattr(benchmark, "ours", lambda *arguments: true(*arguments) + 1)
    assert not all(outcome.agrees for outcome in benchmark.run(model, quick=True))


def test_curves_of_other_numbers_are_noticed(worded: rh.Model, monkeypatch):
    true = impairment.ours
    monkeypatch.setattr(impairment, "ours", lambda *arguments: true(*arguments) + 1)
    assert not any(outcome.agrees for outcome in impairment.run(worded, quick=True))


def test_directions_that_point_elsewhere_are_noticed(worded: rh.Model, monkeypatch):
    true = directions.ours
    monkeypatch.setattr(directions, "ours", lambda *arguments: true(*arguments).flip(-1))
    assert not any(outcome.agrees for outcome in directions.run(worded, quick=True))


def test_a_lens_that_reads_other_tokens_is_noticed(model: rh.Model, monkeypatch):
    true = reading.top_of_rows

    def shifted(values: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        top, columns = true(values, k)
        return top, (columns + 1) % values.shape[1]

    monkeypatch.setattr(reading, "top_of_rows", shifted)
    assert not all(outcome.agrees for outcome in lens.run(model, quick=True))


def test_the_command_writes_a_record_and_refuses_an_unknown_model(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "load", lambda *_names, **_settings: rh.load(toy("llama")))
    monkeypatch.setattr(torch, "set_num_threads", lambda _n: None)
    assert command.main(["--only", "rows", "--quick"]) == 0
    assert json.loads((tmp_path / "build" / "bench.json").read_text())["agrees"]
    assert "3 plans" in capsys.readouterr().out
    monkeypatch.undo()
    assert command.main(["--model", "no-such-model"]) == 2
    assert "no model 'no-such-model'" in capsys.readouterr().err


@pytest.mark.parametrize("case", [*sweep.CASES[3:], sweep.LONG_CASES[-1]], ids=lambda case: f"{case.pair}, {case.kind}")
def test_grids_of_every_kind_of_site_agree_with_the_plain_loop(model: rh.Model, case: sweep.Case):
    unit = floor.unit_of(model, 2, 2)
    outcomes = sweep.compare_case(model, case, unit, turns=1)
    assert all(outcome.agrees for outcome in outcomes)
    figures = outcomes[0].figures
    assert figures["block-token-rows at least"] <= figures["block-token-rows planned"]
    assert figures["cells"] % (1 if case.stride > 1 else model.n_blocks) == 0


def test_the_least_work_of_a_grid_is_what_comes_after_each_edit(model: rh.Model):
    prompt, donor = sweep.pair(model, sweep.PAIRS[sweep.SHORT])
    counted = {}
    for kind in ("resid_pre", "mlp_out"):
        grid = sweep.Grid(kind, prompt, donor)
        cells = grid.cells(model.capture(donor, grid.site, positions="all"))
        counted[kind] = floor.least_work(model, 5, cells, differ_at=3)
    both_prompts = 3 * (5 + 2)
    assert counted == {"resid_pre": both_prompts + (3 + 2 + 1) * (2 + 1), "mlp_out": both_prompts + (2 + 1) * (2 + 1)}


def test_the_profile_gives_the_unembedding_and_the_matrix_products_their_own_places():
    body, head = torch.nn.Linear(64, 64), torch.nn.Linear(64, 4096)

    def run() -> None:
        for _ in range(50):
            head(body(torch.zeros(64, 64)))

    spent = where.where_time_goes(run, head)
    assert spent[where.UNEMBEDDING] > spent[where.PRODUCTS] > 0
    assert set(spent) == {where.UNEMBEDDING, *where.PLACES, where.OTHER}
    assert not head._forward_hooks
    assert not head._forward_pre_hooks


def test_the_page_takes_the_tables_of_a_record_and_nothing_else_changes(model: rh.Model):
    record = command.measure(model, ["sweep"], quick=True)
    record["date"] = "2001-02-03"
    text = "before\n<!-- sweep: begin -->\nold\n<!-- sweep: end -->\nafter\n"
    written = page.put(text, "sweep", page.sweep_section(record))
    assert written.startswith("before\n<!-- sweep: begin -->\n2001-02-03")
    assert written.endswith("<!-- sweep: end -->\nafter\n")
    assert "old" not in written
    assert "| 5 tokens, differ at 3, resid_pre | 15 of 15 |" in written
    assert page.put(written, "sweep", page.sweep_section(record)) == written
    with pytest.raises(ValueError, match="no markers"):
        page.put("no place", "sweep", "")


def test_the_page_of_the_project_has_a_place_for_every_section():
    text = (Path(__file__).parent.parent / page.PAGE).read_text()
    assert all(page.put(text, name, "new") != text for name in page.SECTIONS)
