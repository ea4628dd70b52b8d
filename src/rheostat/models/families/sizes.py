"""The sizes that every config states, under the names that rheostat uses."""

from typing import Any, TypedDict


class Sizes(TypedDict):
    """Keyword arguments of `Anatomy` that come straight from a config."""

    n_blocks: int
    d_model: int
    n_heads: int
    d_head: int
    d_mlp: int
    d_vocab: int
    n_context: int | None


def sizes(config: Any, *, d_mlp: int, n_context: int | None) -> Sizes:
    """Read the sizes of a config; the two that families name differently are given."""
    return Sizes(
        n_blocks=config.num_hidden_layers,
        d_model=config.hidden_size,
        n_heads=config.num_attention_heads,
        d_head=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        d_mlp=d_mlp,
        d_vocab=config.vocab_size,
        n_context=n_context,
    )
