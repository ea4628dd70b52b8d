"""What is measured on every fact: total effects under three noises, and indirect effects of restored places."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from rheostat.metrics.statistics import Values
from rheostat.model import Model
from rheostat.studies.causal_tracing.facts import (
    UNNAMED,
    elsewhere,
    names,
    role,
    traced_facts,
    without_subject,
)
from rheostat.studies.known_facts import KnownFact
from rheostat.studies.part import step_params
from rheostat.studies.study import Context
from rheostat.tracing.causal_tracing import CausalTrace, causal_trace, subject_std

N_FACTS, N_FACTS_QUICK = 60, 6
DRAWS, DRAWS_QUICK = 10, 1
CENTRES, CENTRES_QUICK = 10, 5
"""About so many blocks are restored, evenly spread."""
FACTS_OF_A_STEP = 10
STRONG, WEAK = 3.0, 1.0
"""Noise, in standard deviations of subjects' embeddings."""
WHOLE, NO_MLP, NO_ATTENTION = "", "mlp_out", "attn_out"


@dataclass(frozen=True)
class Traced:
    """One model's measurements."""

    effects: pd.DataFrame
    """Rows {fact, relation, noise, kind, severed, block, position, token, role, subject, probability,
    indirect_effect}."""
    totals: pd.DataFrame
    """Rows {fact, relation, prompt, answer, subject_tokens, clean, corrupted, all_back, total, weak, elsewhere}."""
    n_blocks: int
    noise_std: float
    """Of the strong noise."""
    draws: int
    """Of the noise, per fact."""

    @property
    def centres(self) -> list[int]:
        """The blocks that were restored."""
        return sorted(int(block) for block in self.effects["block"].unique())

    def rows(self, *, kind: str = "resid_post", severed: str = WHOLE, noise: float = STRONG) -> pd.DataFrame:
        """Return the rows of `effects` of one kind of restoration."""
        table = self.effects
        return table[(table["kind"] == kind) & (table["severed"] == severed) & (table["noise"] == noise)]

    def indirect(self, role: str, *, kind: str = "resid_post", severed: str = WHOLE, noise: float = STRONG) -> Values:
        """Return indirect effects (fact, centre), the mean over a fact's tokens of this role; NaN where it has none."""
        rows = self.rows(kind=kind, severed=severed, noise=noise)
        here = rows[rows["role"] == role]
        wide = here.pivot_table(index="fact", columns="block", values="indirect_effect", aggfunc="mean")
        return wide.reindex(index=self.totals["fact"], columns=self.centres).to_numpy(dtype=float)


def measure(model: Model, context: Context) -> Traced:
    """Trace every fact of one model; a step holds ten facts."""
    facts = traced_facts(model, N_FACTS_QUICK if context.quick else N_FACTS, seed=context.seed)
    std = subject_std(model, [list(one.tokens) for one in facts], [one.subject for one in facts])
    tracer = _Tracer(model, context, std)
    effects, totals = [], []
    for first in context.progress(range(0, len(facts), FACTS_OF_A_STEP), f"facts of {model.name}"):
        part = dict(enumerate(facts[first : first + FACTS_OF_A_STEP], first))
        settings = {"std": std, "draws": tracer.draws, "centres": tracer.centres}
        params = step_params(model, context, facts=names(list(part.values())), **settings)
        effects.append(context.step(f"effects-{model.name}-{first}", params, partial(tracer.effects, part)))
        totals.append(context.step(f"totals-{model.name}-{first}", params, partial(tracer.totals, part)))
    effects_of_all, totals_of_all = (pd.concat(tables, ignore_index=True) for tables in (effects, totals))
    return Traced(effects_of_all, totals_of_all, model.n_blocks, STRONG * std, tracer.draws)


@dataclass(frozen=True)
class _Tracer:
    """Traces facts of one model."""

    model: Model
    context: Context
    std: float

    @property
    def draws(self) -> int:
        return DRAWS_QUICK if self.context.quick else DRAWS

    @property
    def centres(self) -> tuple[int, ...]:
        return centres(self.model.n_blocks, quick=self.context.quick)

    def effects(self, facts: Mapping[int, KnownFact]) -> pd.DataFrame:
        """Return the indirect effects of every place of every fact."""
        tables = [self._effects(number, known) for number, known in facts.items()]
        return pd.concat(tables, ignore_index=True)

    def totals(self, facts: Mapping[int, KnownFact]) -> pd.DataFrame:
        """Return a row per fact: total effects of the strong noise, the weak one, and the strong one elsewhere."""
        return pd.DataFrame([self._totals(number, known) for number, known in facts.items()])

    def _effects(self, number: int, known: KnownFact) -> pd.DataFrame:
        after, last = tuple(range(known.subject[0], len(known.tokens))), known.subject[-1:]
        asked = [
            (STRONG, "resid_post", WHOLE, after),
            (STRONG, "mlp_out", WHOLE, after),
            (STRONG, "attn_out", WHOLE, after),
            (STRONG, "resid_post", NO_MLP, last),
            (STRONG, "resid_post", NO_ATTENTION, last),
            (WEAK, "resid_post", WHOLE, last),
        ]
        tables = []
        for noise, kind, severed, positions in asked:
            table = self._trace(known, known.subject, noise, kind, severed, positions, self.centres).table
            roles = [role(known, position) for position in table["position"]]
            table = table.assign(fact=number, relation=known.fact.relation, noise=noise, kind=kind)
            tables.append(table.assign(severed=severed, role=roles))
        return pd.concat([*tables, self._unnamed(number, known)], ignore_index=True)

    def _unnamed(self, number: int, known: KnownFact) -> pd.DataFrame:
        """Return what hidden states restore of the model's own answer where the prompt has no subject."""
        unnamed, last = without_subject(self.model, known), known.subject[-1:]
        table = self._trace(unnamed, known.subject, STRONG, positions=last, blocks=self.centres).table
        table = table.assign(fact=number, relation=known.fact.relation, noise=STRONG, kind="resid_post")
        return table.assign(severed=WHOLE, role=UNNAMED)

    def _totals(self, number: int, known: KnownFact) -> dict[str, object]:
        strong = self._trace(known, known.subject, STRONG)
        other = elsewhere(self.model, known, seed=self.context.seed)
        return {
            "fact": number,
            "relation": known.fact.relation,
            "prompt": known.fact.prompt,
            "answer": strong.answer,
            "subject_tokens": len(known.subject),
            "clean": strong.clean,
            "corrupted": strong.corrupted,
            "all_back": strong.all_back,
            "total": strong.total_effect,
            "weak": self._trace(known, known.subject, WEAK).total_effect,
            "elsewhere": self._trace(known, other, STRONG).total_effect,
        }

    def _trace(
        self,
        known: KnownFact,
        noised: Sequence[int],
        noise: float,
        kind: str = "resid_post",
        severed: str = WHOLE,
        positions: Sequence[int] = (0,),
        blocks: Sequence[int] = (),
    ) -> CausalTrace:
        return causal_trace(
            self.model,
            list(known.tokens),
            subject=noised,
            answer=known.answer,
            kind=kind,
            severed=severed or None,
            positions=positions,
            blocks=blocks,
            noise_std=noise * self.std,
            draws=self.draws,
            seed=self.context.seed,
        )


def centres(n_blocks: int, *, quick: bool) -> tuple[int, ...]:
    """Return the blocks that are restored: every one, second or third, so that about ten are (quick: five)."""
    return tuple(range(0, n_blocks, max(1, round(n_blocks / (CENTRES_QUICK if quick else CENTRES)))))
