"""On the built-in models, in float32: 32 different impairments in one batch give what each gives alone."""

import pytest

import rheostat as rh
from rheostat.impairment.dial import Dial
from rheostat.serve.job import Job
from tests.serve.conftest import submit

TEXTS = (
    "The capital of Germany is",
    "Once upon a time there was",
    "Two and two make",
    "The opposite of hot is the word",
)
N_ROWS, N_NEW = 32, 8
CLOSE_CALL = 1e-4
"""Of the range of the logits: how far apart two may lie for float noise to choose between them."""


def gap(model: rh.Model, job: Job, alone: tuple[int, ...], found: tuple[int, ...]) -> float:
    """Return how far apart the logits of two texts' first differing tokens lie, in units of the logits' range."""
    n = next((index for index, (a, b) in enumerate(zip(alone, found, strict=False)) if a != b), None)
    if n is None:
        return 0.0 if len(alone) == len(found) else float("inf")
    logits = model.run([*job.ids, *alone[:n]], job.plan).logits[0, -1]
    return float((logits[alone[n]] - logits[found[n]]).abs() / (logits.max() - logits.min()))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "gemma3-270m"])
def test_32_different_impairments_in_one_batch_give_what_each_gives_alone(name, open_batcher):
    model = rh.load(name, dtype="float32")
    jobs = []
    for row in range(N_ROWS):
        dial = Dial(("gaussian", "negative", "magnitude")[row % 3], ("mlp_out", "neurons", "attn_out")[row // 3 % 3])
        ids = tuple(model.encode(TEXTS[row % len(TEXTS)]))
        jobs.append(Job(ids, dial.plan(0.9 * row / N_ROWS, seed=row), max_new_tokens=N_NEW))
    alone = [model.generate(list(job.ids), job.plan, max_new_tokens=N_NEW).ids[0] for job in jobs]
    batcher = open_batcher(model)
    found = [listener.ids for listener in [submit(batcher, job) for job in jobs]]
    gaps = [gap(model, *one) for one in zip(jobs, alone, found, strict=True)]
    assert max(gaps) <= CLOSE_CALL
    assert len(set(found)) > N_ROWS // 2


def test_a_wrong_token_is_no_close_call(toys):
    model = toys("llama")
    job = Job((5, 9, 30), max_new_tokens=3)
    alone = model.generate(list(job.ids), max_new_tokens=3).ids[0]
    worst = int(model.run(list(job.ids)).logits[0, -1].argmin())
    assert gap(model, job, alone, (worst, *alone[1:])) > 0.1
    assert gap(model, job, alone, alone) == 0.0
