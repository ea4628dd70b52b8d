"""What patching one prompt's activations into another's run found: a table, its picture, and the pair that was asked.

Activation patching measures every row of the table by a run; attribution patching estimates it from one gradient. Both
return a `Patching`, so both are drawn and printed alike.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import pandas as pd

from rheostat.base.errors import BadArgument, PositionNotFound, SiteNotOffered
from rheostat.base.shapes import Grid
from rheostat.engine.forward import positions_in, run
from rheostat.metrics.measure import measure
from rheostat.metrics.score import patching_score
from rheostat.metrics.tokens import LogitDifference
from rheostat.models.anatomy import MODEL_KINDS
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt, Row
from rheostat.sites.positions import Positions, PositionsLike

Direction = Literal["denoise", "noise"]
DIRECTIONS = ("denoise", "noise")
MOST_COLUMNS = 64
"""Units side by side in a picture; of more than that only the strongest of each block are shown, by name."""
STRONGEST = 6


@dataclass(frozen=True)
class Pair:
    """A clean and a corrupted prompt of one length, with the logit difference of each."""

    clean: Prompt
    corrupt: Prompt
    rows: tuple[Row, Row]
    values: tuple[float, float]
    metric: LogitDifference
    direction: Direction

    @classmethod
    def of(
        cls,
        network: Network,
        clean: Prompt,
        corrupt: Prompt,
        *,
        answer: str | int,
        versus: str | int,
        direction: Direction,
    ) -> "Pair":
        """Measure a pair.

        Raises:
            BadArgument: the prompts differ in length, the two runs prefer the answer equally, or an unknown direction.
            NotOneToken
        """
        if direction not in DIRECTIONS:
            raise BadArgument(f"direction={direction!r}: one of {', '.join(DIRECTIONS)}.")
        rows = (network.row(clean), network.row(corrupt))
        check_lengths(network, *rows)
        metric = LogitDifference(answer, versus)
        values = [measure(metric, network, [one], run(network, [one])).values[0] for one in (clean, corrupt)]
        patching_score(values[0], clean=values[0], corrupted=values[1])  # refuses a pair without a difference
        return cls(clean, corrupt, rows, (values[0], values[1]), metric, direction)

    @property
    def source(self) -> Prompt:
        """The prompt whose activations are put in."""
        return self.clean if self.direction == "denoise" else self.corrupt

    @property
    def target(self) -> Prompt:
        """The prompt into whose run they are put."""
        return self.corrupt if self.direction == "denoise" else self.clean

    def positions(self, asked: PositionsLike) -> list[int]:
        """Return the tokens to patch; see `shared_positions`."""
        source, target = self.rows if self.direction == "denoise" else self.rows[::-1]
        return list(shared_positions(source, target, asked))

    @property
    def unchanged(self) -> float:
        """Logit difference of the target's run as it is."""
        return self.values[self.direction == "denoise"]

    def patching(
        self, network: Network, kind: str, table: pd.DataFrame, *, estimated: bool, top: int | None
    ) -> "Patching":
        """Complete a table {site, position, [unit], logit_difference}."""
        tokens = self.rows[self.direction == "denoise"].ids
        table = table.reset_index(drop=True)
        blocks = table["site"].str.extract(r"^blocks\.(\d+)\.", expand=False)
        table.insert(1, "block", blocks.fillna("-1").astype(int))
        table.insert(3, "token", [network.show_token(tokens[position]) for position in table["position"]])
        score = patching_score(table["logit_difference"].to_numpy(), clean=self.values[0], corrupted=self.values[1])
        return Patching(
            table=table.assign(score=score),
            clean=self.values[0],
            corrupted=self.values[1],
            direction=self.direction,
            kind=kind,
            model=network.name,
            prompts=(self.rows[0].shown, self.rows[1].shown),
            answers=(str(self.metric.answer), str(self.metric.other)),
            estimated=estimated,
            top=top,
        )


