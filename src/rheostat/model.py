"""`Model`: a loaded network with verbs. Every verb calls one public function of the room it belongs to."""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from rheostat.capture.activations import Activations
from rheostat.directions.directions import Directions
from rheostat.directions.fit import SITES, fit_directions
from rheostat.directions.pairs import PairLike
from rheostat.edit.plan import PlanLike
from rheostat.engine.batch import PaddingSide
from rheostat.engine.cells import Cell
from rheostat.engine.editing import OpenReceipt, editing
from rheostat.engine.explain import SweepCost, explain_sweep
from rheostat.engine.forward import Output, capture, run
from rheostat.engine.generate import Generation, generate
from rheostat.engine.identities import IdentityCheck, check_identities, check_prompt
from rheostat.engine.plain import PlainOutput, run_plain
from rheostat.engine.plain_sweep import MAX_ROWS
from rheostat.engine.stream import CaptureCost, capture_to_file, explain_capture
from rheostat.engine.sweep import MAX_TOKEN_ROWS
from rheostat.engine.watch import Watch
from rheostat.lenses.logit import LogitLens
from rheostat.lenses.reading import POINTS, Reading, read
from rheostat.metrics.metric import Metric
from rheostat.models.anatomy import Anatomy
from rheostat.models.load import open_network
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt
from rheostat.sites.positions import PositionsLike
from rheostat.sites.site import SiteLike, all_sites, site_table
from rheostat.sweeps.executor import ExecutorName
from rheostat.sweeps.generations import MAX_TOKEN_ROWS as MAX_WRITTEN_TOKEN_ROWS
from rheostat.sweeps.generations import OfText, sweep_generations
from rheostat.sweeps.plain import OfOutput, sweep_plain
from rheostat.sweeps.sweep import sweep


