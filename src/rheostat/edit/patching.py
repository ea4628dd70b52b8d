"""Edits that bring in another run's activations: `Replace` (patching) and `Mix` (the decoding post's mixing)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from rheostat.edit.edit import Edit, finite
from rheostat.edit.source import FromPrompt, Source


@dataclass(frozen=True, eq=False)
class Replace(Edit):
    """h + strength · (v − h): at strength 1 exactly the value, as in activation patching."""

    value: Source

    @property
    def source(self) -> Source:
        """The value."""
        return self.value

    def change(
        self, activation: Float[Tensor, "token *site"], value: Float[Tensor, "..."] | None
    ) -> Float[Tensor, "token *site"]:
        """Move towards the value."""
        assert value is not None
        return value.expand_as(activation) if self.strength == 1 else activation + self.strength * (value - activation)


@dataclass(frozen=True, eq=False)
class Mix(Edit):
    """h + strength · factor · u, where u is the last-token activation of another prompt.

    `kind` says which activation of that block is u: None for the edited site itself, as the post describes, or
    `resid_mid` (attention output plus the block's input), which is what the post's code really stored and what its
    factor 0.7 belongs to (nrimsky/LM-exp, `intermediate_decoding`). With the default positions u is added to every
    token, generated ones too.
    """

    prompt: str
    factor: float = 0.7
    kind: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "factor", finite(self, "factor"))

    @property
    def source(self) -> FromPrompt:
        """The other prompt's last token."""
        return FromPrompt(self.prompt, "last", self.kind)

    def change(
        self, activation: Float[Tensor, "token *site"], value: Float[Tensor, "..."] | None
    ) -> Float[Tensor, "token *site"]:
        """Add the scaled value."""
        assert value is not None
        return activation + (self.strength * self.factor) * value
