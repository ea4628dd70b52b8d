"""Images as a network reads them, and the few that a measurement takes."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rheostat.data.mnist import DigitImages

MEAN, DEVIATION = 0.1307, 0.3081
"""Of the pixels of the training images, divided by 255."""


@dataclass(frozen=True)
class Digits:
    """Images with their labels."""

    images: Float[Tensor, "image pixel"]
    labels: Int64[Tensor, " image"]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def take(self, which: "slice | Tensor") -> "Digits":
        """Return some of the images."""
        return Digits(self.images[which], self.labels[which])

    def per_digit(self, n: int) -> "Digits":
        """Return the first n images of each digit, in the order of the data set."""
        chosen = torch.cat([(self.labels == digit).nonzero()[:n, 0] for digit in range(10)])
        return self.take(chosen.sort().values)

    def first_of_each(self) -> Float[Tensor, "10 pixel"]:
        """Return the first image of each digit."""
        return torch.stack([self.images[self.labels == digit][0] for digit in range(10)])


def digits(raw: DigitImages) -> Digits:
    """Return images whose pixels have mean 0 and deviation 1 over the training images."""
    images = torch.from_numpy(raw.pixels.astype(np.float32) / 255)
    return Digits((images - MEAN) / DEVIATION, torch.from_numpy(raw.labels))
