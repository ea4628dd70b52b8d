"""Which next tokens a vector raises: the paper's example, as a table."""

from collections.abc import Mapping

import pandas as pd

from rheostat.directions.activation_addition import beginning_with
from rheostat.model import Model
from rheostat.studies.actadd.measuring import CURVE_FRACTIONS, blocks_at
from rheostat.studies.actadd.scoring import at_block, beginnings, word_vectors
from rheostat.studies.judging import number
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.record import Section
from rheostat.studies.study import Context

PROMPT, WORD = "I'm excited because I'm going to a", " weddings"
N_SHOWN = 10


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return rows {token, before, after, times, share}: the tokens that contribute most to the divergence.

    `share` is p_after · log(p_after / p_before), in nats; over all tokens it sums to the KL divergence.
    """
    begin, block = beginnings(model)[0], blocks_at(model, CURVE_FRACTIONS)[-1]

    def compute() -> pd.DataFrame:
        prompt = beginning_with(model, PROMPT, begin)
        edit = at_block(word_vectors(model, WORD, begin), block).add()
        before, after = (model.run(prompt, one).logits[0, 0].double().log_softmax(-1) for one in (None, edit))
        share = after.exp() * (after - before)
        top = share.topk(N_SHOWN).indices.tolist()
        rows = [
            {
                "token": model.show_token(token),
                "before": float(before[token].exp()),
                "after": float(after[token].exp()),
                "times": float((after[token] - before[token]).exp()),
                "share": float(share[token]),
            }
            for token in top
        ]
        return pd.DataFrame(rows).assign(block=block, divergence=float(share.sum()))

    params = step_params(model, context, prompt=PROMPT, word=WORD, begin=begin, block=block)
    return context.step(f"next-tokens-{model.name}", params, compute)


def run(tables: Mapping[str, pd.DataFrame]) -> Part:
    """Show the tokens; no claim is judged."""
    said = [
        f"{name}: KL {number(table['divergence'].iloc[0])} nats at block {table['block'].iloc[0]}; most from "
        + ", ".join(f"{row['token']} (×{number(row['times'])})" for row in table.head(4).to_dict("records"))
        for name, table in tables.items()
    ]
    section = Section(
        heading="Next tokens",
        text=f"After “{PROMPT}”, with{WORD} − space at coefficient 1 over the first tokens: one example.\n\n"
        + "\n\n".join(said),
        tables=("next-tokens",),
    )
    return Part((section,), {"next-tokens": joined(tables)})
