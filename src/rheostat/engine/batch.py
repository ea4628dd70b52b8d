"""Prompts as one padded batch whose attention mask and position ids are always built here and always passed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from rheostat.base.errors import BadArgument, EmptyPrompt
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt, Row

PaddingSide = Literal["left", "right"]


@dataclass(frozen=True)
class Batch:
    """Rows of tokens, padded to one length."""

    rows: tuple[Row, ...]
    input_ids: Int[Tensor, "batch column"]
    attention_mask: Int[Tensor, "batch column"]
    starts: tuple[int, ...]
    """Per row, the column of its first token."""

    @property
    def n_columns(self) -> int:
        """Length of the longest row."""
        return self.input_ids.shape[1]

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens per row."""
        return tuple(len(row) for row in self.rows)

    def arguments(self, network: Network) -> dict[str, Any]:
        """Return the arguments of a forward pass over the whole batch."""
        arguments: dict[str, Any] = {"input_ids": self.input_ids, "attention_mask": self.attention_mask}
        if "position_ids" in network.parameters_of_forward:
            arguments["position_ids"] = (self.attention_mask.cumsum(-1) - 1).clamp(min=0)
        return arguments


def as_prompts(prompts: "Prompt | Sequence[Prompt]", network: Network | None = None) -> list[Prompt]:
    """Return a list of prompts from one or several; a list of integers is one prompt, in tokens.

    Args:
        prompts: one or several texts or lists of token ids.
        network: whose they are, so that pads in a tensor of token ids are noticed.

    Raises:
        EmptyPrompt: there is none.
        BadArgument: something in it is no prompt, or a tensor of token ids is padded.
    """
    if isinstance(prompts, str):
        return [prompts]
    listed = _as_list(prompts)
    if network is not None and getattr(prompts, "ndim", None) == 2:
        _refuse_pads(listed, network)
    if not listed:
        raise EmptyPrompt("there is no prompt. Give a text or a list of texts.")
    if all(isinstance(one, int) for one in listed):
        return [listed]
    return [one if isinstance(one, str) else _token_ids(one) for one in listed]


def _refuse_pads(rows: Sequence[Sequence[int]], network: Network) -> None:
    """Refuse a tensor of token ids in which some rows begin or end with pads and others do not.

    Nothing beside it says which tokens are pads, and all would be read as the prompts' own.
    """
    knows = network.tokenizer if network.tokenizer is not None else getattr(network.module, "config", None)
    pad = getattr(knows, "pad_token_id", None)
    for end in (0, -1):
        padded = [number for number, row in enumerate(rows) if row and row[end] == pad]
        if padded and len(padded) < len(rows):
            raise BadArgument(
                f"row {padded[0]} of the token ids {'ends' if end else 'begins'} with the pad token {pad}, which would "
                "be read as part of the prompt. Give texts, or lists of token ids without pads; if these are none: "
                "ids.tolist()."
            )


def _token_ids(prompt: object) -> list[int]:
    ids = _as_list(prompt)
    if not all(isinstance(one, int) for one in ids):
        raise BadArgument(f"{_shortened(prompt)} is no prompt. A prompt is a text or a list of token ids.")
    return ids


def _as_list(prompts: object) -> list[Any]:
    """Return the elements of a list, tuple, tensor or array."""
    if hasattr(prompts, "tolist"):  # a tensor or an array
        prompts = prompts.tolist()
    if isinstance(prompts, Mapping):
        raise BadArgument("this is a tokenizer's encoding. Give its texts, or one list of token ids per prompt.")
    if not isinstance(prompts, Iterable):
        raise BadArgument(f"{_shortened(prompts)} is no prompt. Give a text, token ids, or a list of either.")
    return list(prompts)


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"


def build_batch(network: Network, rows: Sequence[Row], *, padding_side: PaddingSide = "left") -> Batch:
    """Pad rows to one length on the model's device.

    Raises:
        BadArgument: the network is a plain module, or has no way to pad without NaN.
        PromptTooLong: rows of different length that would change each other's positions.
    """
    if padding_side not in ("left", "right"):
        raise BadArgument(f"padding_side={padding_side!r}: one of 'left', 'right'.")
    if network.anatomy is None:
        raise BadArgument(
            f"{network.name} was loaded as a plain module, which takes no prompts: use run_plain(inputs)."
        )
    n_columns = max(len(row) for row in rows)
    network.check_together([len(row) for row in rows])
    if any(len(row) < n_columns for row in rows):
        _refuse_nan_padding(network)
    pad = _pad_token(network)
    ids, mask, starts = [], [], []
    for row in rows:
        missing = n_columns - len(row)
        before = missing if padding_side == "left" else 0
        after = missing - before
        ids.append([pad] * before + list(row.ids) + [pad] * after)
        mask.append([0] * before + [1] * len(row) + [0] * after)
        starts.append(before)
    return Batch(
        rows=tuple(rows),
        input_ids=torch.tensor(ids, device=network.device),
        attention_mask=torch.tensor(mask, device=network.device),
        starts=tuple(starts),
    )


def _refuse_nan_padding(network: Network) -> None:
    """Refuse padding where it would turn every shorter row into NaN.

    Eager attention masks with the lowest float64, which its float32 softmax reads as minus infinity.
    """
    eager = network.attention == "eager"
    if network.dtype == torch.float64 and eager and not network.body.own_dtype_softmax:
        raise BadArgument(
            f"{network.name} in float64 with eager attention gives NaN for padded rows (its softmax runs in float32). "
            "Give prompts of one length, load it in float32, or with attention='sdpa' where the family has it."
        )


def _pad_token(network: Network) -> int:
    config = getattr(network.module, "config", None)
    for name in ("pad_token_id", "eos_token_id", "bos_token_id"):
        token = getattr(config, name, None)
        if isinstance(token, list):
            token = token[0]
        if isinstance(token, int) and token >= 0:
            return token
    return 0
