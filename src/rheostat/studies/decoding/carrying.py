"""Is a mixed-in concept carried on? Its words' ranks at later blocks, against other lists and a shuffled vector.

Each list is mixed in at the block, source and factor that the other half of the lists chose in the capitals part. What
later attention and MLP outputs read decides, for later blocks compute them. The stream is reported apart: the added
vector itself still lies in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch

from rheostat.base.shapes import Figure, Profile
from rheostat.data.word_lists import UNRELATED_LISTS
from rheostat.edit.arithmetic import Add
from rheostat.edit.plan import PlanLike
from rheostat.metrics.statistics import Values
from rheostat.model import Model
from rheostat.studies.curve import curve
from rheostat.studies.decoding import capitals
from rheostat.studies.decoding.capitals import Task, build_task, country
from rheostat.studies.decoding.cells import Cell, all_cells, capture_cells, lens_ranks
from rheostat.studies.decoding.mixing import Dial, Vectors, adding, mixing, mixing_vectors
from rheostat.studies.decoding.planted import saying_direction
from rheostat.studies.decoding.sweep import Sweep
from rheostat.studies.judging import against, held, interval, judge, number
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.studies.vocabulary import group_tokens

CLAIM = "decode-8"
STATEMENT = (
    "The injected concept is carried on and joins the computation: with the mix at 14, France appears beside Germany "
    "and Capital at 19."
)
OWN = "own list"
CONTROLS = ("other countries' lists", "unrelated words", "shuffled vector")
N_OTHERS, N_UNRELATED = 3, 2
PLANTED, PLANTED_OTHER = "planted country", "another country planted"
COMPUTED = ("attn_out", "mlp_out")
"""What later blocks compute: these points decide."""
STREAM = ("resid_post",)


def concept_words(concept: str) -> list[str]:
    """Return the country's name, its people's word and its capital."""
    found = country(concept)
    return [found.name, found.people, found.capital]


@dataclass(frozen=True)
class Job:
    """One edited prompt in which a concept's words are looked for after a block."""

    concept: str
    kind: str
    prompt: str
    after: int
    plan: PlanLike


def mixing_jobs(task: Task, vectors: Vectors, dials: Mapping[str, Dial], seed: int) -> list[Job]:
    """Return each list's own mixing, and its controls in the same place.

    These are the next countries' lists, unrelated words, and the list's own vector with its coordinates shuffled.
    """
    concepts, jobs = list(dials), []
    for place, (concept, dial) in enumerate(dials.items()):
        own = vectors[task.text_of(concept), dial.block, dial.source]
        order = torch.from_numpy(np.random.default_rng(seed).permutation(own.numel()))
        others = [concepts[(place + step) % len(concepts)] for step in range(1, N_OTHERS + 1)]
        edits = [
            (OWN, mixing(vectors, task.text_of(concept), dial)),
            *((CONTROLS[0], mixing(vectors, task.text_of(other), dial)) for other in others),
            *((CONTROLS[1], mixing(vectors, text, dial)) for text in UNRELATED_LISTS[:N_UNRELATED]),
            (CONTROLS[2], adding(own[order], dial)),
        ]
        jobs += [Job(concept, kind, prompt, dial.block, edit) for kind, edit in edits for prompt in task.prompts]
    return jobs


