"""Generation under edits: batched, cached, greedy or sampled so that a row's text does not depend on its neighbours."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.edit.plan import PlanLike
from rheostat.engine.batch import Batch, as_prompts, build_batch
from rheostat.engine.clock import Clock
from rheostat.engine.forward import bind, passing
from rheostat.engine.receipt import Receipt
from rheostat.engine.taps import attach_clock
from rheostat.engine.watch import StopWriting, Watch, Watcher
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt


@dataclass(frozen=True)
class Generation:
    """What the model wrote."""

    texts: tuple[str, ...]
    """Per prompt, the new text."""
    ids: tuple[tuple[int, ...], ...]
    """Per prompt, the new tokens, with the end-of-text token where the model wrote one."""
    prompts: tuple[str, ...]
    receipt: Receipt = field(default_factory=Receipt)
    ended: tuple[int, ...] = ()
    """The prompts, by number, whose text a watch ended."""
    block_tokens: int | None = None
    """Tokens × blocks that were computed, pads and finished rows of the batch included; None where nobody watched."""

    @property
    def text(self) -> str:
        """The new text of a single prompt.

        Raises:
            BadArgument: there were several prompts.
        """
        if len(self.texts) != 1:
            raise BadArgument(f"there are {len(self.texts)} texts; use .texts.")
        return self.texts[0]

    @property
    def full_texts(self) -> tuple[str, ...]:
        """Per prompt, the prompt followed by the new text."""
        return tuple(prompt + text for prompt, text in zip(self.prompts, self.texts, strict=True))


def generate(
    network: Network,
    prompts: "Prompt | Sequence[Prompt]",
    *,
    edits: PlanLike = None,
    plans: Sequence[PlanLike] | None = None,
    max_new_tokens: int = 20,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    row_ids: Sequence[int] | None = None,
    use_cache: bool = True,
    watch: Watch | None = None,
) -> Generation:
    """Continue prompts, applying edits at every step that their positions reach.

    Args:
        network: the loaded network.
        prompts: one or several texts or lists of token ids; they run as one batch.
        edits: one plan for every row.
        plans: one plan per row, instead of `edits`.
        max_new_tokens: tokens to write at most.
        temperature: None for greedy decoding; otherwise sampling, drawn by Gumbel noise that is keyed by (seed, row id,
            step), so that a row's text is the same alone and in any batch.
        top_k: sample among the k likeliest tokens.
        top_p: sample among the likeliest tokens that together reach this probability.
        seed: of the sampling noise.
        row_ids: the rows' own numbers in the noise key; by default every row has number 0, so that equal prompts under
            equal plans give equal texts. Give range(n) for n different samples.
        use_cache: keep keys and values between steps; the result does not depend on it.
        watch: who sees each row's newest token, and may end the row there; its text is then the beginning of the one
            that it would have become. Once every row has ended, the pass under way is left at once.

    Raises:
        SiteNotFound, PositionNotFound, EditNotUsable, PromptTooLong: before anything is registered on the module.
        EditNotApplied: an edit reached no token; where a watch ended texts, that may be why.
    """
    rows = [network.row(prompt) for prompt in as_prompts(prompts, network)]
    network.check_length(max(map(len, rows)), generated=_at_least_one(max_new_tokens))
    network.check_together([len(row) for row in rows], generated=max_new_tokens)
    program = bind(network, rows, edits, plans, generating=max_new_tokens > 1)
    sampler = sampler_of(temperature, top_k, top_p, seed, row_ids, len(rows))
    batch = build_batch(network, rows, padding_side="left")
    watcher = Watcher(network, watch, batch.lengths)
    stop_ids = stop_ids_of(network)
    with passing(network, gradients=False) as stack:
        _set_aside_defaults(stack, network)
        if program.sites or watcher.sites:
            clock = Clock(batch.lengths, stop_ids)
            attach_clock(stack, network.module, clock.read)
            attach_clock(stack, network.module, lambda *_: watcher.count(clock))
            program.attach(stack, clock)
            watcher.attach(stack, clock)
        config = _config(network, stop_ids, max_new_tokens, use_cache=use_cache)
        written = _write(network, batch, config, sampler, watcher)
    ids = tuple(_until_stop(row, stop_ids)[: watcher.ended.get(n)] for n, row in enumerate(written.tolist()))
    texts = tuple(network.decode(row) if network.tokenizer is not None else "" for row in ids)
    shown = tuple(row.text if row.text is not None else "" for row in rows)
    work = watcher.block_tokens if watch is not None else None
    return Generation(texts, ids, shown, program.receipt(), tuple(sorted(watcher.ended)), work)


def _write(
    network: Network, batch: Batch, config: Any, sampler: "list[KeyedGumbel] | None", watcher: Watcher
) -> Int[Tensor, "batch column"]:
    """Return the new tokens, padded where a row ended before others."""
    module: Any = network.module
    try:
        whole: Tensor = module.generate(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            generation_config=config,
            logits_processor=sampler,
            stopping_criteria=[watcher] if watcher.sites else None,
        )
    except StopWriting:
        return watcher.written()
    return whole[:, batch.n_columns :]


class KeyedGumbel:
    """A logits processor that turns the greedy choice into a sample: logits / temperature + Gumbel noise.

    The noise of each row is a function of (seed, the row's id, the step) alone.
    """

    def __init__(
        self, *, temperature: float, top_k: int | None, top_p: float | None, seed: int, row_ids: Sequence[int]
    ) -> None:
        self._temperature = temperature
        self._top_k = top_k
        self._top_p = top_p
        self._seed = seed
        self._row_ids = tuple(row_ids)
        self._step = 0

    def __call__(
        self, input_ids: Int[Tensor, "batch column"], scores: Float[Tensor, "batch d_vocab"]
    ) -> Float[Tensor, "batch d_vocab"]:
        """Return scores whose maximum is the sampled token."""
        scaled = self._keep_likeliest(scores.float() / self._temperature)
        noise = torch.stack([self._noise(row_id, scores.shape[-1]) for row_id in self._row_ids]).to(scores.device)
        self._step += 1
        return scaled + noise

    def _noise(self, row_id: int, n: int) -> Tensor:
        generator = torch.Generator().manual_seed(_key(self._seed, row_id, self._step))
        uniform = torch.rand(n, generator=generator, dtype=torch.float64).clamp(min=1e-300)
        return -torch.log(-torch.log(uniform)).float()

    def _keep_likeliest(self, scores: Tensor) -> Tensor:
        if self._top_k is not None:
            lowest = scores.topk(min(self._top_k, scores.shape[-1])).values[:, -1:]
            scores = scores.masked_fill(scores < lowest, float("-inf"))
        if self._top_p is not None:
            ordered, order = scores.sort(descending=True)
            before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
            drop = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, order, before >= self._top_p)
            scores = scores.masked_fill(drop, float("-inf"))
        return scores


def _key(*parts: int) -> int:
    """Mix integers into one 63-bit seed (FNV-1a over their bytes), whose low 32 bits torch's generator reads."""
    value = 0xCBF29CE484222325
    for part in parts:
        for byte in int(part).to_bytes(16, "little", signed=True):
            value = ((value ^ byte) * 0x100000001B3) % 2**64
    return value >> 1


def sampler_of(
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    seed: int,
    row_ids: Sequence[int] | None,
    n_rows: int,
) -> list[KeyedGumbel] | None:
    """Return what makes samples of greedy choices; None for greedy decoding.

    Raises:
        BadArgument: a setting outside its range, or one of sampling without a temperature.
    """
    if temperature is None:
        if top_k is not None or top_p is not None:
            raise BadArgument("top_k and top_p belong to sampling; give a temperature too.")
        return None
    if not temperature > 0:
        raise BadArgument(f"temperature={temperature}: a positive number, or None for greedy decoding.")
    if top_k is not None and top_k < 1:
        raise BadArgument(f"top_k={top_k}: at least 1.")
    if top_p is not None and not 0 < top_p <= 1:
        raise BadArgument(f"top_p={top_p}: above 0, at most 1.")
    ids = tuple(row_ids) if row_ids is not None else (0,) * n_rows
    for number in (seed, *ids):
        if not isinstance(number, int) or abs(number) >= 2**63:
            raise BadArgument(f"seed and row_ids are integers of at most 63 bits; given {number!r}.")
    if len(ids) != n_rows:
        raise BadArgument(f"{len(ids)} row_ids for {n_rows} prompts.")
    return [KeyedGumbel(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, row_ids=ids)]


def _config(network: Network, stop_ids: Sequence[int], max_new_tokens: int, *, use_cache: bool) -> Any:
    from transformers import GenerationConfig

    pad = getattr(network.module.config, "pad_token_id", None)
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        use_cache=use_cache,
        eos_token_id=list(stop_ids) or None,
        pad_token_id=pad if pad is not None else (stop_ids[0] if stop_ids else 0),
        disable_compile=True,
    )


