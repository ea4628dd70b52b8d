"""The benchmark beside other libraries: exchange, comparison and environments, with no other library installed."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

import rheostat as rh
from bench import page
from bench.beside import __main__ as command
from bench.beside import by_rheostat, comparison, environment, process
from bench.beside.question import Answer, Question, read_answers, read_questions, write_questions
from rheostat.engine.turns import Times
from rheostat.models.toy import toy


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("toy")
    toy("llama").save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def question() -> Question:
    cells = [(block, position) for position in (4, 0, 3, 1, 2) for block in (2, 0, 1)]
    return Question("toy", [5, 6, 7, 8, 9], [5, 6, 7, 7, 9], cells, n_single=6, n_rows=8, batch=4, turns=2)


@pytest.fixture
def answers(folder: str, question: Question, tmp_path: Path, monkeypatch) -> dict[str, Answer]:
    monkeypatch.setattr(torch, "set_num_threads", lambda _n: None)
    write_questions(tmp_path / "questions", [question])
    assert process.main("rheostat", by_rheostat.ways, [folder, str(tmp_path / "questions"), str(tmp_path)]) == 0
    assert json.loads((tmp_path / "versions.json").read_text())["torch"] == torch.__version__.partition("+")[0]
    return read_answers(tmp_path, 0)


def test_a_process_answers_with_numbers_that_are_those_of_the_plain_loop(answers, question):
    assert answers["sweep"].n_cells == 15
    assert len(answers["sweep"].logits) == 8
    assert answers["plain"].n_cells == len(answers["plain"].logits) == 6
    assert comparison.moved(answers["sweep"].logits)
    lines = comparison.compare(question, {"rheostat": answers})
    assert all(line["same"] for line in lines)
    assert len(answers["sweep"].times.wall) == 2


def test_questions_come_back_as_they_were_written(question, tmp_path: Path):
    write_questions(tmp_path / "questions", [question])
    assert read_questions(tmp_path / "questions") == [question]


def test_a_library_that_computes_something_else_is_noticed(answers, question):
    other = answers["plain"]
    off = replace(other, logits=other.logits + 1e-3)
    lines = comparison.compare(question, {"rheostat": answers, "other": {"plain": other, "its way": off}})
    assert [line["way"] for line in lines if not line["same"]] == ["its way"]
    unequal = replace(other, logits=torch.full_like(other.logits, float("nan")))
    assert not comparison.compare(question, {"rheostat": {**answers, "plain": unequal}})[1]["same"]


def test_cells_that_are_all_alike_prove_nothing():
    assert not comparison.moved(torch.arange(10.0).expand(3, 10) + torch.tensor([[0.0], [1e-5], [0.0]]))


def test_speeds_are_put_side_by_side_through_the_plain_loop_of_each_process(question):
    logits = torch.arange(10.0).expand(6, 10)

    def took(n_cells: int, seconds: float) -> Answer:
        return Answer(n_cells, Times((seconds, seconds), (seconds, seconds)), logits)

    ours = {"sweep": took(15, 1.0), "plain": took(6, 4.0)}  # 10 s for all cells: a tenth of the plain loop
    theirs = {"way": took(3, 12.0), "plain": took(6, 8.0)}  # 60 s against 20 s, in a process half as fast
    lines = {
        (line["library"], line["way"]): line for line in comparison.compare(question, {"rheostat": ours, "x": theirs})
    }
    assert lines["x", "way"]["over_plain"]["median"] == pytest.approx(3)
    assert lines["x", "way"]["ours_is_faster"] == pytest.approx(30)
    assert lines["rheostat", "plain"]["ours_is_faster"] == pytest.approx(10)
    assert lines["x", "way"]["seconds"] == pytest.approx(60)


def test_a_library_that_fails_is_reported_and_the_others_are_measured(answers, question, monkeypatch):
    def ask(library: str, _folder: str, asked: list[Question]):
        if library == "nnsight":
            raise command.NotAnswered("ImportError: no")
        return [answers], {"python": "3", library.replace("_", "-"): "1"}

    monkeypatch.setattr(command, "ask", ask)
    model = rh.load(toy("llama"))
    monkeypatch.setattr(command, "questions", lambda _model, *, quick: [question])
    record = command.measure(model, "", command.LIBRARIES, quick=True)
    assert record["failed"] == {"nnsight": "ImportError: no"}
    assert record["agrees"]
    assert {line["library"] for line in record["lines"]} == {"rheostat", "transformer_lens"}
    console = Console(record=True, width=200)
    command.show(record, console)
    assert "nnsight failed: ImportError: no" in console.export_text()
    section = page.beside_section(record)
    assert "nnsight failed: `ImportError: no`" in section
    assert "| toy | transformer-lens | sweep | 15 of 15 |" in section


def test_questions_of_a_model_hold_its_whole_grid_once():
    model = rh.load(toy("llama"))
    for question in command.questions(model, quick=False):
        assert len(set(question.cells)) == len(question.cells) == model.n_blocks * len(question.prompt)
        assert question.n_single <= len(question.cells)
        assert sum(one != other for one, other in zip(question.prompt, question.donor, strict=True)) == 1


@pytest.mark.parametrize("library", command.LIBRARIES)
def test_environments_pin_our_torch_and_transformers_with_hashes_and_name_no_index(library):
    ours = (environment.ROOT / "requirements.lock").read_text()
    pinned = environment.requirements(library).read_text()
    for package in ("torch", "transformers"):
        (version,) = re.findall(rf"^{package}==(\S+)", ours, flags=re.MULTILINE)
        assert f"\n{package}=={version} \\\n    --hash=sha256:" in pinned
    assert f"\n{library.replace('_', '-')}==" in pinned
    assert "://" not in pinned


def test_an_environment_is_made_once_and_again_when_its_pins_change(tmp_path: Path, monkeypatch):
    ran = []

    def run(command: list[str]) -> None:
        ran.append(command[1:3])
        python = tmp_path / "x" / "bin" / "python"
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()

    pins = tmp_path / "x.txt"
    pins.write_text("one")
    monkeypatch.setattr(environment, "_run", run)
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(environment, "requirements", lambda _library: pins)
    monkeypatch.setenv("UV", "uv")
    for _ in range(2):
        assert environment.interpreter("x") == tmp_path / "x" / "bin" / "python"
    assert ran == [["venv", "--quiet"], ["pip", "install"]]
    pins.write_text("two")
    environment.interpreter("x")
    assert len(ran) == 4


def test_an_environment_that_cannot_be_made_says_why(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(environment, "ENVIRONMENTS", environment.ROOT / "build" / "no-such-folder")
    monkeypatch.setenv("UV", "false")
    with pytest.raises(environment.NotInstallable, match="false venv --quiet failed"):
        environment.interpreter("nnsight")
    monkeypatch.delenv("UV")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(environment.NotInstallable, match="make bench-beside"):
        environment.find_uv()
