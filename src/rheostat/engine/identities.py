"""What every family must satisfy: the residual stream adds up, blocks follow one another, the lens ends at logits."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from rheostat.edit.arithmetic import Add
from rheostat.engine.forward import run
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt


@dataclass(frozen=True)
class IdentityCheck:
    """The largest error of each identity, relative to the largest magnitude of what it compares."""

    table: pd.DataFrame
    """Columns identity, block (of the largest error; −1: none), error (absolute), relative_error."""
    tolerance: float

    @property
    def worst(self) -> float:
        """Largest relative error."""
        return float(self.table["relative_error"].max())

    @property
    def holds(self) -> bool:
        """Whether every identity holds within the tolerance."""
        return self.worst <= self.tolerance


def check_identities(network: Network, prompt: Prompt) -> IdentityCheck:
    """Verify the identities of the anatomy on one prompt; the tolerance is 1e-9 in float64, 1e-5 in float32, else 2e-2.

    - `resid_pre + attn_out + mlp_out = resid_post`
    - the next block's `resid_pre` is this block's `resid_post`
    - `resid_mid = resid_pre + attn_out`, where there is one, and a vector added there reaches the MLP and the skip path
    - the final norm and the unembedding of the last `resid_post` give the model's logits
    """
    kinds = [
        kind for kind in ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post") if kind in network.body.taps
    ]
    sites = [f"blocks.*.{kind}" for kind in kinds]
    output = run(network, prompt, capture=[*sites, "final"], capture_at="all", logits_at="all")
    assert output.activations is not None
    seen = {kind: _stack(network, output.activations, kind) for kind in kinds}
    rows = [
        _compare(
            "resid_pre + attn_out + mlp_out = resid_post",
            seen["resid_pre"] + seen["attn_out"] + seen["mlp_out"],
            seen["resid_post"],
        ),
        _compare("next resid_pre = resid_post", seen["resid_pre"][1:], seen["resid_post"][:-1]),
    ]
    if "resid_mid" in seen:
        rows.append(
            _compare("resid_mid = resid_pre + attn_out", seen["resid_pre"] + seen["attn_out"], seen["resid_mid"])
        )
        rows.append(_edited_mid(network, prompt, seen))
    with torch.no_grad():
        logits = network.unembed(seen["resid_post"][-1])
    rows.append(_compare("lens at the last resid_post = logits", logits[None], output.logits[None]))
    tolerance = {torch.float64: 1e-9, torch.float32: 1e-5}.get(network.dtype, 2e-2)
    return IdentityCheck(pd.DataFrame(rows), tolerance)


def _edited_mid(network: Network, prompt: Prompt, seen: dict[str, Tensor]) -> dict[str, object]:
    """Add a vector at each block's resid_mid: it must appear in that block's output beside what the MLP makes of it."""
    got, wanted = [], []
    for block in range(network.n_blocks):
        vector = seen["resid_mid"][block, 0, -1] * 0.5
        site = f"blocks.{block}."
        output = run(
            network,
            prompt,
            edits=Add(site + "resid_mid", vector),
            capture=[site + "mlp_out", site + "resid_post"],
            capture_at="all",
        )
        assert output.activations is not None
        got.append(output.activations[site + "resid_post"])
        wanted.append(seen["resid_mid"][block] + vector + output.activations[site + "mlp_out"])
        if torch.equal(output.activations[site + "mlp_out"], seen["mlp_out"][block]):
            wanted[-1] = torch.full_like(got[-1], float("inf"))
    return _compare("an edit at resid_mid reaches MLP and skip path", torch.stack(got), torch.stack(wanted))


def _stack(network: Network, activations: Mapping[str, Tensor], kind: str) -> Tensor:
    return torch.stack([activations[f"blocks.{block}.{kind}"] for block in range(network.n_blocks)])


def _compare(identity: str, left: Tensor, right: Tensor) -> dict[str, object]:
    """Compare (block, …) tensors, each block against its own largest magnitude."""
    if not len(left):
        return {"identity": identity, "block": -1, "error": 0.0, "relative_error": 0.0}
    error = (left - right).abs().flatten(1).amax(1)
    relative = error / right.abs().flatten(1).amax(1)
    block = int(relative.argmax())
    return {
        "identity": identity,
        "block": block,
        "error": float(error[block]),
        "relative_error": float(relative[block]),
    }


def check_prompt(network: Network) -> Prompt:
    """Return a prompt for a check: a sentence, or token ids where there is no tokenizer."""
    return "The capital of Germany is" if network.tokenizer is not None else list(range(5, 15))