@dataclass(frozen=True)
class Patching:
    """How far each patched activation moved the answer."""

    table: pd.DataFrame
    """Rows {site, block, position, token, logit_difference, score}, and unit where each was patched alone; `block` is
    −1 at sites outside the blocks."""
    clean: float
    """Logit difference of the clean run, in nats."""
    corrupted: float
    """Logit difference of the corrupted run."""
    direction: Direction
    kind: str
    """Of the sites that were patched."""
    model: str
    prompts: tuple[str, str]
    """The clean and the corrupted one."""
    answers: tuple[str, str]
    """The answer, and the one that it is compared with."""
    estimated: bool = False
    """Whether the rows are attribution patching's estimates rather than measured runs."""
    top: int | None = None
    """The rows are the places of so many largest estimates; None: all places."""

    @property
    def unchanged(self) -> float:
        """The score of a run in which nothing was patched: 0 when denoising, 1 when noising."""
        return 0.0 if self.direction == "denoise" else 1.0

    def strongest(self, n: int) -> pd.DataFrame:
        """Return the n rows whose scores lie farthest from an unpatched run's, the farthest first."""
        order = (self.table["score"] - self.unchanged).abs().sort_values(ascending=False, kind="stable").index
        return self.table.loc[order[:n]].reset_index(drop=True)

    def grid(self) -> Grid:
        """Return a picture coloured by the score, centred on that of an unpatched run.

        Blocks × tokens. Where units were patched alone: blocks × units, each at the token where it does most; where
        the site has more than 64 of them (neurons), the strongest of every block, by number.
        """
        ranked = self.strongest(len(self.table))
        if "unit" not in ranked:
            cells = ranked.assign(x=ranked["position"].astype(str) + " " + ranked["token"], order=ranked["position"])
            return self._grid(cells, "token of the prompt")
        best = ranked.drop_duplicates(["block", "unit"])
        where = "its token of largest effect" if self.table["position"].nunique() > 1 else self._only_token()
        if self.table["unit"].max() < MOST_COLUMNS:
            unit = "head" if self.kind == "heads" else "unit"
            cells = best.assign(x=f"{unit} " + best["unit"].astype(str), order=best["unit"])
            return self._grid(cells, f"{unit}, at {where}")
        place = best.groupby("block").cumcount() + 1
        named = best["unit"].astype(str) + " @" + best["position"].astype(str)
        shown = best.assign(order=place, x="no. " + place.astype(str), text=named)[place <= STRONGEST]
        return self._grid(shown, "the strongest units of the block, as unit @token")

    def rows(self) -> list[dict[Hashable, Any]]:
        """Return JSON-able rows {block, position, token, logit_difference, score}, and unit where there is one."""
        return self.table.drop(columns="site").to_dict("records")

    def _grid(self, cells: pd.DataFrame, x_label: str) -> Grid:
        """Make the picture of cells {block, order (of the columns), x (their name), score, [text]}."""
        names = dict(zip(cells["order"], cells["x"], strict=True))
        every = product(sorted(set(cells["block"]), reverse=True), sorted(names))
        whole = cells.set_index(["block", "order"]).reindex(pd.MultiIndex.from_tuples(every, names=["block", "order"]))
        whole = whole.reset_index()
        table = pd.DataFrame(
            {
                "x": whole["order"].map(names),
                "y": [self.kind if block < 0 else block for block in whole["block"]],
                "value": whole["score"].round(3),
                **({"text": whole["text"]} if "text" in whole else {}),
            }
        )
        into, origin = ("corrupted", "clean") if self.direction == "denoise" else ("clean", "corrupted")
        how = "estimated by its gradient (attribution patching)" if self.estimated else "measured by a run each"
        return Grid(
            name=f"patching-{self.kind}" + ("-estimate" if self.estimated else ""),
            title=f"{self.kind} of the {origin} prompt put into the {into} run, {self.model}"
            + (": estimate" if self.estimated else ""),
            x_label=x_label,
            y_label="block",
            value_label="score: 0 corrupted, 1 clean",
            table=table,
            note=f"Clean: “{self.prompts[0]}”. Corrupted: “{self.prompts[1]}”. Logit difference of {self.answers[0]!r} "
            f"and {self.answers[1]!r}: clean {self.clean:.2f}, corrupted {self.corrupted:.2f} nats. n = 1 pair, "
            f"{how}." + ("" if self.top is None else f" Only the {len(self.table)} places of largest estimate."),
            centre=self.unchanged,
        )

    def _only_token(self) -> str:
        row = self.table.iloc[0]
        return f"token {row['position']} {row['token']}"


def site_pattern(network: Network, kind: str) -> str:
    """Return the sites of a kind as a pattern.

    Raises:
        SiteNotOffered: attention weights, which are read and never edited.
    """
    if kind == "pattern":
        raise SiteNotOffered(
            "attention weights (pattern) can be read, not patched. Patch what they bring: heads or attn_out."
        )
    return kind if kind in MODEL_KINDS else f"blocks.*.{kind}"


def check_lengths(network: Network, *rows: Row) -> None:
    """Refuse prompts with different numbers of tokens.

    Raises:
        BadArgument: they differ.
    """
    if len({len(row) for row in rows}) == 1:
        return
    spelled = "; ".join(f"{len(row)}: {' | '.join(network.show_token(token) for token in row.ids)}" for row in rows)
    raise BadArgument(f"the two prompts need equally many tokens, place by place. They have {spelled}.")


def shared_positions(source: Row, target: Row, asked: PositionsLike) -> tuple[int, ...]:
    """Return the tokens to patch, the same in both prompts.

    A substring is looked for in both; one that stands in one prompt alone means its tokens there.

    Raises:
        BadArgument: a substring covers other tokens in one prompt than in the other.
        PositionNotFound, AmbiguousPosition
    """
    if Positions.parse(asked).kind != "substring":
        return positions_in([target], asked)[0]
    found, missing = {}, []
    for name, row in (("source", source), ("target", target)):
        try:
            (found[name],) = positions_in([row], asked)
        except PositionNotFound as error:
            missing.append(error)
    if not found:
        raise missing[-1]
    if len(set(found.values())) > 1:
        raise BadArgument(
            f"{Positions.parse(asked)} covers the tokens {list(found['source'])} of {source.shown!r} and "
            f"{list(found['target'])} of {target.shown!r}. Give positions as indices, which both prompts share."
        )
    return next(iter(found.values()))
