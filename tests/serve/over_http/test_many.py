"""Many requests: a thousand of the same say what one says, and 32 clients at once get what each gets alone."""

import asyncio
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from rheostat.edit.plan import Plan
from rheostat.serve.job import Job
from rheostat.serve.plans import served_plan
from tests.serve.test_real_models import CLOSE_CALL, gap

N_SAME = 1000
LEVEL, N_DRAWS = 0.15, 31
PROMPTS = [f"w{5 + n} w{9 + 3 * n % 40} w{12 + 7 * n % 30} w{50 - n}" for n in range(32)]


def tokens(answer: httpx.Response) -> list[str]:
    """Return the first token of each text of an answer, and see that it is one."""
    assert answer.status_code == 200, answer.text
    return [choice["logprobs"]["tokens"][0] for choice in answer.json()["choices"]]


@pytest.mark.slow
def test_a_thousand_identical_requests_recover_no_more_than_one_does(served):
    """What an average gains is nothing: all are one answer, and one distribution but for float noise."""
    asked = {"model": "toy", "prompt": PROMPTS[0], "max_tokens": 1, "logprobs": 0, "impairment": LEVEL}
    heads = {"Authorization": f"Bearer {served.key(LEVEL, logits=True, draws=2, concurrency=N_SAME)}"}

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(served.server.config.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://toy", headers=heads, timeout=60) as client:
            at_once = asyncio.Semaphore(32)

            async def one(number: int) -> httpx.Response:
                async with at_once:  # what the noise must not depend on differs
                    body = {**asked, "draw": number % 2, "seed": number, "user": str(number)}
                    return await client.post("/v1/completions", json=body)

            return await asyncio.gather(*map(one, range(N_SAME)))

    answers = asyncio.run(ask())
    for draw in (0, 1):
        own = answers[draw::2]
        assert len({one for answer in own for one in tokens(answer)}) == 1
        chances = [answer.json()["choices"][0]["logprobs"]["token_logprobs"][0] for answer in own]
        assert max(chances) - min(chances) < 1e-4
    assert len({answers[draw].json()["choices"][0]["logprobs"]["token_logprobs"][0] for draw in (0, 1)}) == 2


@pytest.mark.slow
def test_a_vote_over_independent_draws_would_recover_more(served):
    """The control: noise that repeating drew anew would be averaged away."""
    key = served.key(logits=True, draws=N_DRAWS)

    def ask(**body) -> list[str]:
        return tokens(served.post("/v1/completions", key, prompt=PROMPTS[:16], max_tokens=1, logprobs=0, **body))

    plain = ask()
    drawn = [ask(impairment=LEVEL, draw=draw) for draw in range(N_DRAWS)]
    voted = [Counter(one).most_common(1)[0][0] for one in zip(*drawn, strict=True)]
    alone = sum(a == b for one in drawn for a, b in zip(plain, one, strict=True)) / N_DRAWS
    together = sum(a == b for a, b in zip(plain, voted, strict=True))
    assert together >= alone + 1


@pytest.mark.slow  # the same with the built-in models: tests/serve/test_real_models.py
def test_32_clients_with_32_impairments_each_get_what_they_get_alone(serving):
    with serving(limits={"rows": 32}) as own:
        clients = [own.client() for _ in range(32)]

        def ask(number: int) -> str:
            level = {"impairment": number / 64}
            asked = {"model": "toy", "prompt": PROMPTS[number % 4], "max_tokens": 12}
            return clients[number].completions.create(**asked, extra_body=level).choices[0].text

        alone = [ask(number) for number in range(32)]
        held = threading.Event()
        own.service.batcher.call(lambda: held.wait(60))
        before = own.service.batcher.figures.steps
        with ThreadPoolExecutor(32) as pool:
            coming = [pool.submit(ask, number) for number in range(32)]
            while own.service.batcher.figures.waiting < 32 and not any(one.done() for one in coming):
                pass
            held.set()
            together = [one.result() for one in coming]
        assert own.service.batcher.figures.steps - before < 24  # one batch: some eleven steps, not 352
        assert len(set(alone)) > 16
        for number, (one, other) in enumerate(zip(alone, together, strict=True)):
            assert one == other or gap(own.model, *_job(own, clients[number], number, one, other)) <= CLOSE_CALL


def _job(own, client, number: int, *texts: str):
    """Return the job that a client asked for, and the tokens of two texts of it."""
    row = own.model.row(PROMPTS[number % 4])
    seed = own.service.draws.noise(client.api_key.split("-")[1], row.ids, 0)
    plan = served_plan(Plan(), own.service.dial, own.service.intensity(number / 64), seed, row)
    return Job(row.ids, plan), *(tuple(own.model.tokens.spell(text)) for text in texts)
