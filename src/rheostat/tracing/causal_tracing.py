"""Causal tracing: drown a prompt's subject in noise, put one clean activation back, see how much of the answer returns.

Meng, Bau, Andonian and Belinkov 2022, Locating and Editing Factual Associations in GPT (arXiv:2202.05262). With P the
probability of the answer, averaged over the draws of the noise:

- total effect: P of the clean run − P of the noised run;
- indirect effect of a place: P of the noised run with the clean activation at this place − P of the noised run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch

from rheostat.base.errors import BadArgument, EditNotUsable
from rheostat.base.shapes import Grid
from rheostat.edit.arithmetic import Add
from rheostat.edit.edit import Edit
from rheostat.edit.noise import keyed_noise
from rheostat.edit.patching import Replace
from rheostat.engine.cells import Cell
from rheostat.engine.forward import capture, run
from rheostat.metrics.measure import measure
from rheostat.metrics.metric import token_id
from rheostat.metrics.tokens import Probability
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt
from rheostat.sites.positions import Positions, PositionsLike
from rheostat.sites.site import Site, resolve
from rheostat.sweeps.sweep import sweep
from rheostat.tracing.restoration import Restoration

NOISE_MULTIPLE = 3.0
"""Standard deviation of the noise, in those of subjects' embeddings."""
_NOISED, _ALL_BACK = (-1, -1), (-1, -2)
"""Labels of the cells that put back nothing, and everything."""


