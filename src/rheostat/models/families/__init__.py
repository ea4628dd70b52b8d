"""One small table per family of architectures: `model_type` of the config → its anatomy."""

from collections.abc import Callable, Mapping
from typing import Any

from rheostat.models.anatomy import Anatomy
from rheostat.models.families import bloom, falcon, gemma, gpt2, gpt_neox, gptj, llama, mixtral, opt, phi

FAMILIES: Mapping[str, Callable[[Any], Anatomy]] = {
    "llama": llama.anatomy,
    "mistral": llama.anatomy,
    "qwen2": llama.anatomy,
    "qwen3": llama.anatomy,
    "gemma2": gemma.anatomy,
    "gemma3_text": gemma.anatomy,
    "gpt2": gpt2.anatomy,
    "gpt_neox": gpt_neox.anatomy,
    "gptj": gptj.anatomy,
    "opt": opt.anatomy,
    "phi": phi.anatomy,
    "bloom": bloom.anatomy,
    "falcon": falcon.anatomy,
    "mixtral": mixtral.anatomy,
}
