"""What a job gets does not depend on the jobs beside it, and nothing that one of them does hurts another."""

import torch

import rheostat as rh
from rheostat.serve.job import Job
from tests.serve.conftest import submit

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
