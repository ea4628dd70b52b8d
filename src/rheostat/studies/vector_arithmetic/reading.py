"""Ranks of named tokens at the last token of prompts, block by block, under the logit lens."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch

from rheostat.lenses.logit import LogitLens
from rheostat.metrics.statistics import Values
from rheostat.model import Model

ROWS = 16
"""Prompts captured at a time."""
POST, MID, ATTENTION, MLP = "resid_post", "resid_mid", "attn_out", "mlp_out"


def lens_ranks(
    model: Model, prompts: Sequence[str], named: Sequence[Mapping[str, Sequence[int]]], kinds: Sequence[str]
) -> pd.DataFrame:
    """Return a row per prompt, kind of site and block.

    Args:
        model: with a tokenizer.
        prompts: read at their last token.
        named: per prompt, name → tokens; all prompts have the same names.
        kinds: of sites, such as `resid_post`.

    Returns:
        Columns prompt (its number), kind, block, top (the likeliest token), and per name the best rank of its tokens, 1
        the likeliest.
    """
    lens, rows = LogitLens(model), []
    for start in range(0, len(prompts), ROWS):
        chunk = list(prompts[start : start + ROWS])
        found = model.capture(chunk, [f"blocks.*.{kind}" for kind in kinds], "last")
        for number in range(len(chunk)):
            tokens = named[start + number]
            for kind in kinds:
                states = torch.stack([found[f"blocks.{block}.{kind}"][number, 0] for block in range(model.n_blocks)])
                with torch.no_grad():
                    logits = lens.logits(states)
                best = {name: logits[:, list(ids)].amax(-1) for name, ids in tokens.items()}
                ranks = {name: ((logits > one[:, None]).sum(-1) + 1).tolist() for name, one in best.items()}
                shared = {"prompt": start + number, "kind": kind, "block": range(model.n_blocks)}
                rows.append(pd.DataFrame({**shared, "top": logits.argmax(-1).tolist(), **ranks}))
    return pd.concat(rows, ignore_index=True)


def by_block(table: pd.DataFrame, name: str, kind: str = POST) -> Values:
    """Return the ranks of a name at one kind of site, (prompt, block)."""
    chosen = table[table["kind"] == kind]
    wide = chosen.pivot(index="prompt", columns="block", values=name).sort_index()
    found: Values = wide.to_numpy(dtype=float)
    return found
