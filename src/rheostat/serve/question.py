"""`Question`: a request that may be answered: tokens, plans and seeds, all checked before anything is computed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jinja2

from rheostat.base.errors import BadArgument, PromptTooLong
from rheostat.edit.plan import Plan
from rheostat.engine.forward import bind
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt, Row
from rheostat.serve.floors import check_draw, check_endpoint, check_impairment, check_no_edits, check_sites
from rheostat.serve.job import Job
from rheostat.serve.keys import Key
from rheostat.serve.plans import own_plan, served_plan
from rheostat.serve.protocol import ChatRequest, CompletionRequest, Dialled, Message, NamedSteering
from rheostat.serve.refusals import NotGranted, UnknownKey, UnknownModel
from rheostat.serve.service import Service
from rheostat.sites.site import SiteLike


@dataclass(frozen=True, eq=False)
class Changes:
    """What a request itself changes in the network, beside the impairment, and what must be granted for it."""

    plan: Plan
    sites: tuple[SiteLike, ...]
    """Of its own vectors and edits, and what a lens looks at. The server's directions need no grant of their sites."""
    directions: tuple[str, ...]
    """Names of the server's directions that it steers by."""


@dataclass(frozen=True, eq=False)
class Question:
    """What one request asks for."""

    endpoint: str
    impairment: float
    draw: int
    rows: tuple[Row, ...]
    """One per prompt."""
    plans: tuple[Plan, ...]
    """One per prompt."""
    changes: Changes
    jobs: tuple[Job, ...] = ()
    """Prompts × choices, choices next to each other; none for the lens."""
    stops: tuple[str, ...] = ()
    n_logprobs: int | None = None
    """How many of the likeliest tokens the answer tells beside the written one; None: no probabilities at all."""

    @property
    def n_tokens(self) -> int:
        """Tokens that it can take at most."""
        if not self.jobs:
            return sum(map(len, self.rows))
        return sum(len(job.ids) + job.max_new_tokens for job in self.jobs)


def completion_question(service: Service, key: Key, asked: CompletionRequest) -> Question:
    """Check a request for completions.

    Raises:
        Refusal, or another RheostatError: why it is not answered.
    """
    check_model(service.network, asked.model)
    given: Any = asked.prompt
    prompts: list[Prompt] = list(given) if isinstance(given, list) and not isinstance(given[0], int) else [given]
    rows = [service.network.row(prompt) for prompt in prompts]
    return _written(service, key, asked, "completions", rows, asked.max_tokens or 16, n_logprobs=asked.logprobs)


def chat_question(service: Service, key: Key, asked: ChatRequest) -> Question:
    """Check a request for an answer in a chat.

    Raises:
        as `completion_question`.
    """
    check_model(service.network, asked.model)
    row = service.network.row(chat_text(service.network, asked.messages))
    room = service.network.shared_context
    most = service.settings.limits.tokens if room is None else min(service.settings.limits.tokens, room - len(row))
    n = asked.max_completion_tokens or asked.max_tokens or max(1, most)
    n_logprobs = (asked.top_logprobs or 0) if asked.logprobs else None
    return _written(service, key, asked, "chat", [row], n, n_logprobs=n_logprobs)


def dialled(service: Service, key: Key, asked: Dialled, rows: Sequence[Row]) -> tuple[float, Changes, tuple[Plan, ...]]:
    """Return the impairment of a request, what it changes itself, and the plan of each row.

    Raises:
        BelowFloor, NotGranted, EditNotUsable, …
    """
    impairment = check_impairment(key, asked.impairment, default=service.settings.impairment.default)
    check_draw(key, asked.draw)
    changes = asked_changes(service, key, asked)
    plans = []
    for row in rows:
        seed = service.draws.noise(key.id, row.ids, asked.draw)
        plans.append(served_plan(changes.plan, service.dial, service.intensity(impairment), seed, row))
    return impairment, changes, tuple(plans)


def asked_changes(service: Service, key: Key, asked: Dialled) -> Changes:
    """Return what a request steers by and edits: the server's directions, then vectors and edits of its own.

    Raises:
        NotGranted, EditNotUsable, …
    """
    check_no_edits(key, len(asked.steered) + len(asked.edits))
    own = own_plan(asked)
    named = [one for one in asked.steered if isinstance(one, NamedSteering)]
    changes = Changes(own, tuple(edit.site for edit in own), tuple(one.direction for one in named))
    check_changes(service, key, changes)
    return replace(changes, plan=sum([*(service.directions.plan(one) for one in named), own], Plan()))


