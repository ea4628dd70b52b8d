"""A loaded network: the user's module, unchanged, with its tokenizer and its anatomy."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rheostat.base.errors import CompiledModel, NeedsTokenizer, PromptTooLong, SiteNotOffered
from rheostat.models.anatomy import Anatomy
from rheostat.models.identity import Identity
from rheostat.models.rotary import steady_length
from rheostat.models.tokens import Prompt, Row, Tokens


@dataclass(frozen=True)
class Origin:
    """What `load` was given, so that another process can load the same network."""

    source: str
    """A name, or the full path of a folder or file."""
    revision: str | None = None
    trust_remote_code: bool = False


@dataclass(frozen=True)
class Provenance:
    """Where a network came from, for records."""

    source: str
    revision: str = ""
    weight_hash: str | None = field(default=None, compare=False)
    """Of the weights as they were loaded, where it is known without reading them."""
    stored_hash: str | None = field(default=None, compare=False)
    """Of the same weights at the precision of their file, where that is known."""
    origin: Origin | None = field(default=None, compare=False)
    """None where a module was handed over: nobody else can load it again."""


class Network:
    """A module with its tokenizer and its anatomy. The module is what the user loaded, never a copy.

    Raises:
        CompiledModel: the module, or one inside it, is compiled.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        name: str,
        tokenizer: Any = None,
        anatomy: Anatomy | None = None,
        provenance: Provenance | None = None,
    ) -> None:
        refuse_compiled(module, name)
        self.module = module
        self.tokenizer = tokenizer
        self.name = name
        self.provenance = provenance or Provenance(source=name)
        self._anatomy = anatomy
        known = self.provenance
        self._identity = Identity(module, anatomy=anatomy, weights=known.weight_hash, stored=known.stored_hash)

    @property
    def anatomy(self) -> Anatomy | None:
        """Where the parts of a transformer are; None for any other module."""
        return self._anatomy

    @property
    def body(self) -> Anatomy:
        """The anatomy, for callers that need a transformer.

        Raises:
            SiteNotOffered: the module is no transformer that rheostat knows.
        """
        if self._anatomy is None:
            raise SiteNotOffered(f"{self.name} was loaded as a plain module: it has module paths as sites, no blocks.")
        return self._anatomy

    @property
    def tokens(self) -> Tokens:
        """The vocabulary.

        Raises:
            NeedsTokenizer: the model was loaded without one.
        """
        if self.tokenizer is None:
            raise NeedsTokenizer(
                f"{self.name} has no tokenizer. Give token ids, or rheostat.load(module, tokenizer=…)."
            )
        return self._tokens

    @cached_property
    def _tokens(self) -> Tokens:
        return Tokens(self.tokenizer)

    @property
    def device(self) -> torch.device:
        """Where inputs go: the device of the first parameter, or the one that computes where all are offloaded."""
        here = (p.device for p in self.module.parameters() if p.device.type != "meta")
        return next(here, None) or torch.device(_execution_device(self.module))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the first parameter."""
        return next((p.dtype for p in self.module.parameters()), torch.float32)

    @property
    def attention(self) -> str | None:
        """How attention is computed: `sdpa`, `eager`, …; None where the module does not say."""
        found: str | None = getattr(getattr(self.module, "config", None), "_attn_implementation", None)
        return found

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return self.body.n_blocks

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.body.d_model

    @property
    def d_vocab(self) -> int:
        """Number of tokens in the vocabulary."""
        return self.body.d_vocab

    def part(self, path: str) -> nn.Module:
        """Return the module at a path of the anatomy; the empty path is the whole."""
        return self.module.get_submodule(path)

    def unembed(self, residual: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows d_vocab"]:
        """Return the logits (…, d_vocab) that final norm and unembedding make of residual vectors (…, d_model)."""
        logits: Tensor = self.part(self.body.unembed)(self.part(self.body.final)(residual))
        softcap = self.body.softcap
        return logits if softcap is None else softcap * torch.tanh(logits / softcap)

    def row(self, prompt: Prompt) -> Row:
        """Turn a prompt into a row of tokens.

        Raises:
            EmptyPrompt, NeedsTokenizer, PromptTooLong
        """
        if self.tokenizer is None and not isinstance(prompt, str) and len(prompt):
            row = Row(tuple(int(token) for token in prompt))
        else:
            row = self.tokens.encode(prompt)
        self.check_length(len(row))
        return row

    def check_length(self, n_tokens: int, *, generated: int = 0, shared: bool = False) -> None:
        """Refuse a row that the model's positions cannot hold.

        Args:
            n_tokens: of the prompt.
            generated: tokens to write.
            shared: whether rows of other lengths, or shorter beginnings of it, take part in its passes.

        Raises:
            PromptTooLong: prompt and generated tokens together exceed the context, or, where passes are shared, the
                length up to which rotary frequencies do not depend on the longest row of a pass.
        """
        limit = self.body.n_context if self._anatomy else None
        what = f"the prompt has {n_tokens} tokens" + (f" and {generated} to generate" if generated else "")
        if limit is not None and n_tokens + generated > limit:
            raise PromptTooLong(f"{what}; {self.name} takes {limit}. Shorten the prompt.")
        if shared and self.steady_length is not None and n_tokens + generated > self.steady_length:
            raise PromptTooLong(f"{what}, and shares its passes. {self._unsteady} Shorten it, or run it alone.")

    def check_together(self, lengths: Sequence[int], *, generated: int = 0) -> None:
        """Refuse rows of different length that would change each other's positions in one batch.

        Raises:
            PromptTooLong: one of them exceeds the length up to which rotary frequencies do not depend on the longest
                row of a pass.
        """
        longest = max(lengths) + generated
        if len(set(lengths)) > 1 and self.steady_length is not None and longest > self.steady_length:
            raise PromptTooLong(
                f"rows of {min(lengths)} to {max(lengths)} tokens"
                + (f", and {generated} to generate," if generated else "")
                + f" cannot share a batch. {self._unsteady} Run them one by one, or give prompts of one length."
            )

    @property
    def shared_context(self) -> int | None:
        """Longest row, in tokens, that may share its passes with others; None: no limit."""
        known = [one for one in (self.body.n_context, self.steady_length) if one is not None]
        return min(known, default=None)

    @cached_property
    def steady_length(self) -> int | None:
        """Up to how many tokens a row changes no other's rotary frequencies; None: any number."""
        return steady_length(self.module)

    @property
    def _unsteady(self) -> str:
        return (
            f"Beyond {self.steady_length} tokens the rotary frequencies of {self.name} depend on the longest row of a "
            "pass (rope_type dynamic or longrope)."
        )

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, with the special tokens that the tokenizer adds."""
        return list(self.tokens.encode(text).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, without special tokens."""
        return self.tokens.decode(ids)

    def token_id(self, text: str) -> int:
        """Return the id of the token that spells `text` exactly.

        Raises:
            NotOneToken: it is several tokens, or none.
        """
        return self.tokens.token_id(text)

    def show_token(self, token: int) -> str:
        """Return a token that cannot be misread: ` Berlin` as `␣Berlin`; its number where no text is known."""
        return str(token) if self.tokenizer is None else self.tokens.show(token)

    @cached_property
    def parameters_of_forward(self) -> frozenset[str]:
        """Names of the arguments that the module's forward pass takes."""
        return frozenset(inspect.signature(self.module.forward).parameters)

    @property
    def weight_hash(self) -> str:
        """SHA-256 over the names, shapes, dtypes and bytes of the weights.

        It is kept until a weight is changed, moved or replaced. A write through `.data` goes unnoticed.
        """
        return self._identity.weights

    @property
    def identity(self) -> str:
        """SHA-256 over all that its numbers depend on: weights, classes, config, anatomy, buffers that no file holds.

        It is what results are stored under; `weight_hash` says on which weights something was fitted.
        """
        return self._identity.network

    def has_weights(self, wanted: str) -> bool:
        """Whether a hash of weights is that of this network, at its precision or at another one.

        Where the first look fails, the weights are read once per precision.
        """
        return self._identity.has_weights(wanted)

    def describe(self) -> dict[str, str]:
        """Return what a record states about a model."""
        return {
            "name": self.name,
            "source": self.provenance.source,
            "revision": self.provenance.revision,
            "weights": self.weight_hash,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": str(self.device),
        }

    def __repr__(self) -> str:
        size = sum(p.numel() for p in self.module.parameters())
        family = self._anatomy.family if self._anatomy else type(self.module).__name__
        blocks = f", {self._anatomy.n_blocks} blocks, d_model {self._anatomy.d_model}" if self._anatomy else ""
        return f"Model({self.name}: {family}, {size / 1e6:.0f} M parameters{blocks}, {self.dtype}, {self.device})"


def _execution_device(module: nn.Module) -> Any:
    """Return the device on which accelerate computes with weights that lie elsewhere."""
    found = (getattr(getattr(part, "_hf_hook", None), "execution_device", None) for part in module.modules())
    return next((device for device in found if device is not None), "cpu")


def refuse_compiled(module: nn.Module, name: str) -> None:
    """Refuse a module that would never call the hooks that reading and editing need.

    Raises:
        CompiledModel: the module, or one inside it, is compiled.
    """
    for path, part in module.named_modules():
        compiled = getattr(part, "_compiled_call_impl", None) is not None or type(part).__name__ == "OptimizedModule"
        if compiled:
            where = f"its module {path!r} is" if path else "it is"
            raise CompiledModel(
                f"{name} cannot be read or edited: {where} compiled, and compiled modules skip inner hooks. "
                "Load it without torch.compile (an OptimizedModule keeps the original as ._orig_mod)."
            )
