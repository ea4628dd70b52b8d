"""`Clock`: during each forward pass, which token of which row every column is.

A call may carry a whole prompt, a chunk of it, or one new token per row, with or without a cache, with rows multiplied
by beams. So nothing counts calls: each pass is read from its own mask, position ids and cache.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from rheostat.base.errors import EditNotUsable, InternalError


class Clock:
    """The logical position of every token in the pass under way.

    Args:
        prompt_lengths: tokens per row of the prompt; None: learned at each pass that starts without a cache.
        stop_ids: a row has ended once the model was fed one of these after its prompt.
    """

    def __init__(self, prompt_lengths: Sequence[int] | None = None, stop_ids: Sequence[int] = ()) -> None:
        self._given = None if prompt_lengths is None else torch.tensor(prompt_lengths)
        self._stop_ids = torch.tensor(stop_ids) if stop_ids else None
        self._ended: Tensor | None = None
        self.lengths: Tensor | None = self._given
        self.positions: Tensor = torch.empty(0)
        """(row, column): the token's index in its own row."""
        self.valid: Tensor = torch.empty(0)
        """(row, column): whether the token belongs to the row, rather than padding it."""
        self.all_valid = True
        self.passes = 0
        self._seen: tuple[Tensor, Tensor] | None = None
        self._rows: dict[int, Tensor] = {}

    def read(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Take the positions from the arguments of a forward pass; a pre-hook of the whole module."""
        tokens = _first(args, kwargs, ("input_ids", "inputs_embeds"))
        batch, columns = tokens.shape[:2]
        past = _past_length(kwargs.get("past_key_values"))
        positions, valid = _positions(kwargs, batch, columns, past, tokens.device)
        self.positions, self.valid = positions, valid
        self._rows.clear()
        self._seen = _with_earlier(self._seen, positions, valid, past, kwargs.get("attention_mask"))
        self.passes += 1
        if self._given is None and past == 0:
            if kwargs.get("use_cache") is False and not _is_plain_call(kwargs):
                self.lengths = None
            else:
                self.lengths = valid.sum(-1)
        if self._stop_ids is not None and tokens.dim() == 2:
            self._mark_ended(tokens)
        self.all_valid = bool(self.valid.all())

    def set(self, positions: Tensor, valid: Tensor, seen: tuple[Tensor, Tensor]) -> None:
        """Take the positions of a pass from one who knows them.

        Args:
            positions: (row, column) of the tokens of the pass.
            valid: (row, column) whether each belongs to its row.
            seen: positions and validity (row, key) of all tokens that the pass can look back to.
        """
        self.positions, self.valid, self._seen = positions, valid, seen
        self.all_valid = bool(valid.all())
        self._rows.clear()
        self.passes += 1

    def rows(self, n_rows: int) -> Tensor:
        """Return, per row of the pass, which of `n_rows` prompts it belongs to (rows are prompts × beams)."""
        if n_rows in self._rows:
            return self._rows[n_rows]
        batch = self.positions.shape[0]
        if batch % n_rows:
            raise EditNotUsable(f"{n_rows} plans were given, but the pass has {batch} rows. Give one plan per prompt.")
        self._rows[n_rows] = torch.arange(batch, device=self.positions.device) // (batch // n_rows)
        return self._rows[n_rows]

    def keys(self, n_keys: int) -> tuple[Tensor, Tensor]:
        """Return positions and validity (row, key) of the last `n_keys` tokens that the pass can look back to.

        Raises:
            EditNotUsable: the tokens in the cache are not known.
        """
        if self._seen is None:
            raise EditNotUsable("which tokens the cache holds is not known. Pass an attention mask over all of them.")
        positions, valid = (one[:, -n_keys:] for one in self._seen)
        missing = n_keys - positions.shape[1]  # a cache of fixed length has room left
        return pad(positions, (0, missing)), pad(valid, (0, missing))

    def prompt_lengths(self) -> Tensor:
        """Return the prompt's length per row of the pass.

        Raises:
            EditNotUsable: it cannot be known: generation without a cache, inside `editing`, feeds ever longer rows.
        """
        if self.lengths is None:
            raise EditNotUsable(
                "positions counted in the prompt need its length, which a generation without cache does not show. "
                "Give editing(…, prompt_lengths=[…]), or positions='all'."
            )
        lengths = self.lengths.to(self.positions.device)
        return lengths if len(lengths) == self.positions.shape[0] else lengths[self.rows(len(lengths))]

    def written(self) -> list[int | None] | None:
        """Return each row's position where the pass has one written token per row, None for rows that have ended.

        None altogether where it has other tokens.
        """
        if self.lengths is None or self.positions.shape[1] != 1:
            return None
        if bool((self.valid[:, 0] & (self.positions[:, 0] < self.prompt_lengths())).any()):
            return None
        places, valid = self.positions[:, 0].tolist(), self.valid[:, 0].tolist()
        return [place if own else None for place, own in zip(places, valid, strict=True)]

    def _mark_ended(self, tokens: Tensor) -> None:
        assert self._stop_ids is not None
        written = self.positions >= self.prompt_lengths()[:, None]
        stops = written & torch.isin(tokens, self._stop_ids.to(tokens.device))
        ended = stops.cumsum(-1) > 0
        if self._ended is not None:
            ended |= self._ended[:, None]
        self._ended = ended[:, -1]
        self.valid = self.valid & ~ended


def _first(args: tuple[Any, ...], kwargs: Mapping[str, Any], names: Sequence[str]) -> Tensor:
    for name in names:
        given = kwargs.get(name)
        if isinstance(given, Tensor):
            return given
    for one in args:
        if isinstance(one, Tensor):
            return one
    raise InternalError(f"the forward pass has none of {', '.join(names)}")


def _past_length(cache: Any) -> int:
    return 0 if cache is None else int(cache.get_seq_length())


def _with_earlier(
    seen: tuple[Tensor, Tensor] | None, positions: Tensor, valid: Tensor, past: int, mask: Any
) -> tuple[Tensor, Tensor] | None:
    """Return positions and validity (row, column) of all tokens so far: a mask shows them, or they are remembered."""
    if isinstance(mask, Tensor) and mask.dim() == 2:
        return (mask.long().cumsum(-1) - 1).clamp(min=0), mask.bool()
    if past == 0:
        return positions, valid
    if seen is None or seen[0].shape != (positions.shape[0], past):
        return None
    return torch.cat([seen[0], positions], dim=-1), torch.cat([seen[1], valid], dim=-1)


def _is_plain_call(kwargs: Mapping[str, Any]) -> bool:
    """Whether the pass is a user's own forward, not a step of `generate` (which says how many logits to keep)."""
    return "logits_to_keep" not in kwargs


def _positions(
    kwargs: Mapping[str, Any], batch: int, columns: int, past: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    mask = kwargs.get("attention_mask")
    if isinstance(mask, Tensor) and mask.dim() == 2:
        counted = mask.long().cumsum(-1) - 1
        return counted[:, -columns:].clamp(min=0), mask[:, -columns:].bool()
    ids = kwargs.get("position_ids")
    if isinstance(ids, Tensor):
        ids = ids.expand(batch, columns)
        return ids, _not_filler(ids)
    ids = torch.arange(past, past + columns, device=device).expand(batch, columns)
    return ids, torch.ones_like(ids, dtype=torch.bool)


def _not_filler(position_ids: Tensor) -> Tensor:
    """Tell real tokens from left padding by position ids alone: a row begins at its last 0, pads are all 0 or all 1.

    Raises:
        EditNotUsable: positions start again within a row, as in packed sequences.
    """
    columns = torch.arange(position_ids.shape[1], device=position_ids.device)
    last_zero = torch.where(position_ids == 0, columns, -1).amax(-1, keepdim=True)
    before = columns < last_zero
    if (before & (position_ids != position_ids[:, :1]) | before & (position_ids > 1)).any():
        raise EditNotUsable(
            "the position ids start again within a row (packed sequences), so its tokens cannot be counted. "
            "Give one sequence per row, with an attention mask."
        )
    return ~before
