"""The page: what it serves, and what a real browser makes of it, with the keyboard alone."""

import json
import re
from pathlib import Path

import httpx
import pytest

import rheostat as rh
from rheostat.evaluation.protocol import Protocol
from rheostat.evaluation.record import FORMAT
from rheostat.evaluation.rule import judge
from tests.serve.over_http.browser import CHROMIUM, Browser
from tests.serve.over_http.conftest import planted_directions

UI = Path(__file__).parents[3] / "src" / "rheostat" / "serve" / "ui"
NAMES = ("completions", "chat", "models", "lens")


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Return a folder with the record of one evaluation, and files that are none."""
    from dataclasses import asdict

    protocol = Protocol(0.5, (1.0, 0.8, 0.6))
    answers = {level: {(n, 0): n < right for n in range(20)} for level, right in ((1.0, 0), (0.8, 2), (0.6, 14))}
    points, outcome = judge(answers, [""] * 20, protocol)
    content = {
        "format": FORMAT,
        "model": {"id": "toy"},
        "task": {"name": "<b>repeat</b>", "n_items": 20},
        "protocol": asdict(protocol),
        "points": [asdict(point) for point in points],
        "outcome": asdict(outcome),
        "refusals": [{"level": 0.6, "code": "below_floor", "status": 403}],
        "answers": [{"secret": 1}],
        "at": "",
        "ended_at": "",
    }
    folder = tmp_path / "records"
    (folder / "first").mkdir(parents=True)
    (folder / "first" / "record.json").write_text(json.dumps({"content": content, "signature": {}}))
    (folder / "none.json").write_text("[]")
    (folder / "broken.json").write_text("{")
    for name, value in {"nan": "NaN", "huge": "1e999", "odd": '"\\ud800"', "deep": "[" * 10**5 + "]" * 10**5}.items():
        text = json.dumps({"content": content}).replace('"toy"', value)
        (folder / f"{name}.json").write_text(text)
    return folder


def test_the_files_are_open_and_allow_nothing_from_elsewhere(served):
    for path, kind in (("/ui", "text/html"), ("/ui/page.css", "text/css"), ("/ui/page.js", "text/javascript")):
        answer = httpx.get(f"{served.url}{path}")
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(kind)
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert httpx.get(f"{served.url}/ui/records").status_code == 401
    assert httpx.get(f"{served.url}/ui/../serve.toml").status_code in (401, 404)


def test_the_page_names_no_other_address_and_holds_no_inline_code():
    for file in UI.iterdir():
        text = file.read_text(encoding="utf-8")
        assert set(re.findall(r"https?://[\w./]+", text)) <= {"http://www.w3.org/2000/svg"}, file
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|eval\(|\bon\w+=|style=", text), file


def test_records_come_without_their_answers(serving, records: Path):
    with serving(records=str(records)) as one:
        headers = {"Authorization": f"Bearer {one.key()}"}
        found = httpx.get(f"{one.url}/ui/records", headers=headers).json()["data"]
    assert [record["name"] for record in found] == ["first"]
    assert found[0]["points"][1]["n_right"] == 2 and "answers" not in found[0]


@pytest.mark.slow  # a browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_page_is_used_with_the_keyboard_alone(serving, records: Path, tmp_path: Path):
    grants = {"endpoints": NAMES, "sites": ("*",), "logits": True, "activations": True}
    with serving(records=str(records), impairment={"most": 1e5}) as one, Browser() as page:
        key = one.key(**grants)
        page.open(f"{one.url}/ui")
        page.until("document.activeElement.id === 'key'")
        page.type("rh-wrong")
        page.press("Enter")
        page.until("document.getElementById('said').innerText.includes('does not know the key')")
        page.tab_to("key")
        page.type(key)
        page.press("Enter")
        page.until("document.activeElement.id === 'prompt'")
        assert "floor 0" in page.value("document.getElementById('grants').innerText")
        assert key not in page.value("document.documentElement.outerHTML")

        page.value("document.getElementById('prompt').select()")
        page.type("w5 w9 w12 w7")
        page.tab_to("dial")
        page.press("Right", times=20)
        assert page.value("document.getElementById('dial-shown').innerText") == "0.50"
        page.value("""
            window.grown = 0;
            const count = (found) => { window.grown += found.filter((one) => one.target.tagName === "B").length };
            new MutationObserver(count).observe(document.getElementById("plain"), {childList: true, subtree: true});
        """)
        page.press("Enter", ctrl=True)
        page.until("document.getElementById('said').innerText === 'Both texts are written.'")
        for place, level in (("plain", 0.0), ("changed", 0.5)):
            body = {"prompt": "w5 w9 w12 w7", "max_tokens": 24, "temperature": 0, "impairment": level}
            written = one.post("/v1/completions", key, **body).json()["choices"][0]["text"]
            assert page.value(f"document.querySelector('#{place} b').textContent") == written
        assert page.value("window.grown") > 12, "the text is shown as it is written"

        assert page.value(
            "document.querySelector('#plain b').innerText !== document.querySelector('#changed b').innerText"
        )

        page.tab_to("look")
        page.press("Space")
        page.until("document.querySelectorAll('#lens-table tbody tr').length > 0")
        assert page.value("document.activeElement.id") == "lens-table"
        assert page.value("document.querySelectorAll('#lens-table tbody tr').length") == one.model.n_blocks
        page.tab_to("show")
        page.press("Enter")
        page.until("document.querySelector('svg polyline') !== null")
        assert "<b>repeat</b>" in page.value("document.querySelector('article h3').innerText")
        assert "below_floor" in page.value("document.querySelector('article').innerText")

        colours = {}
        for theme in ("light", "dark"):
            page.theme(theme)
            page.screenshot(tmp_path / f"{theme}.png")
            colours[theme] = page.value("getComputedStyle(document.body).backgroundColor")
        assert colours["light"] != colours["dark"]
        problems = [one for one in page.problems() if "401" not in one]  # the wrong key
        assert problems == []

        page.tab_to("forget")
        page.press("Enter")
        page.until("document.activeElement.id === 'key'")
        assert page.value("sessionStorage.length") == 0


@pytest.mark.slow  # a browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_refusal_stands_where_the_text_would(serving):
    with serving(impairment={"most": 8.0}) as one, Browser() as page:
        page.open(f"{one.url}/ui")
        page.until("document.activeElement.id === 'key'")
        page.type(one.key(0.6))
        page.press("Enter")
        page.until("document.activeElement.id === 'prompt'")
        assert page.value("document.getElementById('plain-title').innerText") == "Least impairment of this key: 0.6"
        assert page.value("document.getElementById('dial-shown').innerText") == "0.60"
        page.tab_to("dial")
        page.press("Left", times=3)
        page.press("Enter", ctrl=True)
        page.until("document.getElementById('said').innerText.startsWith('Refused')")
        assert "the floor of the key" in page.value("document.getElementById('changed').innerText")
        assert page.value("document.querySelector('#plain b').textContent") != ""
        page.tab_to("look")
        page.press("Enter")
        page.until("document.getElementById('said').innerText.includes('may not ask the endpoint lens')")


@pytest.mark.slow  # a browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_direction_is_chosen_with_the_keyboard(serving, toy_model, tmp_path: Path):
    loud = rh.Directions.of(planted_directions(toy_model)["blocks.1.resid_post"] * 100.0)
    loud.save(tmp_path / "loud.safetensors")
    with serving(directions={"loud": str(tmp_path / "loud.safetensors")}) as one, Browser() as page:
        key = one.key(directions=("*",))
        page.open(f"{one.url}/ui")
        page.until("document.activeElement.id === 'key'")
        page.type(key)
        page.press("Enter")
        page.until("document.activeElement.id === 'prompt'")
        page.value("document.getElementById('prompt').select()")
        page.type("w5 w9 w12 w7")
        page.tab_to("Steering and edits")
        page.press("Enter")
        page.tab_to("direction")
        page.press("Down")
        page.tab_to("strength")
        page.press("Enter", ctrl=True)
        page.until("document.getElementById('said').innerText === 'Both texts are written.'")
        assert page.value("document.getElementById('direction').value") == "loud"
        body = {"prompt": "w5 w9 w12 w7", "max_tokens": 24, "temperature": 0}
        for place, more in (("plain", {}), ("changed", {"impairment": 0.3, "steering": {"direction": "loud"}})):
            written = one.post("/v1/completions", key, **body, **more).json()["choices"][0]["text"]
            assert page.value(f"document.querySelector('#{place} b').textContent") == written
        unsteered = one.post("/v1/completions", key, **body, impairment=0.3).json()["choices"][0]["text"]
        assert unsteered != written
        one.book.change(key.split("-")[1], floor=0.2)
        page.reload()
        page.until("document.getElementById('grants-text').innerText.includes('floor 0.2')")
        assert page.value("document.getElementById('steer').hidden")
        assert page.problems() == []
