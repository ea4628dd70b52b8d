"""The benchmarks run, on a toy, and notice results that disagree; no time is asserted."""

import json
from pathlib import Path

import pytest
import torch

import rheostat as rh
from bench import __main__ as command
from bench import capture, generate, generation_sweep, lens, rows, sweep
from rheostat.lenses import reading
from rheostat.models.toy import toy


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "TURNS", {8: 1})
    monkeypatch.setattr(rows, "N_ROWS", 3)


@pytest.fixture(scope="module")
def model() -> rh.Model:
    return rh.load(toy("llama"))


@pytest.mark.parametrize("name", list(command.BENCHMARKS))
def test_every_benchmark_runs_and_agrees(model: rh.Model, name: str):
    record = command.measure(model, [name], quick=True)
    assert record["agrees"]
    assert any(outcome["checks"] for outcome in record["outcomes"])
    assert all(outcome["seconds"] > 0 and outcome["plain_seconds"] > 0 for outcome in record["outcomes"])
    assert json.loads(json.dumps(record)) == record


@pytest.mark.parametrize(
    "benchmark", [capture, generate, generation_sweep, rows, sweep], ids=lambda module: module.__name__
)
def test_a_plain_way_that_computes_something_else_is_noticed(model: rh.Model, monkeypatch, benchmark):
    true = benchmark.ours
    if benchmark is generate:
        monkeypatch.setattr(generate, "ours", lambda *arguments: true(*arguments)[:-1])
    elif benchmark is generation_sweep:
        monkeypatch.setattr(generation_sweep, "ours", lambda *arguments: true(*arguments)[::-1])
    elif benchmark is capture:
        monkeypatch.setattr(capture, "ours", lambda *arguments: [one + 1 for one in true(*arguments)])
    else:
        monkeypatch.setattr(benchmark, "ours", lambda *arguments: true(*arguments) + 1)
    assert not all(outcome.agrees for outcome in benchmark.run(model, quick=True))


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