def load(
    source: "str | os.PathLike[str] | nn.Module",
    *,
    tokenizer: Any = None,
    anatomy: Anatomy | None = None,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
    attention: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> "Model":
    """Load a network, unchanged, and find its parts.

    Args:
        source: a built-in name (`rheostat models` lists them), a hub name with its owner, a folder, a `.gguf` file, a
            loaded transformers model, or any `torch.nn.Module`.
        tokenizer: for a loaded model; otherwise the one beside the weights.
        anatomy: where the parts are, for an architecture that rheostat does not know.
        dtype: `float64`, `float32`, `bfloat16` or `float16`; None: as stored (built-in models: float32).
        device: where to put the weights; None: the CPU.
        attention: `sdpa` or `eager`; reading `pattern` needs `eager`.
        revision: of a hub model.
        trust_remote_code: run code that comes with the model. Never by default.

    Raises:
        ModelNotFound, FileNotUsable, DamagedFile, DownloadFailed, CacheNotWritable, UnknownArchitecture, CompiledModel
    """
    network = open_network(
        source,
        tokenizer=tokenizer,
        anatomy=anatomy,
        dtype=dtype,
        device=device,
        attention=attention,
        revision=revision,
        trust_remote_code=trust_remote_code,
    )
    return Model(
        network.module,
        name=network.name,
        tokenizer=network.tokenizer,
        anatomy=network.anatomy,
        provenance=network.provenance,
    )


class Model(Network):
    """A network that can be read, edited and run. Made by `load`."""

    def run(
        self,
        prompts: "Prompt | Sequence[Prompt]",
        edits: PlanLike = None,
        *,
        plans: Sequence[PlanLike] | None = None,
        capture: "SiteLike | Sequence[SiteLike]" = (),
        capture_at: PositionsLike = "last",
        logits_at: PositionsLike = "last",
        padding_side: PaddingSide = "left",
        gradients: bool = False,
    ) -> Output:
        """Run prompts with edits; see `rheostat.engine.forward.run`."""
        return run(
            self,
            prompts,
            edits=edits,
            plans=plans,
            capture=capture,
            capture_at=capture_at,
            logits_at=logits_at,
            padding_side=padding_side,
            gradients=gradients,
        )

    def run_plain(
        self,
        inputs: Tensor,
        edits: PlanLike = None,
        *,
        plans: Sequence[PlanLike] | None = None,
        capture: "SiteLike | Sequence[SiteLike]" = (),
        gradients: bool = False,
    ) -> PlainOutput:
        """Run a batch through a module that is no language model; see `rheostat.engine.plain.run_plain`."""
        return run_plain(self, inputs, edits=edits, plans=plans, capture=capture, gradients=gradients)

    def capture(
        self,
        prompts: "Prompt | Sequence[Prompt]",
        sites: "SiteLike | Sequence[SiteLike]",
        positions: PositionsLike = "all",
        *,
        edits: PlanLike = None,
        plans: Sequence[PlanLike] | None = None,
        padding_side: PaddingSide = "left",
        gradients: bool = False,
    ) -> Activations:
        """Read activations; the pass ends after the last site. See `rheostat.engine.forward.capture`."""
        return capture(
            self,
            prompts,
            sites,
            positions=positions,
            edits=edits,
            plans=plans,
            padding_side=padding_side,
            gradients=gradients,
        )

    def capture_to_file(
        self,
        prompts: Sequence[Prompt],
        sites: "SiteLike | Sequence[SiteLike]",
        path: str | Path,
        positions: PositionsLike = "all",
        *,
        batch_size: int = 32,
        overwrite: bool = False,
    ) -> CaptureCost:
        """Stream activations of many prompts into a safetensors file; see `rheostat.engine.stream.capture_to_file`."""
        return capture_to_file(
            self, prompts, sites, path, positions=positions, batch_size=batch_size, overwrite=overwrite
        )

    def explain(
        self,
        prompts: "Prompt | Sequence[Prompt]",
        sites: "SiteLike | Sequence[SiteLike]",
        positions: PositionsLike = "all",
    ) -> CaptureCost:
        """State what a capture would store and compute, without running it."""
        return explain_capture(self, prompts, sites, positions=positions)

    def sweep(
        self,
        prompts: "Prompt | Sequence[Prompt]",
        cells: "Sequence[Cell | PlanLike]",
        metrics: "Metric | Sequence[Metric]",
        *,
        max_token_rows: int = MAX_TOKEN_ROWS,
        store: str | Path | None = None,
        name: str = "sweep",
        executor: ExecutorName = "local",
        address: str | None = None,
        n_workers: int | None = None,
        progress: bool | None = None,
    ) -> pd.DataFrame:
        """Measure many plans on prompts, sharing their work; see `rheostat.sweeps.sweep.sweep`."""
        return sweep(
            self,
            prompts,
            cells,
            metrics,
            max_token_rows=max_token_rows,
            store=store,
            name=name,
            executor=executor,
            address=address,
            n_workers=n_workers,
            progress=progress,
        )

    def explain_sweep(
        self,
        prompts: "Prompt | Sequence[Prompt]",
        cells: "Sequence[Cell | PlanLike]",
        *,
        max_token_rows: int = MAX_TOKEN_ROWS,
    ) -> SweepCost:
        """State what a sweep would compute; see `rheostat.engine.explain.explain_sweep`."""
        return explain_sweep(self, prompts, cells, max_token_rows=max_token_rows)

    def sweep_plain(
        self,
        inputs: Tensor,
        cells: "Sequence[Cell | PlanLike]",
        metrics: Mapping[str, OfOutput],
        *,
        max_rows: int = MAX_ROWS,
    ) -> pd.DataFrame:
        """Measure many plans on inputs of a plain module; see `rheostat.sweeps.plain.sweep_plain`."""
        return sweep_plain(self, inputs, cells, metrics, max_rows=max_rows)

    def sweep_generations(
        self,
        prompts: "Prompt | Sequence[Prompt]",
        cells: "Sequence[Cell | PlanLike]",
        metrics: Mapping[str, OfText] | None = None,
        *,
        draws: int = 1,
        max_new_tokens: int = 20,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        max_token_rows: int = MAX_WRITTEN_TOKEN_ROWS,
        store: str | Path | None = None,
        name: str = "generations",
    ) -> pd.DataFrame:
        """Continue prompts under many plans; see `rheostat.sweeps.generations.sweep_generations`."""
        return sweep_generations(
            self,
            prompts,
            cells,
            metrics,
            draws=draws,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            max_token_rows=max_token_rows,
            store=store,
            name=name,
        )

    def generate(
        self,
        prompts: "Prompt | Sequence[Prompt]",
        edits: PlanLike = None,
        *,
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
        """Continue prompts with edits; see `rheostat.engine.generate.generate`."""
        return generate(
            self,
            prompts,
            edits=edits,
            plans=plans,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            row_ids=row_ids,
            use_cache=use_cache,
            watch=watch,
        )

    def editing(
        self,
        edits: PlanLike = None,
        *,
        plans: Sequence[PlanLike] | None = None,
        prompt_lengths: Sequence[int] | None = None,
    ) -> AbstractContextManager[OpenReceipt]:
        """Apply edits to your own calls of `model.module` inside a `with` block; see `rheostat.engine.editing`."""
        return editing(self, edits, plans=plans, prompt_lengths=prompt_lengths)

    def lens(
        self,
        prompt: Prompt,
        *,
        positions: PositionsLike = "last",
        points: Sequence[str] = POINTS,
        k: int = 10,
        track: Sequence[str] = (),
        edits: PlanLike = None,
    ) -> Reading:
        """Read a prompt with the logit lens at four points of every block; see `rheostat.lenses.reading.read`."""
        return read(LogitLens(self), prompt, positions=positions, points=points, k=k, track=track, edits=edits)

    def fit_directions(
        self,
        pairs: Iterable[PairLike],
        *,
        concept: str = "concept",
        method: str = "mean_difference",
        sites: "SiteLike | Sequence[SiteLike]" = SITES,
        positions: PositionsLike = "last",
        held_out: float = 0.25,
        seed: int = 0,
        shuffles: int = 10,
        batch_size: int = 32,
    ) -> Directions:
        """Fit a direction per site from contrast pairs; see `rheostat.directions.fit.fit_directions`."""
        return fit_directions(
            self,
            pairs,
            concept=concept,
            method=method,
            sites=sites,
            positions=positions,
            held_out=held_out,
            seed=seed,
            shuffles=shuffles,
            batch_size=batch_size,
        )

    def sites(self) -> list[str]:
        """Return the names of all sites, in the order of computation."""
        return [str(site) for site in all_sites(self)]

    def site_table(self, *, every: bool = False) -> pd.DataFrame:
        """Return sites with axes and shapes, one row per kind, or with `every` one per site."""
        return site_table(self, every=every)

    def check(self, prompt: Prompt | None = None) -> IdentityCheck:
        """Verify the identities of the anatomy; see `rheostat.engine.identities.check_identities`."""
        return check_identities(self, check_prompt(self) if prompt is None else prompt)
