"""The owner's directions by name: what they do, who may use them, and what is refused when the server starts."""

import httpx
import pytest

import rheostat as rh
from rheostat.base.errors import BadArgument, DirectionNotUsable, FileNotUsable
from rheostat.serve.offered import load_offered
from rheostat.serve.settings import checked
from tests.serve.over_http.conftest import planted_directions

PROMPT = "w5 w9 w12 w7"
FORMAL = {"direction": "formal", "site": "blocks.1.resid_post"}


def text(served, key: str, **body) -> str:
    answer = served.post("/v1/completions", key, prompt=PROMPT, max_tokens=8, **body)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["text"]


def refusal(served, key: str, **body) -> tuple[int, str, str]:
    answer = served.post("/v1/completions", key, prompt=PROMPT, max_tokens=2, **body)
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["message"]


def test_a_named_direction_does_what_its_vector_does(served):
    by_name, by_vector = served.key(directions=("formal",)), served.key(sites=("blocks.1.*",))
    direction = planted_directions(served.model)["blocks.1.resid_post"]
    vector = {"site": direction.site, "vector": direction.vector.tolist(), "strength": 2.0, "positions": "generated"}
    steered = text(served, by_name, steering=[{**FORMAL, "strength": 2.0, "positions": "generated"}])
    assert steered == text(served, by_vector, steering=vector) != text(served, by_name)
    assert text(served, by_name, steering=FORMAL | {"strength": 0.0}) == text(served, by_name)
    plan = rh.Plan((direction.add(2.0, positions="generated"),))
    assert steered.split() == served.model.generate(PROMPT, plan, max_new_tokens=8).text.split()


def test_names_are_granted_like_sites_and_others_are_not_told_of(served):
    key = served.key(directions=("formal*",))
    assert served.get("/v1/key", key).json()["steers_by"] == ["formal", "formal-2"]
    both = [FORMAL, {**FORMAL, "direction": "formal-2"}]
    answer = served.post("/v1/completions", key, prompt=PROMPT, max_tokens=2, steering=both).json()
    assert answer["rheostat"]["directions"] == ["formal", "formal-2"]
    seen = [refusal(served, key, steering={**FORMAL, "direction": name}) for name in ("hidden", "nothing")]
    assert [one[:2] for one in seen] == [(403, "not_granted")] * 2
    assert "it may steer by: formal, formal-2." in seen[0][2]
    assert seen[0][2].replace("hidden", "nothing") == seen[1][2]
    assert refusal(served, served.key(sites=("*",)), steering=FORMAL)[2].endswith("it may steer by: none.")


def test_a_direction_grants_no_site(served):
    key = served.key(directions=("*",))
    edit = {"edit": "scale", "site": FORMAL["site"], "factor": 2.0}
    vector = {"site": FORMAL["site"], "vector": [1.0] * 16}
    for more in ({"edits": [edit]}, {"steering": [FORMAL, vector]}):
        status, code, message = refusal(served, key, **more)
        assert (status, code) == (403, "not_granted") and "may not touch" in message


@pytest.mark.parametrize(
    ("steering", "code"),
    [
        ({"direction": "formal"}, "BadArgument"),  # two sites, and nothing measured to choose by
        (FORMAL | {"site": "blocks.2.resid_post"}, "SiteNotFound"),
        (FORMAL | {"site": "nowhere"}, "SiteNotFound"),
        (FORMAL | {"positions": {"index": 99}}, "PositionNotFound"),
        (FORMAL | {"positions": "later"}, "BadArgument"),
        (FORMAL | {"vector": [1.0]}, "invalid_request"),
        ({"direction": 3}, "invalid_request"),
        ({"strength": 1.0}, "invalid_request"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(served, steering, code):
    status, found, message = refusal(served, served.key(directions=("*",)), steering=steering)
    assert (status, found) == (400, code) and message


def test_with_a_floor_no_direction_is_used_and_none_is_shown(served):
    key = served.key(0.3, directions=("*",))
    assert served.get("/v1/key", key).json()["steers_by"] == []
    status, code, message = refusal(served, key, impairment=1.0, steering=FORMAL)
    assert (status, code) == (403, "not_granted") and "edits could undo an impairment" in message


def test_a_raised_floor_ends_what_a_direction_steers(served):
    key = served.key(directions=("*",))
    body = {"model": "toy", "prompt": "w5", "max_tokens": 60, "stream": True, "impairment": 1.0, "steering": FORMAL}
    heads = {"Authorization": f"Bearer {key}"}
    with httpx.stream("POST", f"{served.url}/v1/completions", json=body, headers=heads, timeout=30) as stream:
        lines = stream.iter_lines()
        next(lines)
        served.book.change(key.split("-")[1], floor=0.5)
        assert "edits could undo an impairment" in "".join(lines)
    assert served.idle()


def test_what_does_not_fit_the_network_is_refused_at_the_start(toy_model, tmp_path):
    good = planted_directions(toy_model)["blocks.0.resid_post"]
    other = rh.Direction("x", good.site, good.vector, "planted", "other", weights="0" * 64)
    nowhere = rh.Direction("x", "blocks.9.resid_post", good.vector, "planted", "toy")
    for name, wrong, words in (
        ("width", planted_directions(toy_model, width=5), "has the shape (5,)"),
        ("weights", rh.Directions.of(other), "whose weights are not those"),
        ("site", rh.Directions.of(nowhere), "blocks.9.resid_post"),
    ):
        path = tmp_path / f"{name}.safetensors"
        wrong.save(path)
        with pytest.raises(DirectionNotUsable) as refused:
            load_offered(toy_model, {"formal": path})
        assert str(refused.value).startswith(f"directions.formal ({path}): ") and words in str(refused.value)
        assert "\n" not in str(refused.value)
    with pytest.raises(FileNotUsable, match=r"none\.safetensors"):
        load_offered(toy_model, {"formal": tmp_path / "none.safetensors"})
    with pytest.raises(BadArgument, match="directions"):
        checked({"directions": {"two words": "a.safetensors"}})
