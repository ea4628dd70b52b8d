"""`Tally`: what the walks so far have shown; kept in a file, so that a run that was killed goes on."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import safetensors.numpy
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open

from rheostat.base.errors import FileNotUsable
from rheostat.base.files import atomic_file
from rheostat.metrics.statistics import Values
from rheostat.neurons.shapley.walk import Walk

FORMAT = "rheostat-shapley-1"


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts, means and spreads of the marginals of every player."""

    counts: Int[np.ndarray, " player"]
    means: Float[np.ndarray, " player"]
    """0 where nothing was measured."""
    squares: Float[np.ndarray, " player"]
    """Sums of squared distances from the mean."""
    extremes: Float[np.ndarray, "2"]
    """Smallest and largest marginal of any player; both 0 at first."""
    walks: int = 0
    evaluations: int = 0

    @classmethod
    def empty(cls, n_players: int) -> "Tally":
        """Return the tally before the first walk."""
        zeros = np.zeros(n_players)
        return cls(np.zeros(n_players, dtype=np.int64), zeros, zeros, np.zeros(2))

    @property
    def variances(self) -> Float[np.ndarray, " player"]:
        """Unbiased; NaN below two measurements."""
        unknown = np.full_like(self.means, np.nan)
        return np.asarray(np.divide(self.squares, self.counts - 1, out=unknown, where=self.counts > 1))

    @property
    def width(self) -> float:
        """Of the range in which all marginals so far lie."""
        return float(self.extremes[1] - self.extremes[0])

    def after(self, walk: Walk) -> "Tally":
        """Return the tally with one more walk (Welford's update)."""
        seen = ~np.isnan(walk.marginals)
        marginals = np.where(seen, walk.marginals, self.means)
        counts = self.counts + seen
        step = marginals - self.means
        means = self.means + np.divide(step, counts, out=np.zeros_like(step), where=seen)
        low, high = marginals[seen].min(initial=self.extremes[0]), marginals[seen].max(initial=self.extremes[1])
        return replace(
            self,
            counts=counts,
            means=means,
            squares=self.squares + step * (marginals - means),
            extremes=np.array([low, high]),
            walks=self.walks + 1,
            evaluations=self.evaluations + walk.evaluations,
        )

    def save(self, path: Path, key: str) -> None:
        """Write a safetensors file, whole or not at all."""
        tensors: dict[str, Values] = {name: getattr(self, name) for name in _ARRAYS}
        about = {"format": FORMAT, "key": key, "walks": self.walks, "evaluations": self.evaluations}
        with atomic_file(path) as target:
            safetensors.numpy.save_file(tensors, target, metadata={"tally": json.dumps(about)})

    @classmethod
    def load(cls, path: Path, key: str) -> "Tally":
        """Read what `save` wrote.

        Raises:
            FileNotUsable: the file is damaged, or holds another run.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                about = json.loads((file.metadata() or {})["tally"])
                arrays = {name: file.get_tensor(name) for name in _ARRAYS}
            if about["format"] != FORMAT:
                raise FileNotUsable(f"{path} has the format {about['format']!r}; a tally has {FORMAT!r}.")
            walks, evaluations = int(about["walks"]), int(about["evaluations"])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise FileNotUsable(f"{path} cannot be read as a tally ({type(error).__name__}: {error}).") from error
        if about["key"] != key:
            raise FileNotUsable(
                f"{path} holds another run: another game, seed or settings. Give another name, or delete it."
            )
        return cls(**arrays, walks=walks, evaluations=evaluations)


_ARRAYS = ("counts", "means", "squares", "extremes")
