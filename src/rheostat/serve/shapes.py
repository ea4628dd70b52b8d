"""`Shape`: the form of OpenAI's answers, for completions and for chats."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rheostat.models.tokens import Tokens
from rheostat.serve.exchange import Piece


@dataclass(frozen=True)
class Shape(ABC):
    """How one answer is written down."""

    id: str
    model: str
    created: int
    logprobs: bool
    tokens: Tokens

    def whole(self, pieces: Sequence[Piece], receipt: dict[str, Any], n_prompt: int, n_written: int) -> dict[str, Any]:
        """Return the answer in one piece."""
        n_texts = 1 + max((piece.index for piece in pieces), default=-1)
        choices = [self._choice([one for one in pieces if one.index == index]) for index in range(n_texts)]
        return {
            "id": self.id,
            "object": self.name,
            "created": self.created,
            "model": self.model,
            "choices": choices,
            "usage": _usage(n_prompt, n_written),
            "rheostat": receipt,
        }

    def chunk(self, piece: Piece) -> dict[str, Any]:
        """Return one event."""
        choice = {"index": piece.index, **self._part(piece), "finish_reason": piece.finish}
        return {**self._head(), "choices": [choice]}

    def beginnings(self, n_texts: int) -> list[dict[str, Any]]:
        """Return the events before the first token."""
        return []

    def usage_chunk(self, n_prompt: int, n_written: int) -> dict[str, Any]:
        """Return the event that counts tokens."""
        return {**self._head(), "choices": [], "usage": _usage(n_prompt, n_written)}

    @property
    @abstractmethod
    def name(self) -> str:
        """The field `object` of a whole answer."""

    @property
    @abstractmethod
    def name_of_chunks(self) -> str:
        """The field `object` of an event."""

    @abstractmethod
    def _choice(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        """Return one whole text."""

    @abstractmethod
    def _part(self, piece: Piece) -> dict[str, Any]:
        """Return what an event says of its text."""

    def _head(self) -> dict[str, Any]:
        return {"id": self.id, "object": self.name_of_chunks, "created": self.created, "model": self.model}


class CompletionShape(Shape):
    """`/v1/completions`."""

    @property
    def name(self) -> str:
        """The field `object`."""
        return "text_completion"

    @property
    def name_of_chunks(self) -> str:
        """The field `object`."""
        return "text_completion"

    def _choice(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        text = "".join(piece.text for piece in pieces)
        return {
            "index": pieces[-1].index,
            "text": text,
            "logprobs": self._logprobs(pieces),
            "finish_reason": pieces[-1].finish,
        }

    def _part(self, piece: Piece) -> dict[str, Any]:
        return {"text": piece.text, "logprobs": self._logprobs([piece])}

    def _logprobs(self, pieces: Sequence[Piece]) -> dict[str, Any] | None:
        if not self.logprobs:
            return None
        seen = [(piece.token, piece.logprob) for piece in pieces if piece.token is not None]
        texts = [self.tokens.text(token) for token, _ in seen]
        offsets = [sum(map(len, texts[:place])) for place in range(len(texts))]
        chances = [_finite(chance) for _, chance in seen]
        listed = [{self.tokens.text(token): _finite(chance) for token, chance in piece.likeliest} for piece in pieces]
        likeliest = listed if any(listed) else None
        return {"tokens": texts, "token_logprobs": chances, "top_logprobs": likeliest, "text_offset": offsets}


class ChatShape(Shape):
    """`/v1/chat/completions`."""

    @property
    def name(self) -> str:
        """The field `object`."""
        return "chat.completion"

    @property
    def name_of_chunks(self) -> str:
        """The field `object`."""
        return "chat.completion.chunk"

    def beginnings(self, n_texts: int) -> list[dict[str, Any]]:
        """Say who speaks."""
        delta = {"role": "assistant", "content": ""}
        choices = [{"index": index, "delta": delta, "finish_reason": None} for index in range(n_texts)]
        return [{**self._head(), "choices": [choice]} for choice in choices]

    def _choice(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        text = "".join(piece.text for piece in pieces)
        return {
            "index": pieces[-1].index,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": self._logprobs(pieces),
            "finish_reason": pieces[-1].finish,
        }

    def _part(self, piece: Piece) -> dict[str, Any]:
        return {"delta": {"content": piece.text}, "logprobs": self._logprobs([piece])}

    def _logprobs(self, pieces: Sequence[Piece]) -> dict[str, Any] | None:
        if not self.logprobs:
            return None
        content = []
        for piece in pieces:
            if piece.token is not None:
                likeliest = [self._chance(token, chance) for token, chance in piece.likeliest]
                content.append({**self._chance(piece.token, piece.logprob), "top_logprobs": likeliest})
        return {"content": content, "refusal": None}

    def _chance(self, token: int, chance: float | None) -> dict[str, Any]:
        text = self.tokens.text(token)
        return {"token": text, "logprob": _finite(chance), "bytes": list(text.encode())}


def _finite(chance: float | None) -> float:
    """Return a log-probability that JSON can hold; of a token that cannot be, OpenAI's −9999."""
    return chance if chance is not None and math.isfinite(chance) else -9999.0


def _usage(n_prompt: int, n_written: int) -> dict[str, int]:
    return {"prompt_tokens": n_prompt, "completion_tokens": n_written, "total_tokens": n_prompt + n_written}