def planted_jobs(model: Model, task: Task, dials: Mapping[str, Dial]) -> list[Job]:
    """Return, without any mixing, a direction that says the concept's words in the sublayers of one later block.

    Of all later blocks it is the middle one; the direction is as long as the sublayer's own output. Control: the next
    country's direction in the same place.
    """
    cells = {
        after: [Cell((after + model.n_blocks) // 2, point) for point in COMPUTED]
        for after in {dial.block for dial in dials.values()}
    }
    near = {after: capture_cells(model, task.prompts, here).mean(dim=1) for after, here in cells.items()}
    start = next(iter(near.values()))[-1]
    directions = {
        concept: saying_direction(model, group_tokens(model, concept_words(concept)), start) for concept in dials
    }
    concepts, jobs = list(dials), []
    for place, (concept, dial) in enumerate(dials.items()):
        for kind, said in ((PLANTED, concept), (PLANTED_OTHER, concepts[(place + 1) % len(concepts)])):
            plan = [
                Add(cell.site, directions[said], strength=float(output.norm()), positions="last")
                for cell, output in zip(cells[dial.block], near[dial.block], strict=True)
            ]
            jobs += [Job(concept, kind, prompt, dial.block, plan) for prompt in task.prompts]
    return jobs


def later_ranks(model: Model, context: Context, jobs: Sequence[Job]) -> pd.DataFrame:
    """Return one row per job and later cell: log10 rank of the concept's best word.

    Columns: concept, prompt, kind, block, point, `rank`, and `plain`, the same without any edit.
    """
    cells, prompts = all_cells(model, (*COMPUTED, *STREAM)), list(dict.fromkeys(job.prompt for job in jobs))
    edited = capture_cells(model, [job.prompt for job in jobs], cells, plans=[job.plan for job in jobs])
    plain = capture_cells(model, prompts, cells)
    words = {job.concept: group_tokens(model, concept_words(job.concept)) for job in jobs}
    before = {
        prompt: dict(zip(words, _log_ranks(model, plain[:, column], list(words.values())).T, strict=True))
        for column, prompt in enumerate(prompts)
    }
    tables = []
    for row in context.progress(range(len(jobs)), f"carrying, {model.name}"):
        job = jobs[row]
        later = [index for index, cell in enumerate(cells) if cell.block > job.after]
        tables.append(
            pd.DataFrame(
                {
                    "concept": job.concept,
                    "prompt": job.prompt,
                    "kind": job.kind,
                    "block": [cells[index].block for index in later],
                    "point": [cells[index].point for index in later],
                    "rank": _log_ranks(model, edited[later, row], [words[job.concept]])[:, 0],
                    "plain": before[job.prompt][job.concept][later],
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def _log_ranks(model: Model, vectors: torch.Tensor, groups: Sequence[Sequence[int]]) -> Values:
    return np.asarray(lens_ranks(model, vectors, groups, [])[0].double().log10().numpy())


def measure(model: Model, context: Context, dials: Mapping[str, Dial], *, planted: bool = False) -> pd.DataFrame:
    """Return the later ranks under every mixing, or under the planted directions."""
    task = build_task(model, n_prompts=1 if context.quick else capitals.N_PROMPTS)

    def compute() -> pd.DataFrame:
        if planted:
            return later_ranks(model, context, planted_jobs(model, task, dials))
        return later_ranks(model, context, mixing_jobs(task, mixing_vectors(model, task.texts), dials, context.seed))

    chosen = {concept: str(dial) for concept, dial in dials.items()}
    words = {concept: concept_words(concept) for concept in dials}
    counts = {"others": N_OTHERS, "unrelated": N_UNRELATED}
    params = step_params(model, context, dials=chosen, task=asdict(task), texts=task.texts, words=words, **counts)
    return context.step(f"{'planted-' if planted else ''}carrying-{model.name}", params, compute)


# --- analysing --------------------------------------------------------------------------------------------------------


def gains(table: pd.DataFrame, points: Sequence[str], kind: str) -> pd.DataFrame:
    """Return the rows of a kind at some points, with `gain`: by how many decades the words rank better than plain."""
    here = table[(table["kind"] == kind) & table["point"].isin(points)]
    return here.assign(gain=here["plain"] - here["rank"])


def improvement(table: pd.DataFrame, points: Sequence[str], kind: str) -> Values:
    """Return the mean gain per concept, in the concepts' order of appearance."""
    return gains(table, points, kind).groupby("concept", sort=False)["gain"].mean().to_numpy(dtype=float)


def measure_all(
    name: str,
    table: pd.DataFrame,
    seed: int,
    *,
    points: Sequence[str] = COMPUTED,
    own: str = OWN,
    controls: Sequence[str] = CONTROLS,
) -> list[Measurement]:
    """Return how much better the concept's words rank at later blocks than without mixing, and than under controls."""
    effect = improvement(table, points, own)
    compared = {"no mixing": np.zeros_like(effect)}
    compared |= {f"{kind} in the same place": improvement(table, points, kind) for kind in controls}
    what = f"rank of the concept's words in later {' and '.join(points)}, decades better than without mixing"
    return against(name, what, effect, compared, unit="word lists", seed=seed)


def planted_found(table: pd.DataFrame, seed: int) -> Measurement:
    """Return the same measure for the direction planted in one later block: the weaker of its two comparisons."""
    found = measure_all("planted", table, seed, own=PLANTED, controls=(PLANTED_OTHER,))
    return min(found, key=lambda one: one.low)


def run(context: Context) -> Part:
    """Mix in where the other lists chose, read the later blocks, and judge the claim."""
    tables: dict[str, pd.DataFrame] = {}
    dials: dict[str, dict[str, Dial]] = {}
    planted: dict[str, Measurement] = {}
    for model in context.models:
        sweep = Sweep.of(capitals.measure(model, context), "shift")
        dials[model.name] = sweep.dial_of("shift", before=model.n_blocks - 1)
        tables[model.name] = measure(model, context, dials[model.name])
        planted[model.name] = planted_found(measure(model, context, dials[model.name], planted=True), context.seed)
    deciding = {name: measure_all(name, table, context.seed) for name, table in tables.items()}
    stream = {name: measure_all(name, table, context.seed, points=STREAM) for name, table in tables.items()}
    every = [one for found in deciding.values() for one in found]
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(every, planted_found=all(one.low > 0 for one in planted.values())),
        reason=f"{held(every)} Mean over the attention and MLP outputs of all later blocks, last token; the stream, "
        "which holds the added vector itself, does not decide. A direction that says the words, planted in one later "
        "block, is found: "
        + "; ".join(
            f"{name} {number(one.effect - one.control)} {interval(one)} decades" for name, one in planted.items()
        )
        + ".",
        measurements=(*every, *(one for found in stream.values() for one in found)),
    )
    figures: tuple[Figure, ...] = tuple(_figure(name, table, context.seed) for name, table in tables.items())
    section = Section(
        heading="Is the mixed-in concept carried on?",
        text="\n\n".join(
            _describe(name, table, dials[name], deciding[name], stream[name]) for name, table in tables.items()
        ),
        figures=tuple(figure.name for figure in figures),
        tables=("carrying",),
    )
    return Part((section,), {"carrying": joined(tables)}, figures, (verdict,))


def _describe(
    name: str,
    table: pd.DataFrame,
    dials: Mapping[str, Dial],
    deciding: Sequence[Measurement],
    stream: Sequence[Measurement],
) -> str:
    own = gains(table, COMPUTED, OWN)
    means = own.groupby(["block", "point"])["gain"].mean()
    block, point = max(means.index, key=lambda place: float(means[place]))
    places = "; ".join(dict.fromkeys(str(dial) for dial in dials.values()))
    best, shown, before = number(float(means.max())), _share_in_top(own["rank"]), _share_in_top(own["plain"])
    plainly, others, *_ = deciding
    return (
        f"{name}, mixed in at {places}. In later attention and MLP outputs the concept's words gain "
        f"{number(plainly.effect)} decades of rank {interval(plainly)} over no mixing; with other countries' lists in "
        f"the same place {number(others.control)} (difference {interval(others)}). They gain most at block {block}'s "
        f"{point} ({best}), and one of them is among the ten likeliest in {shown:.0%} of these cells, without mixing "
        f"in {before:.0%}. In the stream, which holds the added vector, they gain {number(stream[0].effect)} decades "
        f"{interval(stream[0])}."
    )


def _share_in_top(log_ranks: "pd.Series[float]") -> float:
    return float((log_ranks <= 1).mean())


def _figure(name: str, table: pd.DataFrame, seed: int) -> Profile:
    rows: list[dict[str, object]] = []
    for kind in (OWN, *CONTROLS):
        here = gains(table, COMPUTED, kind).groupby(["block", "concept"])["gain"].mean().reset_index()
        blocks = ((block, group["gain"].to_numpy(dtype=float)) for block, group in here.groupby("block"))
        rows += curve(kind, ((block, units) for block, units in blocks if len(units) >= 2), seed)
    return Profile(
        name=f"carrying-{name}",
        title=f"Words of the mixed-in country at later blocks of {name}",
        x_label="block",
        y_label="gain in rank over no mixing (decades)",
        table=pd.DataFrame(rows),
        note=f"n = {table['concept'].nunique()} word lists, fewer at blocks before which some are mixed in; 95 % "
        "bootstrap intervals; mean of attention and MLP outputs.",
        reference={"no mixing": 0.0},
    )
