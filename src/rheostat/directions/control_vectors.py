"""Directions as GGUF control vectors, the files of llama.cpp and repeng.

Such a file holds `general.architecture = "controlvector"`, `controlvector.model_hint`, `controlvector.layer_count` and
one float32 tensor `direction.{il}` of the model's width per layer. llama.cpp adds tensor il, times the scale asked for,
at the end of block il: at `blocks.{il}.resid_post`. It has none for block 0, and refuses a file that does.

repeng counts the same way: it reads the layer-th block's output (`hidden_states[layer + 1]`) and changes the output of
block `layer`. Only its last block differs: what it fits there is read after the final norm. Its vectors have length 1.
"""

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rheostat.base.errors import BadArgument, DamagedFile, DirectionNotUsable, FileNotUsable, RheostatWarning
from rheostat.base.files import atomic_file, output_path
from rheostat.directions.direction import Direction
from rheostat.directions.directions import Directions
from rheostat.models.gguf import check_gguf
from rheostat.models.network import Network

if TYPE_CHECKING:
    import gguf

ARCHITECTURE = "controlvector"

_SITE = re.compile(r"blocks\.(\d+)\.resid_post")
_TENSOR = re.compile(r"direction\.(\d+)")
_AS_LLAMA_CPP = {"mistral": "llama", "mixtral": "llama", "gemma3text": "gemma3", "phi": "phi2"}
"""Architectures that llama.cpp calls by another name, without - and _."""


def export_gguf(
    directions: Directions,
    path: str | Path,
    *,
    model_hint: str | None = None,
    without_block_0: bool = False,
    overwrite: bool = False,
) -> None:
    """Write directions at block outputs as a GGUF control vector; scale 1 in llama.cpp is strength 1 here.

    Args:
        directions: at `blocks.*.resid_post`.
        path: of the file.
        model_hint: name of the architecture, such as `llama`; None: name of the model they were fitted on.
        without_block_0: leave out a direction at block 0, which llama.cpp cannot hold; otherwise it is refused.
        overwrite: replace a file that exists.

    Raises:
        DirectionNotUsable: one lies elsewhere than at a block's output, or at block 0, or none is left.
        WouldOverwrite, FileNotUsable
    """
    blocks = {_block(one): one for one in directions.values()}
    if 0 in blocks and not without_block_0:
        raise DirectionNotUsable(
            f"{directions.concept!r} has a direction at blocks.0.resid_post; llama.cpp's control vectors hold none for "
            "block 0. Leave it out by name: without_block_0=True."
        )
    kept = {block: one for block, one in sorted(blocks.items()) if block > 0}
    if not kept:
        raise DirectionNotUsable(f"{directions.concept!r} has no direction behind block 0, so nothing can be written.")
    import gguf

    hint = next(iter(kept.values())).model if model_hint is None else model_hint
    with atomic_file(output_path(Path(path), overwrite=overwrite)) as target:
        writer = gguf.GGUFWriter(target, ARCHITECTURE)
        writer.add_string(f"{ARCHITECTURE}.model_hint", hint)
        writer.add_uint32(f"{ARCHITECTURE}.layer_count", len(kept))
        for block, one in kept.items():
            writer.add_tensor(f"direction.{block}", one.vector.detach().cpu().to(torch.float32).numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def import_gguf(path: str | Path, *, network: Network | None = None, concept: str | None = None) -> Directions:
    """Read a GGUF control vector: tensor il becomes the direction at `blocks.{il}.resid_post`.

    The file says nothing of the weights, and knows no calibration: the directions control, and read uncalibrated.

    Args:
        path: of the file, by rheostat, llama.cpp or repeng.
        network: the model they are for: they get its name, and their blocks and widths are checked. Where the file
            names another architecture, a `RheostatWarning` says so.
        concept: what they stand for; None: the file's name.

    Raises:
        FileNotUsable: the file is missing, damaged, no control vector, or holds NaN.
        DirectionNotUsable: the network has other blocks or another width.
    """
    import gguf

    try:
        check_gguf(Path(path))
    except (OSError, DamagedFile) as error:
        raise FileNotUsable(f"{path} cannot be read as a control vector: {error}") from error
    reader = gguf.GGUFReader(path)
    kind = reader.get_field("general.architecture")
    if kind is None or kind.contents() != ARCHITECTURE:
        found = "nothing" if kind is None else repr(kind.contents())
        raise FileNotUsable(f"{path} is no control vector: its general.architecture says {found}.")
    hint = reader.get_field(f"{ARCHITECTURE}.model_hint")
    hinted = "" if hint is None else str(hint.contents())
    model = hinted if network is None else network.name
    try:
        vectors = {_layer(one.name): _vector(one) for one in reader.tensors}
        directions = {
            f"blocks.{block}.resid_post": Direction(
                concept=Path(path).stem if concept is None else concept,
                site=f"blocks.{block}.resid_post",
                vector=vector,
                method="control vector",
                model=model,
            )
            for block, vector in sorted(vectors.items())
        }
        read = Directions(directions)
    except (DirectionNotUsable, BadArgument, ValueError) as error:
        raise FileNotUsable(f"{path} holds no usable control vector: {error}") from error
    if network is not None:
        _check_all(read, network, path)
        _check_hint(hinted, network, path)
    return read


def _block(one: Direction) -> int:
    match = _SITE.fullmatch(one.site)
    if match is None or one.vector.dim() != 1:
        raise DirectionNotUsable(
            f"{one.concept!r} lies at {one.site}; a control vector acts at the end of blocks, blocks.*.resid_post."
        )
    return int(match[1])


def _layer(name: str) -> int:
    match = _TENSOR.fullmatch(name)
    if match is None:
        raise ValueError(f"a tensor is called {name!r}, not direction.LAYER")
    return int(match[1])


def _vector(tensor: "gguf.ReaderTensor") -> Tensor:
    if tensor.tensor_type.name not in ("F32", "F16") or len(tensor.data.shape) != 1:
        kind, shape = tensor.tensor_type.name, tuple(map(int, tensor.shape))
        raise ValueError(f"{tensor.name} is {kind} of shape {shape}; a control vector is F32, one number per dimension")
    return torch.from_numpy(np.array(tensor.data, dtype=np.float32))


def _check_all(directions: Directions, network: Network, path: str | Path) -> None:
    for one in directions.values():
        if _block(one) >= network.n_blocks:
            raise DirectionNotUsable(
                f"{path} has a tensor for block {_block(one)}; {network.name} has {network.n_blocks}."
            )
        one.check(network)


def _check_hint(hint: str, network: Network, path: str | Path) -> None:
    """Warn where the file names an architecture, and another than the network's; names of models say nothing."""
    import gguf
    from transformers import CONFIG_MAPPING

    own = str(getattr(getattr(network.module, "config", None), "model_type", network.name))
    known = {*CONFIG_MAPPING.keys(), *gguf.MODEL_ARCH_NAMES.values()}
    if hint in known and _architecture(hint) != _architecture(own):
        warnings.warn(
            f"{path} says that it is for {hint}; {network.name} is {own}, where the same numbers mean something else.",
            RheostatWarning,
            stacklevel=3,
        )


def _architecture(name: str) -> str:
    """Return an architecture's name as llama.cpp has it, without - and _."""
    bare = re.sub("[-_]", "", name)
    return _AS_LLAMA_CPP.get(bare, bare)
