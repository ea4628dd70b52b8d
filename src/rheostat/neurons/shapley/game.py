"""`Game`: what the Shapley value needs to know of a network or a toy: players, and what coalitions are worth."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float


@runtime_checkable
class Game(Protocol):
    """Players, and the value of every coalition of them."""

    @property
    def n_players(self) -> int:
        """How many there are."""
        ...

    @property
    def fingerprint(self) -> str:
        """Equal for equal games: what a kept state is recognised by."""
        ...

    def values(self, present: Bool[np.ndarray, "coalition player"], walk: int) -> Float[np.ndarray, " coalition"]:
        """Return what coalitions are worth.

        Args:
            present: who takes part in each.
            walk: which sample of the world they are measured on (a subset of prompts, say); a game without chance
                ignores it. Equal numbers give equal values.
        """
        ...


@dataclass(frozen=True)
class FunctionGame:
    """A game given by a plain function of coalitions."""

    n_players: int
    function: Callable[[Bool[np.ndarray, "coalition player"]], Float[np.ndarray, " coalition"]]
    """From who takes part, one row per coalition, to what each is worth."""
    fingerprint: str = ""

    def values(self, present: Bool[np.ndarray, "coalition player"], walk: int) -> Float[np.ndarray, " coalition"]:
        """Return what coalitions are worth; the walk makes no difference."""
        return np.asarray(self.function(present), dtype=np.float64)
