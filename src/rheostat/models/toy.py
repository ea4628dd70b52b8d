"""Randomly initialised networks of every family, small enough for a unit test and lively enough to prove something.

The usual initialisation makes toy networks so flat that erasing an attention output moves the logits by a thousandth;
these have their weights scaled up, so that an edit moves them by tenths.
"""

from collections.abc import Mapping
from typing import Any

import torch

from rheostat.base.errors import BadArgument
from rheostat.base.names import did_you_mean

D_VOCAB = 64
N_BLOCKS = 3
_CONTEXT = 64
_SCALE = 4.0

_LLAMA = {
    "hidden_size": 16,
    "num_hidden_layers": N_BLOCKS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": _CONTEXT,
}
_SLIDING = {**_LLAMA, "head_dim": 4, "sliding_window": 4, "query_pre_attn_scalar": 4}
_GPT2 = {"n_embd": 16, "n_layer": N_BLOCKS, "n_head": 4, "n_positions": _CONTEXT}
_NEOX = {key: value for key, value in _LLAMA.items() if key != "num_key_value_heads"}
_FALCON = {"hidden_size": 16, "num_hidden_layers": N_BLOCKS, "num_attention_heads": 4, "ffn_hidden_size": 24}

TOYS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "llama": ("LlamaConfig", _LLAMA),
    "mistral": ("MistralConfig", {**_LLAMA, "sliding_window": 4}),
    "qwen2": ("Qwen2Config", _LLAMA),
    "qwen3": ("Qwen3Config", {**_LLAMA, "head_dim": 4}),
    "gemma2": ("Gemma2Config", _SLIDING),
    "gemma3": ("Gemma3TextConfig", _SLIDING),
    "gpt2": ("GPT2Config", _GPT2),
    "gpt_neox": ("GPTNeoXConfig", _NEOX),
    "gpt_neox-sequential": ("GPTNeoXConfig", {**_NEOX, "use_parallel_residual": False}),
    "gptj": ("GPTJConfig", {**_GPT2, "rotary_dim": 4}),
    "opt": ("OPTConfig", {**_NEOX, "ffn_dim": 24, "word_embed_proj_dim": 16}),
    "phi": ("PhiConfig", _LLAMA),
    "bloom": ("BloomConfig", {"hidden_size": 16, "n_layer": N_BLOCKS, "n_head": 4}),
    "falcon": ("FalconConfig", {**_FALCON, "new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon-sequential": ("FalconConfig", {**_FALCON, "parallel_attn": False, "alibi": True, "multi_query": False}),
    "mixtral": ("MixtralConfig", {**_LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2}),
}
"""Name → config class of transformers and its settings."""


def toy(name: str, *, dtype: torch.dtype = torch.float32, seed: int = 0, attention: str | None = None) -> Any:
    """Return a small random causal language model in eval mode; give it to `rheostat.load`.

    Args:
        name: one of `TOYS`.
        dtype: of the weights.
        seed: of the weights.
        attention: `sdpa` or `eager`.

    Raises:
        BadArgument: no such toy.
    """
    import transformers

    if name not in TOYS:
        raise BadArgument(f"no toy {name!r}.{did_you_mean(name, TOYS)} One of: {', '.join(TOYS)}.")
    config_name, settings = TOYS[name]
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = getattr(transformers, config_name)(vocab_size=D_VOCAB, **special, **settings)
    options = {} if attention is None else {"attn_implementation": attention}
    if hasattr(config, "num_local_experts"):
        options["experts_implementation"] = "eager"  # the grouped kernels have no float64
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = transformers.AutoModelForCausalLM.from_config(config, **options).to(dtype)
        with torch.no_grad():
            for parameter_name, parameter in module.named_parameters():
                if parameter.dim() > 1:
                    parameter.mul_(_SCALE)
                elif "bias" in parameter_name:
                    parameter.normal_(std=0.1)
                else:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
    return module.eval()
