"""Facts that a model knows: the answer must be begun by the model's own first choice."""

import pytest

import rheostat as rh
from rheostat.studies.known_facts import begins, known_facts


@pytest.mark.parametrize(
    ("token", "answer", "expected"),
    [
        (" Berlin", " Berlin", True),
        (" New", " New York", True),
        (" N", " New York", False),
        (" Berlin", " Bern", False),
        ("Berlin", " Berlin", False),
        (" O", " O", True),
    ],
)
def test_a_token_begins_an_answer_only_when_it_is_unmistakable(token: str, answer: str, expected: bool) -> None:
    assert begins(token, answer) is expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "gemma3-270m"])
def test_both_built_in_models_know_enough_facts_with_their_subjects_in_place(name: str) -> None:
    model = rh.load(name)
    known = known_facts(model)
    assert len(known) >= 100
    for one in known:
        spelled = model.decode([one.tokens[position] for position in one.subject])
        assert one.fact.subject in spelled
        assert one.subject[-1] < len(one.tokens) - 1
    assert sum(len(one.subject) > 1 for one in known) >= 20
    assert len(known_facts(model, 30)) == 30
