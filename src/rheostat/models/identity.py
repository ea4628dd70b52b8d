"""What a network is, as hashes: its weights alone, and together with classes, config, anatomy and unsaved buffers.

What a module keeps in plain attributes (a scaling that was set by hand, which adapter is on) is in neither.
"""

import hashlib
import json
import re
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from rheostat.models.anatomy import Anatomy
from rheostat.models.rotary import changes_with_length

PRECISIONS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)

_NOISE = frozenset(
    {
        "_name_or_path",
        "_commit_hash",
        "_attn_implementation_autoset",
        "architectures",
        "transformers_version",
        "dtype",
        "torch_dtype",
        "use_cache",
        "output_attentions",
        "output_hidden_states",
        "return_dict",
    }
)
"""Entries of a config that change no number, or stand in a key by themselves."""


class Identity:
    """The hashes of one module, taken when asked for, and again once its tensors are not what they were.

    Args:
        module: whose hashes these are.
        anatomy: where its parts are; None for a module without one.
        weights: the hash of the weights as they are now, where it is known without reading them.
        stored: the hash of the same weights at the precision of their file.
    """

    def __init__(
        self, module: nn.Module, *, anatomy: Anatomy | None, weights: str | None = None, stored: str | None = None
    ) -> None:
        self._module, self._anatomy = module, anatomy
        self._seen = Seen(_weights(module))
        self._known = {} if weights is None else {"as it is": weights}
        self._stored = stored

    @property
    def weights(self) -> str:
        """SHA-256 over the names, shapes, dtypes and bytes of the weights."""
        self._forget_if_changed()
        if "as it is" not in self._known:
            self._known["as it is"] = hash_weights(self._module)
        return self._known["as it is"]

    @property
    def network(self) -> str:
        """SHA-256 over weights, the module's classes, its config and anatomy, and the buffers that no file holds."""
        digest = hashlib.sha256(f"{self.weights};{structure(self._module, self._anatomy)}".encode())
        for name, buffer in _unsaved_buffers(self._module):
            _add(digest, name, buffer)
        return digest.hexdigest()

    def has_weights(self, wanted: str) -> bool:
        """Whether a hash is that of these weights, at the precision at which they are loaded or at another one."""
        if wanted in (self.weights, self._stored):
            return True
        own = next((p.dtype for p in self._module.parameters() if p.is_floating_point()), None)
        return any(wanted == self._at(dtype) for dtype in PRECISIONS if dtype != own)

    def _at(self, dtype: torch.dtype) -> str:
        if str(dtype) not in self._known:
            self._known[str(dtype)] = hash_weights(self._module, dtype=dtype)
        return self._known[str(dtype)]

    def _forget_if_changed(self) -> None:
        if not self._seen.are(_weights(self._module)):
            self._known, self._stored, self._seen = {}, None, Seen(_weights(self._module))


class Seen:
    """Tensors as they were at one moment: which ones, where they lie, and how often they were written.

    It reads no number, so that it may be asked often. What is written through `tensor.data`, or into memory that is
    shared with another library, goes unnoticed.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._marks = [(weakref.ref(tensor), *_mark(tensor)) for tensor in tensors]

    def __reduce__(self) -> tuple[type["Seen"], tuple[list[Tensor]]]:
        """A copy has seen nothing: it belongs to other tensors."""
        return Seen, ([],)

    def are(self, tensors: Iterable[Tensor]) -> bool:
        """Whether these are the same tensors, unchanged."""
        now = list(tensors)
        return len(now) == len(self._marks) and all(
            (one.is_meta or ref() is one) and mark == list(_mark(one))
            for (ref, *mark), one in zip(self._marks, now, strict=True)
        )


def hash_weights(module: nn.Module, *, dtype: torch.dtype | None = None) -> str:
    """Return a SHA-256 over the names, shapes, dtypes and bytes of a module's state, wherever its weights lie.

    Where the weights are divided among processes, all of them must ask at once.

    Args:
        module: whose state it is.
        dtype: as if its numbers had been loaded in this one; None: as they are.
    """
    digest = hashlib.sha256()
    state: dict[str, Any] = module.state_dict()
    if any(tensor.device.type == "meta" for tensor in state.values()):
        from accelerate.utils.modeling import get_state_dict_offloaded_model

        state = get_state_dict_offloaded_model(module)
    for name, part in sorted(state.items()):
        tensor = part.full_tensor() if hasattr(part, "full_tensor") else part  # of all processes, where it is divided
        _add(digest, name, tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor)
    return digest.hexdigest()


def structure(module: nn.Module, anatomy: Anatomy | None) -> str:
    """Return what a module computes with its weights, as far as its classes, its config and its anatomy say it."""
    config: Any = getattr(module, "config", None)
    stated = config.to_dict() if hasattr(config, "to_dict") else None
    said = {
        "class": f"{type(module).__module__}.{type(module).__qualname__}",
        "modules": re.sub(r" at 0x[0-9a-f]+", "", repr(module)),
        "config": _without_noise(stated),
        "anatomy": None if anatomy is None else asdict(anatomy),
    }
    return json.dumps(said, sort_keys=True, separators=(",", ":"), default=str)


def _without_noise(stated: Any) -> Any:
    if isinstance(stated, Mapping):
        return {str(key): _without_noise(value) for key, value in stated.items() if key not in _NOISE}
    return [_without_noise(one) for one in stated] if isinstance(stated, list | tuple) else stated


def _weights(module: nn.Module) -> Iterator[Tensor]:
    """Yield the tensors that a file of the module would hold."""
    for part in module.modules():
        unsaved = part._non_persistent_buffers_set
        yield from (tensor for tensor in part._parameters.values() if tensor is not None)
        yield from (one for name, one in part._buffers.items() if one is not None and name not in unsaved)


def _unsaved_buffers(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the buffers that no file holds, such as rotary frequencies; not those that each pass may set anew."""
    for path, part in module.named_modules():
        if not changes_with_length(part):
            for name in sorted(part._non_persistent_buffers_set):
                if (buffer := part._buffers.get(name)) is not None:
                    yield f"{path}.{name}", buffer


def _mark(tensor: Tensor) -> tuple[int, int]:
    """Return where a tensor lies and how often it was written; weights that lie elsewhere come and go unwritten."""
    if tensor.is_meta:
        return 0, 0
    try:
        place = tensor.data_ptr()
    except RuntimeError:  # a wrapper of other tensors has no memory of its own
        place = 0
    return place, 0 if tensor.is_inference() else tensor._version


def _add(digest: Any, name: str, tensor: Tensor) -> None:
    digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
    if not tensor.is_meta:
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
