"""The main job in one go: read a prompt at every block, find where a concept is read, edit exactly there, and compare.

The control is the same place given random vectors of the same size, beside the map of all single replacements.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

import pandas as pd
import torch
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.base.shapes import BlockDiagram, Grid, Profile
from rheostat.edit.patching import Replace
from rheostat.engine.receipt import Receipt
from rheostat.lenses.reading import Reading
from rheostat.model import Model
from rheostat.studies.record import Record, Section
from rheostat.studies.run import versions

SUBLAYERS = ("attn_out", "mlp_out")
"""Where a concept is searched: what a sublayer adds, since replacing a whole residual stream replaces everything."""

N_RANDOM = 50


@dataclass(frozen=True)
class Demonstration:
    """What the demonstration found; every number in it was computed in this run."""

    record: Record
    reading: Reading
    site: str
    concept_probability: float
    answers: pd.DataFrame
    """Columns next token, before, after: probabilities."""
    before_text: str
    after_text: str
    receipt: Receipt
    control_line: str

    def to_dict(self) -> dict[str, object]:
        """Return JSON-able values."""
        return {
            "model": self.reading.model,
            "site": self.site,
            "concept_probability": self.concept_probability,
            "answers": self.answers.to_dict("records"),
            "before": self.before_text,
            "after": self.after_text,
            "receipt": self.receipt.to_dict(),
            "control": self.control_line,
        }


def demonstrate(model: Model, prompt: str, other: str, concept: str, *, seed: int = 0) -> Demonstration:
    """Read `prompt`, find the sublayer output that reads `concept`, and replace it with that of `other`.

    Raises:
        NotOneToken: the concept is no single token.
        BadArgument: both prompts have the same answer, so that nothing could be seen.
    """
    started, clock = datetime.now(UTC), monotonic()
    reading = model.lens(prompt, track=[concept])
    sublayers = reading.tracked[reading.tracked["point"].isin(SUBLAYERS)]
    best = sublayers.sort_values("probability").iloc[-1]
    site = f"blocks.{best['block']}.{best['point']}"
    answers = _answers(model, prompt, other)
    places = [f"blocks.{block}.{point}" for block in range(model.n_blocks) for point in SUBLAYERS]
    theirs = model.capture(other, places, positions="last")
    edit = Replace(site, theirs, positions="last")
    after = model.run(prompt, edit)
    before = model.run(prompt)
    start = _log_odds(before.logits[0, 0], answers)
    moved = (
        _log_odds(_each(model, prompt, [Replace(place, theirs, positions="last") for place in places]), answers) - start
    )
    drawn = _each(model, prompt, _random_edits(site, theirs[site][0, 0], seed))
    random = _log_odds(drawn, answers) - start
    table = _answer_table(model, answers, before.logits[0, 0], after.logits[0, 0])
    texts = [model.generate(prompt, plan, max_new_tokens=12).text for plan in (None, edit)]
    rank = int((moved > moved[places.index(site)]).sum()) + 1
    control_line = (
        f"control: with {N_RANDOM} random vectors of the same size at {site}, {model.show_token(answers[1])} is "
        f"the top "
        f"token {int((drawn.argmax(-1) == answers[1]).sum())} times, and its log-odds over "
        f"{model.show_token(answers[0])} "
        f"move by {random.mean():+.2f} (largest {random.abs().max():.2f}): what the place carried is lost. "
        f"The other prompt's activation moves them by {moved[places.index(site)]:+.2f}, "
        f"rank {rank} among all {len(places)} sublayer outputs."
    )
    effects = _effect_table(places, moved, sublayers)
    figures = _figures(model, reading, effects, site, concept, prompt, random)
    record = Record(
        study="demo",
        title=f"Where {model.name} reads {concept.strip()}, and what an edit there does",
        source="",
        arguments={"prompt": prompt, "other": other, "concept": concept},
        seed=seed,
        models=(model.describe(),),
        versions=versions(),
        started=started.isoformat(timespec="seconds"),
        seconds=monotonic() - clock,
        sections=_sections(
            prompt, other, concept, site, float(best["probability"]), texts, after.receipt, control_line
        ),
        tables={"answers": table, "replacing-each-sublayer-output": effects},
        figures={figure.name: figure for figure in figures},
    )
    return Demonstration(
        record, reading, site, float(best["probability"]), table, texts[0], texts[1], after.receipt, control_line
    )


def _answers(model: Model, prompt: str, other: str) -> tuple[int, int]:
    """Return the tokens that the model itself says after each prompt."""
    first, second = (int(model.run(text).logits[0, 0].argmax()) for text in (prompt, other))
    if first == second:
        raise BadArgument(f"both prompts are answered with {model.show_token(first)}; choose one with another answer.")
    return first, second


def _log_odds(logits: Tensor, answers: tuple[int, int]) -> Tensor:
    """Return log P(second answer) − log P(first answer), per row."""
    return (logits[..., answers[1]] - logits[..., answers[0]]).detach()


def _each(model: Model, prompt: str, edits: list[Replace]) -> Tensor:
    """Return the last logits (edit, d_vocab) under each edit alone; every edit is one row of one batch."""
    return model.run([prompt] * len(edits), plans=edits).logits[:, 0].detach()


def _random_edits(site: str, vector: Tensor, seed: int) -> list[Replace]:
    """Return replacements by random vectors as long as `vector`."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(N_RANDOM, len(vector), generator=generator, dtype=torch.float64).to(vector)
    scaled = drawn / drawn.norm(dim=-1, keepdim=True) * vector.norm()
    return [Replace(site, one, positions="last") for one in scaled]


