"""Convert a GGUF file once into a folder of safetensors, config and tokenizer, which every later load reads."""

import errno
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors import SafetensorError

from rheostat.base.errors import CacheNotWritable, DamagedFile, UnknownArchitecture
from rheostat.base.files import atomic_folder, cache_dir, prepare_cache
from rheostat.models.identity import hash_weights
from rheostat.models.quiet import quiet_loading

_log = logging.getLogger("rheostat")

STAMP = "rheostat.json"
"""The file in a converted folder that says where it came from."""


def converted_folder(path: Path) -> Path:
    """Return the cached conversion of a user's GGUF file, converting it first when needed.

    Raises:
        DamagedFile: the file is truncated or no GGUF.
        CacheNotWritable: the cache refuses writing or has too little space.
    """
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    folder = cache_dir() / "models" / f"gguf-{digest[:16]}"
    convert_once(
        folder, source=path.name, write_gguf=lambda target: _link(path, target), bytes_needed=8 * path.stat().st_size
    )
    return folder


def convert_once(folder: Path, *, source: str, write_gguf: Callable[[Path], None], bytes_needed: int) -> None:
    """Make `folder` hold the converted model; it appears whole or not at all, and two processes convert it once.

    Args:
        folder: where the conversion goes.
        source: what the stamp says the weights came from.
        write_gguf: writes the GGUF file to the path it is given.
        bytes_needed: free space to insist on.
    """
    if folder.is_dir():
        return
    prepare_cache(folder.parent, bytes_needed=bytes_needed)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        if folder.is_dir():
            return
        _clear_leftovers(folder)
        try:
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
                gguf = Path(temporary) / "model.gguf"
                write_gguf(gguf)
                check_gguf(gguf, name=source)
                with atomic_folder(folder) as target:
                    _convert(gguf, target, source)
        except (OSError, SafetensorError) as error:
            if not _is_full_disk(error):
                raise
            raise CacheNotWritable(
                f"the disk filled up while {source} was converted. Free some space or point RHEOSTAT_CACHE elsewhere."
            ) from error


def _is_full_disk(error: OSError | SafetensorError) -> bool:
    """Tell whether writing failed for want of space; safetensors says so only in its message."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return os.strerror(errno.ENOSPC) in str(error)


def check_gguf(path: Path, *, name: str | None = None) -> None:
    """Read the header and make sure that every tensor it lists lies within the file.

    Raises:
        DamagedFile: it is no GGUF file, or truncated.
    """
    import gguf

    name = name or str(path)
    with path.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise DamagedFile(f"{name} is no GGUF file: it does not begin with 'GGUF'.")
    try:
        gguf.GGUFReader(path)
    except (ValueError, IndexError, KeyError, OverflowError, UnicodeDecodeError) as error:
        raise DamagedFile(f"{name} is truncated or damaged. Download it again.") from error


def check_complete(report: Mapping[str, Any], name: str) -> None:
    """Refuse weights of which transformers drew some at random, because no file held them; warn of unused ones.

    Args:
        report: what `from_pretrained(…, output_loading_info=True)` returns beside the model.
        name: of the model.

    Raises:
        DamagedFile: at least one tensor is missing.
    """
    missing = sorted(report["missing_keys"])
    if missing:
        raise DamagedFile(
            f"{name} lacks {len(missing)} of the model's tensors, such as {missing[0]}; they would be random. "
            "Get the whole model, with its language-model head."
        )
    unused = sorted(report["unexpected_keys"])
    if unused:
        _log.warning("%s: %d tensors of its files are not used, such as %s.", name, len(unused), unused[0])


def read_stamp(folder: Path) -> dict[str, str]:
    """Return what a converted folder says of its source and its weights; empty for other folders."""
    stamp = folder / STAMP
    return dict(json.loads(stamp.read_text())) if stamp.is_file() else {}


def _convert(gguf: Path, target: Path, source: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with quiet_loading():
        try:
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
            found: Any = AutoModelForCausalLM.from_pretrained(
                gguf.parent, gguf_file=gguf.name, dtype=torch.float32, output_loading_info=True
            )
        except (ValueError, KeyError, NotImplementedError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UnknownArchitecture(f"{source}: transformers cannot read this GGUF file ({reason}).") from error
        loaded, report = found
        check_complete(report, source)
        module = _without_quantization(loaded)
        module.save_pretrained(target)
        tokenizer.save_pretrained(target)
    (target / STAMP).write_text(json.dumps({"source": source, "weight_hash": hash_weights(module)}))


def _without_quantization(loaded: Any) -> Any:
    """Rebuild the model from a config without the quantization entry, which would make it refuse to be saved."""
    values = {key: value for key, value in loaded.config.to_dict().items() if key != "quantization_config"}
    with torch.device("meta"):
        module = type(loaded)(type(loaded.config).from_dict(values))
    module.load_state_dict(loaded.state_dict(), assign=True)
    module.tie_weights()
    module.generation_config = loaded.generation_config
    return module


def _clear_leftovers(folder: Path) -> None:
    """Remove what conversions killed half-way left beside `folder`; the caller holds the lock."""
    for leftover in folder.parent.glob(f".{folder.name}.*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    target.symlink_to(source.resolve())