def _set_aside_defaults(stack: ExitStack, network: Network) -> None:
    """Put the model's own generation settings aside until `stack` closes.

    transformers fills what a `GenerationConfig` leaves open from them: a repetition penalty or a list of suppressed
    tokens that came with a checkpoint would change what is written, unasked.
    """
    from transformers import GenerationConfig

    module: Any = network.module
    stack.callback(setattr, module, "generation_config", module.generation_config)
    module.generation_config = GenerationConfig()


def stop_ids_of(network: Network) -> tuple[int, ...]:
    """Return the tokens that end a text.

    Raises:
        BadArgument: the network is no causal language model of transformers.
    """
    config: Any = getattr(network.module, "generation_config", None)
    if config is None:
        raise BadArgument(f"{network.name} cannot generate: it is no causal language model of transformers.")
    ids = config.eos_token_id
    if ids is None:
        return ()
    return tuple(ids) if isinstance(ids, list | tuple) else (int(ids),)


def _until_stop(ids: list[int], stop_ids: Sequence[int]) -> tuple[int, ...]:
    for index, token in enumerate(ids):
        if token in stop_ids:
            return tuple(ids[: index + 1])
    return tuple(ids)


def _at_least_one(max_new_tokens: int) -> int:
    if max_new_tokens < 1:
        raise BadArgument(f"max_new_tokens={max_new_tokens}: at least 1.")
    return max_new_tokens