@dataclass(frozen=True)
class CausalTrace:
    """How much of the answer each place brings back."""

    table: pd.DataFrame
    """Rows {block, position, token, subject, probability, indirect_effect}; block is the centre of the window, subject
    says whether the token was noised."""
    clean: float
    """Probability of the answer in the clean run."""
    corrupted: float
    """The same under the noise, mean over the draws."""
    all_back: float
    """The same with the whole stream put back behind the noise: beyond float noise that of the clean run."""
    kind: str
    """Of the sites that were put back."""
    window: int
    """Blocks put back at a time."""
    severed: str | None
    noise_std: float
    """Standard deviation of the noise."""
    draws: int
    model: str
    prompt: str
    answer: str

    @property
    def total_effect(self) -> float:
        """What the noise takes from the answer's probability."""
        return self.clean - self.corrupted

    def grid(self) -> Grid:
        """Return tokens × blocks, the noised tokens starred, coloured by the answer's probability."""
        cells = self.table.sort_values(["position", "block"], kind="stable").reset_index(drop=True)
        names = cells["position"].astype(str) + " " + cells["token"] + cells["subject"].map({True: "*", False: ""})
        what = self.kind if self.window == 1 else f"{self.kind} of {self.window} blocks"
        severed = "" if self.severed is None else f", its later {self.severed} kept noised"
        return Grid(
            name=f"trace-{self.kind}" + ("" if self.severed is None else f"-without-{self.severed}"),
            title=f"Putting back {what} of one token{severed}, {self.model}",
            x_label="block" if self.window == 1 else "block (centre of the window)",
            y_label="token (*: noised)",
            value_label=f"probability of {self.answer}",
            table=pd.DataFrame({"x": cells["block"], "y": names, "value": cells["probability"]}),
            note=f"“{self.prompt}”: {self.answer} has the probability {self.clean:.3f} in the clean run and "
            f"{self.corrupted:.3f} under noise of standard deviation {self.noise_std:.3g} ({self.draws} draws). "
            "n = 1 prompt.",
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values: every field and the total effect, the table as its rows."""
        fields = {name: value for name, value in vars(self).items() if name != "table"}
        return {**fields, "total_effect": self.total_effect, "table": self.table.to_dict("records")}


def causal_trace(
    network: Network,
    prompt: Prompt,
    *,
    subject: PositionsLike,
    answer: str | int | None = None,
    kind: str = "resid_post",
    window: int | None = None,
    severed: str | None = None,
    positions: PositionsLike = "all",
    blocks: Sequence[int] | None = None,
    noise_std: float | None = None,
    noise_at: str = "embed",
    draws: int = 10,
    seed: int = 0,
) -> CausalTrace:
    """Trace which activations carry an answer past noise on the subject.

    Every place is measured under the same draws; a token's noise depends on (seed, site, token, draw) alone.

    Args:
        network: the loaded network.
        prompt: a text or token ids, ending where the answer begins.
        subject: tokens that get the noise, such as `"Eiffel Tower"`.
        answer: one token; None: the model's own first choice.
        kind: what is put back: `resid_pre` (at block 0 the embedding), `resid_post`, `attn_out`, `mlp_out`, …
        window: blocks put back together around each centre (see `block_window`); None: one, and of `attn_out` and
            `mlp_out` the paper's 10 of 48, scaled to this depth.
        severed: `attn_out` or `mlp_out`: what these add in all blocks after the centre, at the token that is put back,
            keeps its value of the noised run. That the paper freezes them at this token is our reading.
        positions: tokens to put back, one at a time.
        blocks: centres; None: all; empty: only the total effect.
        noise_std: standard deviation of the noise; None: 3 × that of this subject's activations. The paper takes 3 ×
            that of many subjects' (`subject_std`).
        noise_at: the site that gets the noise.
        draws: of the noise.
        seed: of the noise.

    Raises:
        BadArgument: there are no draws, the standard deviation is negative, the window is below 1 or its
            centre no block, or the severed sublayer is none or the one put back.
        EditNotUsable: `noise_at` is no single site of vectors.
        SiteNotFound, SiteNotOffered, PositionNotFound, NotOneToken
    """
    row, site = network.row(prompt), _vector_site(network, noise_at)
    noised = Positions.parse(subject).in_prompt(row)
    std = NOISE_MULTIPLE * subject_std(network, [prompt], [subject], site=noise_at) if noise_std is None else noise_std
    noises = _noises(network, site, noised, std=std, draws=draws, seed=seed)
    back = Restoration.of(network, prompt, noises, kind=kind, window=window, severed=severed)
    centres = range(network.n_blocks) if blocks is None else blocks
    everything = _everything(network, prompt, site)
    cells = []
    for draw, noise in enumerate(noises):
        cells += [_cell((), _NOISED, noise), _cell([everything], _ALL_BACK, noise)]
        for block in centres:
            for position in Positions.parse(positions).in_prompt(row):
                cells.append(_cell(back.edits(draw, block, position), (block, position), noise))
    plain = run(network, [prompt])
    token = int(plain.logits[0, -1].argmax()) if answer is None else token_id(network, answer)
    metric = Probability(token)
    means = sweep(network, [prompt], cells, metric).groupby(["block", "position"])[metric.column].mean()
    corrupted, all_back = float(means.loc[_NOISED]), float(means.loc[_ALL_BACK])
    table = means.drop([_NOISED, _ALL_BACK]).rename("probability").reset_index()
    table.insert(2, "token", [network.show_token(row.ids[one]) for one in table["position"]])
    table.insert(3, "subject", table["position"].isin(noised))
    return CausalTrace(
        table=table.assign(indirect_effect=table["probability"] - corrupted),
        clean=measure(metric, network, [prompt], plain).values[0],
        corrupted=corrupted,
        all_back=all_back,
        kind=kind,
        window=back.window,
        severed=severed,
        noise_std=std,
        draws=draws,
        model=network.name,
        prompt=row.shown,
        answer=network.show_token(token),
    )


def subject_std(
    network: Network, prompts: Sequence[Prompt], subjects: Sequence[PositionsLike], *, site: str = "embed"
) -> float:
    """Return the standard deviation over all elements of subjects' activations, by default of their embeddings.

    Args:
        network: the loaded network.
        prompts: prompts of one or many facts.
        subjects: per prompt, the subject's tokens.
        site: where it is measured.

    Raises:
        SiteNotFound, PositionNotFound
    """
    values = [
        capture(network, [prompt], site, positions=subject)[site].flatten()
        for prompt, subject in zip(prompts, subjects, strict=True)
    ]
    return float(torch.cat(values).double().std())


def _noises(network: Network, site: Site, tokens: Sequence[int], *, std: float, draws: int, seed: int) -> list[Edit]:
    """Return one edit per draw."""
    if draws < 1 or not 0 <= std < float("inf"):
        raise BadArgument(f"{draws} draws of noise of standard deviation {std:g}: give at least one draw, 0 or above.")
    (width,) = network.body.shape(site.kind)
    return [
        Add(str(site), std * keyed_noise(str(site), tokens, width, seed=seed, draw=draw), positions=list(tokens))
        for draw in range(draws)
    ]


def _vector_site(network: Network, name: str) -> Site:
    sites = resolve(network, name)
    if len(sites) != 1 or sites[0].kind == "module" or len(network.body.shape(sites[0].kind)) != 1:
        raise EditNotUsable(
            f"noise_at={name!r}: noise goes to one site that holds a vector per token, such as 'embed'."
        )
    return sites[0]


def _everything(network: Network, prompt: Prompt, noised: Site) -> Edit:
    """Return the edit that puts back the whole stream behind the block that the noise enters."""
    site = f"blocks.{noised.block or 0}.resid_post"
    return Replace(site, capture(network, [prompt], site))


def _cell(edits: Sequence[Edit], place: tuple[int, int], noise: Edit) -> Cell:
    return Cell(list(edits), {"block": place[0], "position": place[1]}, base=noise)
