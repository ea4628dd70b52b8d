"""`Job`: one text to be written under a plan, and `Written`: what comes back, token by token."""

from dataclasses import dataclass, field
from typing import Literal

from rheostat.edit.plan import Plan
from rheostat.engine.receipt import Receipt

Finish = Literal["stop", "length", "cancelled", "failed"]
"""A stop token was written; as many tokens as were asked for; the ticket was cancelled; it could not go on."""


@dataclass(frozen=True)
class Job:
    """One text to be written."""

    ids: tuple[int, ...]
    """The prompt's tokens, special tokens included."""
    plan: Plan = field(default_factory=Plan)
    max_new_tokens: int = field(default=20, kw_only=True)
    temperature: float | None = field(default=None, kw_only=True)
    """None for greedy decoding; otherwise sampling as in `generate`, keyed by (seed, row id, step)."""
    top_p: float | None = field(default=None, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    row_id: int = field(default=0, kw_only=True)
    stop_ids: tuple[int, ...] | None = field(default=None, kw_only=True)
    """Tokens that end the text; None: those of the model."""
    n_logprobs: int | None = field(default=None, kw_only=True)
    """Of how many of the likeliest tokens log-probabilities are told; 0: of the written one only; None: of none."""
    text: str | None = field(default=None, kw_only=True)
    """The prompt as text, where the plan names substrings of it; its tokens must be `ids`."""


@dataclass(frozen=True)
class Written:
    """One token, or the end of a text."""

    id: int | None
    """The token; None where the text ended without one: cancelled or failed."""
    logprob: float | None = None
    """Natural logarithm of its probability, edits included, before temperature and top_p."""
    top_logprobs: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens with theirs, likeliest first."""
    finish: Finish | None = None
    """Why this is the last one; None: others follow."""
    receipt: Receipt | None = None
    """With the last one: what the plan's edits did."""
    error: Exception | None = None
    """With `failed`: why."""