def _answer_table(model: Model, answers: tuple[int, int], before: Tensor, after: Tensor) -> pd.DataFrame:
    p, q = before.softmax(-1), after.softmax(-1)
    tokens = dict.fromkeys([*answers, *q.topk(4).indices.tolist(), *p.topk(3).indices.tolist()])
    rows = [{"next token": model.show_token(t), "before": float(p[t]), "after": float(q[t])} for t in tokens]
    return pd.DataFrame(rows).sort_values("after", ascending=False, ignore_index=True)


def _effect_table(places: list[str], moved: Tensor, sublayers: pd.DataFrame) -> pd.DataFrame:
    read = {(row.block, row.point): row.probability for row in sublayers.itertuples()}
    rows = []
    for place, value in zip(places, moved.tolist(), strict=True):
        _, block, point = place.split(".")
        rows.append(
            {"block": int(block), "point": point, "reads concept": read[int(block), point], "moves log-odds": value}
        )
    return pd.DataFrame(rows)


def _figures(
    model: Model, reading: Reading, effects: pd.DataFrame, site: str, concept: str, prompt: str, random: Tensor
) -> list[Grid | Profile | BlockDiagram]:
    block = int(site.split(".")[1])
    table = reading.table[(reading.table["rank"] == 1) & (reading.table["block"] == block)]
    diagram = BlockDiagram(
        name="block",
        title=f"The four decode points of block {block}",
        table=table.assign(token=table["shown"])[["block", "point", "token", "probability"]].reset_index(drop=True),
        note=f"Logit lens at the last token of “{prompt}”; n = 1 prompt.",
    )
    profile = Profile(
        name="effect",
        title=f"Replacing one sublayer output at a time in “{prompt}”",
        x_label="block",
        y_label="change of the answer's log-odds (nats)",
        table=pd.DataFrame(
            {"x": effects["block"], "value": effects["moves log-odds"], "series": "replace " + effects["point"]}
        ),
        reference={f"largest of {N_RANDOM} random vectors at {site}": float(random.abs().max())},
        note="Each point is one forward pass in which only that output at the last token comes from the other prompt; "
        f"n = 1 prompt pair. Positive: towards the other prompt's answer. {concept.strip()} is read most clearly "
        f"at {site}.",
    )
    return [reading.grid(), reading.grid(track=concept), diagram, profile]


def _sections(
    prompt: str,
    other: str,
    concept: str,
    site: str,
    probability: float,
    texts: list[str],
    receipt: Receipt,
    control: str,
) -> tuple[Section, ...]:
    return (
        Section(
            "What each block reads",
            f"The logit lens at four points of every block, at the last token of “{prompt}”.",
            ("lens",),
        ),
        Section(
            f"Where {concept.strip()} is read",
            f"Among what the sublayers add, {concept.strip()} is read most clearly at {site}: "
            f"probability {probability:.3f}.",
            ("lens-tracked", "block"),
        ),
        Section(
            "Editing exactly there",
            f"That one activation was replaced with the one of “{other}”.\n\n"
            f"Before: {prompt}{texts[0]}\n\nAfter: {prompt}{texts[1]}\n\nReceipt: {receipt}",
            (),
            ("answers",),
        ),
        Section("Against every other place", control, ("effect",), ("replacing-each-sublayer-output",)),
    )