def check_changes(service: Service, key: Key, changes: Changes) -> None:
    """Refuse changes with a floor, and what was not granted.

    Raises:
        NotGranted
        SiteNotFound, SiteNotOffered
    """
    check_no_edits(key, len(changes.plan))
    for site in changes.sites:
        check_sites(service.network, key, site)
    service.directions.check(key, changes.directions)


def check_still(service: Service, key: Key, question: Question) -> None:
    """Refuse to go on with what a key that was changed meanwhile may not ask any more.

    Raises:
        UnknownKey, BelowFloor, NotGranted
    """
    if key.revoked:
        raise UnknownKey("the key was revoked.")
    check_endpoint(key, question.endpoint)
    check_impairment(key, question.impairment, default="none")
    check_draw(key, question.draw)
    check_changes(service, key, question.changes)
    if question.n_logprobs is not None:
        check_logits(key)
    if question.endpoint == "lens":
        check_activations(key)


def check_logits(key: Key) -> None:
    """Refuse probabilities that were not granted.

    Raises:
        NotGranted
    """
    if not key.logits:
        raise NotGranted(f"the key {key.id} may not see probabilities. Leave out logprobs.")


def check_activations(key: Key) -> None:
    """Refuse what activations decode to, where that was not granted.

    Raises:
        NotGranted
    """
    if not key.activations:
        raise NotGranted(f"the key {key.id} may not see activations, and the lens shows what they decode to.")


def check_model(network: Network, asked: str) -> None:
    """Refuse a request for another model.

    Raises:
        UnknownModel
    """
    if asked != network.name:
        raise UnknownModel(f"this server serves {network.name!r} alone.")


def chat_text(network: Network, messages: Sequence[Message]) -> str:
    """Return a chat as the model's template writes it.

    Raises:
        BadArgument: the model has no template, or its template refuses these messages.
    """
    tokenizer = network.tokenizer
    if getattr(tokenizer, "chat_template", None) is None:
        raise BadArgument(f"{network.name} has no chat template. Ask /v1/completions.")
    turns = [{"role": "system" if one.role == "developer" else one.role, "content": one.text} for one in messages]
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except jinja2.TemplateError as error:
        raise BadArgument(f"the chat template of {network.name} refuses these messages: {error}") from error


def _written(
    service: Service,
    key: Key,
    asked: CompletionRequest | ChatRequest,
    endpoint: str,
    rows: Sequence[Row],
    n_tokens: int,
    *,
    n_logprobs: int | None,
) -> Question:
    n_choices = asked.n or 1
    _check_size(service, len(rows) * n_choices, n_tokens)
    check_prompts(service, rows)
    if n_logprobs is not None:
        check_logits(key)
    impairment, changes, plans = dialled(service, key, asked, rows)
    temperature = asked.temperature or None
    jobs = []
    for row, plan in zip(rows, plans, strict=True):
        service.network.check_length(len(row), generated=n_tokens, shared=True)
        seed = service.draws.sampling(key.id, row.ids, asked.draw, asked.seed)
        for choice in range(n_choices):
            top_p = asked.top_p if temperature else None
            jobs.append(
                Job(
                    row.ids,
                    plan,
                    max_new_tokens=n_tokens,
                    temperature=temperature,
                    top_p=top_p,
                    seed=seed,
                    row_id=choice,
                    n_logprobs=n_logprobs,
                )
            )
    if changes.plan:  # what does not fit is refused before it waits for a row
        service.batcher.call(lambda: bind(service.network, rows, None, plans, generating=n_tokens > 1)).result()
    return Question(
        endpoint,
        impairment,
        asked.draw,
        tuple(rows),
        plans,
        changes,
        tuple(jobs),
        asked.stops,
        n_logprobs,
    )


def check_prompts(service: Service, rows: Sequence[Row]) -> None:
    """Refuse prompts that are longer than this server reads.

    Raises:
        PromptTooLong
    """
    most, longest = service.settings.limits.prompt_tokens, max(map(len, rows))
    if longest > most:
        raise PromptTooLong(f"the prompt has {longest} tokens; this server reads {most}.")


def _check_size(service: Service, n_texts: int, n_tokens: int) -> None:
    limits = service.settings.limits
    if n_texts > limits.texts:
        raise BadArgument(f"{n_texts} texts (prompts × n) in one request: at most {limits.texts}.")
    if n_tokens > limits.tokens:
        raise BadArgument(f"{n_tokens} tokens to write: at most {limits.tokens}.")
