"""A mixed batch in the server's loop, every row under an impairment of its own, against the same rows unimpaired."""

from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from itertools import count

from bench.outcome import Check, Outcome, compare
from bench.prompt import prompt_of
from rheostat.edit.plan import Plan
from rheostat.engine.module_generate import inputs_of, module_generate
from rheostat.engine.turns import take_turns
from rheostat.impairment.dial import Dial
from rheostat.model import Model
from rheostat.serve.batcher import Batcher
from rheostat.serve.job import Job, Written

N_ROWS, N_PROMPT, N_NEW, TURNS = 32, 20, 32, 5
TARGET = 0.85
MODES = ("gaussian", "negative", "magnitude")
KIND = "mlp_out"
CLOSE_CALL = 1e-3
"""How far apart two logits may lie for float noise to choose between them."""


def run(model: Model, *, quick: bool) -> list[Outcome]:
    """Compare batches; `quick` writes fewer tokens for fewer rows."""
    n_rows, n_new, turns = (4, 8, 1) if quick else (N_ROWS, N_NEW, TURNS)
    prompt = prompt_of(model, N_PROMPT)
    ids = tuple(model.row(prompt).ids)
    several = inputs_of(model, prompt, n_rows=n_rows)
    draws = count()
    ways = {
        "mixed": lambda: ours(model, ids, mixed(n_rows, next(draws)), n_new),
        "unimpaired": lambda: ours(model, ids, [Plan()] * n_rows, n_new),
        "one": lambda: ours(model, ids, mixed(2, next(draws))[1:], n_new),
        "one_unimpaired": lambda: ours(model, ids, [Plan()], n_new),
        "generate": partial(module_generate, model, several, n_new),
        "again": lambda: ours(model, ids, [Plan()] * n_rows, n_new),
    }
    results, times = take_turns(ways, turns=turns, device=model.device)
    plans = mixed(n_rows, 0)
    together = ours(model, ids, plans, n_new)
    unlike = sum(not same(model, ids, plan, found) for plan, found in zip(plans, together, strict=True))
    checks = (
        Check("rows that write otherwise than alone, beyond float noise", float(unlike), 0),
        Check(
            "rows unlike generate's, unimpaired",
            float(sum(not same(model, ids, Plan(), x) for x in results["again"])),
            0,
        ),
        Check(
            "impaired rows that changed no token",
            float(sum(x == results["again"][0] for x in together[1:]) == n_rows - 1),
            0,
        ),
    )
    case = f"{n_rows} rows, {n_new} tokens"
    described = {
        "mixed": f"the server's batcher, {n_rows} impairments at every {KIND}, noise drawn anew",
        "unimpaired": "the same batcher without plans",
        "again": "the same batcher without plans, a second time",
        "one": "the batcher, one impaired row",
        "one_unimpaired": "the batcher, one row without a plan",
        "generate": f"module.generate of {n_rows} rows",
    }

    def against(way: str, other: str, what: str, target: float | None = None) -> Outcome:
        return compare(
            "serving", f"{case}, {what}", ours=(described[way], times[way]), plain=(described[other], times[other]),
            checks=checks, target=target,
        )  # fmt: skip

    return [
        against("mixed", "unimpaired", "mixed against unimpaired", TARGET),
        against("one", "one_unimpaired", "one impaired row against one plain", 1 / 1.03),
        against("unimpaired", "generate", "unimpaired against generate"),
        against("mixed", "generate", "mixed against generate of plain rows"),
        against("again", "unimpaired", "control"),
    ]


def mixed(n_rows: int, draw: int) -> list[Plan]:
    """Return as many different plans; the first impairs nothing, the others differ in mode, intensity and seed."""
    dials = [Dial(mode, KIND) for mode in MODES]
    return [
        dials[row % len(dials)].plan(0.6 * row / n_rows, seed=row, draw=draw) if row else Plan()
        for row in range(n_rows)
    ]


def ours(model: Model, ids: tuple[int, ...], plans: Sequence[Plan], n_new: int) -> list[list[int]]:
    """Write one text per plan in a batcher; return their tokens."""
    batcher = Batcher(model, max_rows=len(plans), max_waiting=len(plans))
    texts: list[list[int]] = [[] for _ in plans]
    ends: list[Future[Written]] = [Future() for _ in plans]

    def hear(row: int, written: Written) -> None:
        if written.id is not None:
            texts[row].append(written.id)
        if written.finish is not None:
            ends[row].set_result(written)

    for row, plan in enumerate(plans):
        batcher.submit(Job(ids, plan, max_new_tokens=n_new), partial(hear, row))
    failed = [end.result().error for end in ends if end.result().error is not None]
    batcher.close()
    if failed:
        raise failed[0]
    return texts


def same(model: Model, ids: tuple[int, ...], plan: Plan, found: list[int]) -> bool:
    """Tell whether a text is what the plan alone writes, up to a choice between two logits that are nearly equal."""
    alone = list(model.generate(list(ids), plan, max_new_tokens=len(found)).ids[0])
    if alone == found:
        return True
    n = next(index for index, (a, b) in enumerate(zip(alone, found, strict=False)) if a != b)
    logits = model.run([*ids, *alone[:n]], plan).logits[0, -1]
    return bool((logits[alone[n]] - logits[found[n]]).abs() <= CLOSE_CALL * (logits.max() - logits.min()))
