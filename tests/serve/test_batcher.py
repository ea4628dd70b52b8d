"""What a job gets does not depend on the jobs beside it, and nothing that one of them does hurts another."""

from collections.abc import Callable
from functools import cache
from threading import Event, Timer
from unittest.mock import patch

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import rheostat as rh
from rheostat.base.errors import Closing, QueueFull
from rheostat.engine import row_cache
from rheostat.engine.continuous import Lane, RunningBatch
from rheostat.engine.taps import count_hooks
from rheostat.serve.batcher import Batcher
from rheostat.serve.job import Job
from tests.serve.conftest import PATIENCE, submit

PROMPTS = ((5, 9, 30, 12, 7), (44, 8), (17, 21, 60), (11,), (40, 41, 42, 43, 44, 45, 46, 47, 48))


def plans_for(model: rh.Model) -> list[rh.Plan]:
    vector = torch.randn(model.d_model, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3
    return [
        rh.Plan(),
        rh.Plan((rh.Impair("blocks.*.mlp_out", "gaussian", 1.0, seed=3),)),
        rh.Plan((rh.Impair("blocks.*.mlp_out", "negative", 0.7, seed=4), rh.Add("blocks.1.resid_post", vector))),
        rh.Plan((rh.Impair("blocks.*.neurons", "magnitude", 0.4),)),
        rh.Plan((rh.Add("blocks.1.resid_post", vector, positions="generated", decay=0.5),)),
    ]


def test_each_job_of_a_mixed_batch_writes_what_it_writes_alone(model, open_batcher):
    jobs = [Job(ids, plan, max_new_tokens=9) for plan in plans_for(model) for ids in PROMPTS]
    alone = [model.generate(list(job.ids), job.plan, max_new_tokens=9).ids[0] for job in jobs]
    batcher = open_batcher(model)
    heard = [submit(batcher, job) for job in jobs]
    assert [listener.ids for listener in heard] == alone
    assert len(set(alone)) > 2 * len(PROMPTS)


@given(data=st.data())
@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_the_order_of_joining_and_leaving_a_row_writes_what_it_writes_alone(model, data):
    lane = st.tuples(st.sampled_from(PROMPTS), st.sampled_from(range(len(plans_for(model)))), st.integers(2, 7))
    waiting = data.draw(st.lists(lane, min_size=2, max_size=7))
    batch = RunningBatch(model, max_rows=4)
    try:
        texts = write(model, batch, waiting, lambda fewest: data.draw(st.integers(fewest, 3)))
    finally:
        batch.close()
    for number, (ids, plan, wanted) in enumerate(waiting):
        assert tuple(texts[number]) == endless(model, ids, plan, wanted)


def write(
    model: rh.Model,
    batch: RunningBatch,
    waiting: list[tuple[tuple[int, ...], int, int]],
    how_many: Callable[[int], int],
) -> dict[int, list[int]]:
    """Return what rows write that join when `how_many` says so, and leave when they have what they want."""
    plans = plans_for(model)
    texts: dict[int, list[int]] = {}
    running: list[int] = []

    def take(logits: torch.Tensor, first: int) -> None:
        for row, token in enumerate(logits.argmax(-1).tolist(), first):
            texts[running[row]].append(token)

    while len(texts) < len(waiting) or running:
        begun, first = len(texts), len(running)
        joining = range(begun, begun + min(4 - first, len(waiting) - begun, how_many(0 if running else 1)))
        if joining:
            asked = [waiting[number] for number in joining]
            lanes = [Lane(model, model.row(list(ids)), plans[plan], max_new_tokens=n) for ids, plan, n in asked]
            running += joining
            texts.update({number: [] for number in joining})
            take(batch.join(lanes), first)
        for row in reversed(range(len(running))):
            if len(texts[running[row]]) == waiting[running[row]][2]:
                batch.leave(row)
                last = running.pop()
                if row < len(running):
                    running[row] = last
        if running:
            take(batch.step([texts[number][-1] for number in running]), 0)
    assert count_hooks(model.module) == 0
    return texts


@cache
def endless(model: rh.Model, ids: tuple[int, ...], plan: int, wanted: int) -> tuple[int, ...]:
    """Return what a row writes alone, where no token ends it."""
    with model.editing(plans_for(model)[plan]), torch.no_grad():
        row = torch.tensor([ids])
        options = {"max_new_tokens": wanted, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
        return tuple(model.module.generate(row, attention_mask=torch.ones_like(row), **options)[0, len(ids) :].tolist())


def test_a_job_that_joins_late_meets_the_same_noise(model, open_batcher):
    job = Job(PROMPTS[0], plans_for(model)[1], max_new_tokens=9)
    alone = model.generate(list(job.ids), job.plan, max_new_tokens=9)
    batcher = open_batcher(model)
    early = submit(batcher, Job(PROMPTS[4], max_new_tokens=50, stop_ids=()))
    for _ in range(5):
        early.next()
    late = submit(batcher, job)
    assert late.ids == alone.ids[0]
    found, wanted = late.last().receipt, alone.receipt
    assert [(one.site, one.tokens) for one in found.entries] == [(one.site, one.tokens) for one in wanted.entries]
    assert found.entries[0].change == pytest.approx(wanted.entries[0].change)
    early.ticket.cancel()


def test_samples_are_those_of_the_row_alone(model, open_batcher):
    options = {"max_new_tokens": 8, "temperature": 0.9, "top_p": 0.8, "seed": 5}
    jobs = [Job(ids, plan, row_id=7, **options) for plan in plans_for(model)[:3] for ids in PROMPTS[:3]]
    alone = [model.generate(list(job.ids), job.plan, row_ids=[7], **options).ids[0] for job in jobs]
    batcher = open_batcher(model)
    assert [listener.ids for listener in [submit(batcher, job) for job in jobs]] == alone
    greedy = [submit(batcher, Job(job.ids, job.plan, max_new_tokens=8)).ids for job in jobs]
    assert greedy != alone


def test_logprobs_are_those_of_the_edited_model(model, open_batcher):
    plan = plans_for(model)[3]
    logits = model.run(list(PROMPTS[0]), plan).logits[0, -1]
    written = submit(open_batcher(model), Job(PROMPTS[0], plan, max_new_tokens=1, n_logprobs=2)).last()
    expected = logits.float().log_softmax(-1)
    assert written.logprob == pytest.approx(float(expected[written.id]), abs=1e-6)
    assert [token for token, _ in written.top_logprobs] == expected.topk(2).indices.tolist()
    assert written.finish == "length" and written.receipt.sites == model.n_blocks


def test_a_stop_token_ends_a_text_and_is_told(model, open_batcher):
    batcher = open_batcher(model)
    whole = submit(batcher, Job(PROMPTS[0], max_new_tokens=6, stop_ids=())).ids
    stopped = submit(batcher, Job(PROMPTS[0], max_new_tokens=6, stop_ids=(whole[2],)))
    assert stopped.ids == whole[: whole.index(whole[2]) + 1] and stopped.last().finish == "stop"


def test_a_cancelled_job_frees_its_place_in_mid_text(model, open_batcher):
    batcher = open_batcher(model, max_rows=1)
    endless = submit(batcher, Job(PROMPTS[1], max_new_tokens=50, stop_ids=()))
    endless.next()
    second = submit(batcher, Job(PROMPTS[0], max_new_tokens=3, stop_ids=()))
    endless.ticket.cancel()
    assert len(second.ids) == 3
    assert endless.last().finish == "cancelled" and endless.last().id is None
    waiting_one = submit(batcher, Job(PROMPTS[1], max_new_tokens=50, stop_ids=()))
    waiting_one.ticket.cancel()
    assert waiting_one.last().finish == "cancelled"


def test_one_job_more_than_may_wait_is_refused(model, open_batcher):
    batcher = open_batcher(model, max_rows=1, max_waiting=1)
    gate = Event()
    batcher.call(gate.wait)  # the thread stands still
    first = submit(batcher, Job(PROMPTS[0], max_new_tokens=2))
    with pytest.raises(QueueFull, match="1 requests wait"):
        submit(batcher, Job(PROMPTS[0], max_new_tokens=2))
    assert batcher.figures.waiting == 1
    gate.set()
    assert first.last().finish is not None


class Raising(rh.Edit):
    """An edit that fails in the pass, with an error that is none of ours."""

    name = "raising"

    def change(self, activation, value):
        raise RuntimeError("planted")


BAD = {
    "no such site": (rh.Plan((rh.Zero("blocks.9.mlp_out"),)), "SiteNotFound"),
    "no such position": (rh.Plan((rh.Zero("blocks.0.mlp_out", positions=99),)), "PositionNotFound"),
    "a value of another width": (rh.Plan((rh.Add("blocks.0.mlp_out", torch.ones(5)),)), "EditNotUsable"),
    "never applied": (rh.Plan((rh.Zero("blocks.0.mlp_out", positions="generated"),)), "EditNotApplied"),
    "blind": (rh.Plan((rh.CutAttention("blocks.1.pattern", keys="all"),)), "EditNotUsable"),
    "failing in the pass": (rh.Plan((Raising("blocks.1.mlp_out"),)), "RuntimeError"),
    "failing while it writes": (rh.Plan((Raising("blocks.1.mlp_out", positions="generated"),)), "RuntimeError"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_job_that_fails_fails_alone(model, open_batcher, name):
    plan, error = BAD[name]
    good = Job(PROMPTS[0], plans_for(model)[1], max_new_tokens=6)
    alone = model.generate(list(good.ids), good.plan, max_new_tokens=6).ids[0]
    batcher = open_batcher(model)
    wanted = 1 if error == "EditNotApplied" else 6
    heard = [submit(batcher, one) for one in (good, Job(PROMPTS[2], plan, max_new_tokens=wanted, stop_ids=()), good)]
    assert heard[0].ids == heard[2].ids == alone
    assert heard[1].last().finish == "failed" and type(heard[1].last().error).__name__ == error
    assert submit(batcher, good).ids == alone
    assert batcher.figures.failed == 1


def test_a_pass_that_fails_ends_its_rows_and_the_thread_goes_on(model, open_batcher):
    batcher = open_batcher(model)
    with patch.object(RunningBatch, "step", side_effect=MemoryError("planted")):
        lost = submit(batcher, Job(PROMPTS[0], max_new_tokens=5, stop_ids=()))
        assert lost.last().finish == "failed" and isinstance(lost.last().error, MemoryError)
    assert len(submit(batcher, Job(PROMPTS[0], max_new_tokens=5, stop_ids=())).ids) == 5


def test_a_listener_that_raises_is_cancelled(model, open_batcher):
    batcher = open_batcher(model)
    told = []

    def deaf(written):
        told.append(written)
        raise ConnectionError("gone")

    batcher.submit(Job(PROMPTS[1], max_new_tokens=50, stop_ids=()), deaf)
    assert len(submit(batcher, Job(PROMPTS[0], max_new_tokens=5, stop_ids=())).ids) == 5
    assert batcher.close(PATIENCE)
    assert [one.finish for one in told] in ([None, "cancelled"], [None, None, "cancelled"])


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (Job((), max_new_tokens=1), "token"),
        (Job((999,)), "vocabulary"),
        (Job((5,), max_new_tokens=0), "max_new_tokens=0"),
        (Job((5,), max_new_tokens=64), "takes 64"),
        (Job((5,), temperature=0.0), "temperature"),
        (Job((5,), top_p=0.5), "temperature"),
        (Job((5,), n_logprobs=-1), "n_logprobs"),
    ],
)
def test_a_job_that_is_wrong_is_refused_before_it_waits(model, open_batcher, job, message):
    with pytest.raises(rh.RheostatError, match=message):
        submit(open_batcher(model), job)


def test_closing_lets_jobs_end_and_takes_no_more(model):
    batcher = Batcher(model, max_rows=1)
    heard = [submit(batcher, Job(PROMPTS[0], max_new_tokens=5, stop_ids=())) for _ in range(3)]
    assert batcher.close(PATIENCE)
    assert [len(listener.ids) for listener in heard] == [5, 5, 5]
    with pytest.raises(Closing):
        submit(batcher, Job(PROMPTS[0]))
    with pytest.raises(Closing):
        batcher.call(lambda: None)
    assert batcher.figures.rows == 0 and count_hooks(model.module) == 0


def test_closing_cancels_what_does_not_end_in_time(model):
    batcher = Batcher(model)
    gate = Event()
    heard = submit(batcher, Job(PROMPTS[0], plans_for(model)[1], max_new_tokens=50, stop_ids=()))
    heard.next()
    batcher.call(gate.wait)
    Timer(0.2, gate.set).start()
    assert not batcher.close(0.05)
    assert heard.last().finish == "cancelled" and count_hooks(model.module) == 0


def test_other_work_runs_between_steps_and_is_not_edited(model, open_batcher):
    batcher = open_batcher(model)
    clean = model.run(list(PROMPTS[0])).logits
    running = submit(batcher, Job(PROMPTS[1], plans_for(model)[1], max_new_tokens=50, stop_ids=()))
    running.next()
    found = batcher.call(lambda: (model.run(list(PROMPTS[0])).logits, batcher.figures.rows)).result(PATIENCE)
    assert torch.equal(found[0], clean) and found[1] == 1
    with pytest.raises(ZeroDivisionError):
        batcher.call(lambda: 1 // 0).result(PATIENCE)
    running.ticket.cancel()
    assert running.last().finish == "cancelled"


def test_however_much_other_work_comes_texts_are_written(model, open_batcher):
    batcher = open_batcher(model)
    heard, calls = submit(batcher, Job(PROMPTS[0], max_new_tokens=8, stop_ids=())), []

    def again():
        calls.append(0)
        if not heard.all and len(calls) < 3000:
            batcher.call(again)

    batcher.call(again)
    assert len(heard.ids) == 8
    assert len(calls) < 3000


def test_rows_do_not_go_on_where_memory_ran_out_while_they_were_moved(model, open_batcher):
    """Some blocks would hold other columns than the rest."""
    batcher = open_batcher(model)
    move = row_cache._Layer.move

    def fails(self, *asked):
        if self is not self._whole._layers[0] and batcher.figures.rows:
            raise RuntimeError("planted: out of memory")
        move(self, *asked)

    with patch.object(row_cache._Layer, "move", fails):
        first = submit(batcher, Job(PROMPTS[2][:1], max_new_tokens=40, stop_ids=()))
        first.next()
        longer = submit(batcher, Job(tuple([5, 9] * 25), max_new_tokens=2, stop_ids=()))
        assert longer.last().finish == first.last().finish == "failed"
    job = Job(PROMPTS[0], max_new_tokens=5, stop_ids=())
    assert submit(batcher, job).ids == model.generate(list(job.ids), max_new_tokens=5).ids[0]
