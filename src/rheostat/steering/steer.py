"""`steer`: what a model writes plainly and under a plan, side by side, with what a random plan of equal size does."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from rheostat.edit.plan import Plan
from rheostat.engine.batch import as_prompts
from rheostat.engine.binding import edited_sites
from rheostat.engine.generate import generate
from rheostat.engine.receipt import Entry, Receipt
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt
from rheostat.steering.plan import Steering, as_steering_plan, at_strength, random_plan


@dataclass(frozen=True)
class Steered:
    """Texts written plainly and under a plan."""

    prompts: tuple[str, ...]
    plain: tuple[str, ...]
    """Per prompt, what the model writes by itself."""
    steered: tuple[str, ...]
    """Per prompt, what it writes under the plan."""
    control: tuple[str, ...] | None
    """Per prompt, what it writes under random directions of equal length; None: not asked for."""
    plan: Plan
    """As applied, its strength included."""
    receipt: Receipt
    """Of the steered texts alone."""
    control_receipt: Receipt | None
    model: str

    @property
    def relative_dose(self) -> float:
        """Mean of ‖Δ‖ / ‖h‖ over all changed token activations of the steered texts."""
        return _dose(self.receipt)

    @property
    def control_dose(self) -> float | None:
        """The same of the control."""
        return None if self.control_receipt is None else _dose(self.control_receipt)

    def table(self) -> pd.DataFrame:
        """Return one row per prompt: columns prompt, plain, steered and, where there is one, control."""
        columns = {"prompt": self.prompts, "plain": self.plain, "steered": self.steered}
        return pd.DataFrame(columns if self.control is None else {**columns, "control": self.control})

    def doses(self) -> pd.DataFrame:
        """Return one row per edit: columns text (steered or control), edit, tokens, change, relative_change."""
        named = [("steered", self.receipt), ("control", self.control_receipt)]
        return pd.DataFrame(
            [
                {
                    "text": name,
                    "edit": one.edit,
                    "tokens": one.tokens,
                    "change": one.change,
                    "relative_change": one.relative_change,
                }
                for name, receipt in named
                if receipt is not None
                for one in receipt.entries
            ]
        )

    def to_dict(self) -> dict[str, object]:
        """Return JSON-able values."""
        return {
            "model": self.model,
            "rows": self.table().to_dict("records"),
            "edits": [str(edit) for edit in self.plan],
            "relative_dose": self.relative_dose,
            "control_dose": self.control_dose,
            "receipt": self.receipt.to_dict(),
            "control_receipt": None if self.control_receipt is None else self.control_receipt.to_dict(),
        }


def steer(
    network: Network,
    prompts: "Prompt | Sequence[Prompt]",
    steering: Steering,
    *,
    strength: float = 1.0,
    control: bool = True,
    max_new_tokens: int = 40,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
) -> Steered:
    """Continue prompts plainly, under a plan, and under random directions of equal length, as one batch.

    Sampled texts of one prompt share their noise, so that what differs is what the plan did.

    Args:
        network: a language model.
        prompts: one or several texts or lists of token ids.
        steering: a direction, directions (an edit at each of their sites), or a plan (see `steering_plan`).
        strength: factor of every strength in the plan.
        control: write the texts of the random control too.
        max_new_tokens: tokens to write at most.
        temperature: None for greedy decoding.
        top_k: as in `generate`.
        top_p: as in `generate`.
        seed: of the sampling noise and of the random directions.

    Raises:
        BadArgument: the plan holds no edit.
        DirectionNotUsable: a direction was fitted on another network.
        EditNotUsable: a control was asked for, and an edit has no vector of its own.
        SiteNotFound, PositionNotFound, PromptTooLong, EditNotApplied: as `generate` says.
    """
    plan = at_strength(as_steering_plan(network, steering), strength)
    asked = as_prompts(prompts)
    plans = [Plan(), plan, *([random_plan(plan, seed=seed)] if control else [])]
    written = generate(
        network,
        asked * len(plans),
        plans=[each for each in plans for _ in asked],
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
    )
    n = len(asked)
    texts = [written.texts[first : first + n] for first in range(0, n * len(plans), n)]
    receipt, control_receipt = _divided(network, plan, written.receipt, n_plans=len(plans) - 1)
    return Steered(
        written.prompts[:n],
        texts[0],
        texts[1],
        texts[2] if control else None,
        plan,
        receipt,
        control_receipt,
        network.name,
    )


def _divided(network: Network, plan: Plan, receipt: Receipt, *, n_plans: int) -> tuple[Receipt, Receipt | None]:
    """Return the receipts of the plan and of its control: entries stand edit by edit, in each plan after plan."""
    entries: list[list[Entry]] = [[] for _ in range(n_plans)]
    left = iter(receipt.entries)
    for edit in plan:
        n_sites = len(edited_sites(network, edit))
        for own in entries:
            own += [next(left) for _ in range(n_sites)]
    receipts = [Receipt(tuple(own)) for own in entries]
    return receipts[0], receipts[1] if n_plans > 1 else None


def _dose(receipt: Receipt) -> float:
    counted = [one for one in receipt.entries if one.relative_change == one.relative_change]
    tokens = sum(one.tokens for one in counted)
    return sum(one.relative_change * one.tokens for one in counted) / tokens if tokens else float("nan")
