"""Terminal tables say the same with and without colour."""

import io

import numpy as np
import pandas as pd
from rich.console import Console

from rheostat.base.shapes import Grid
from rheostat.report.terminal import frame_table, grid_table, verdict_table
from rheostat.studies.record import Measurement, Verdict


def shown(table, *, colour: bool = False, width: int = 160) -> str:
    system = "truecolor" if colour else None
    console = Console(file=io.StringIO(), width=width, force_terminal=colour, color_system=system, no_color=not colour)
    console.print(table)
    return console.file.getvalue()


def grid() -> Grid:
    table = pd.DataFrame(
        {
            "x": ["attn_out", "mlp_out"] * 2,
            "y": [0, 0, 1, 1],
            "value": [0.75, 0.012, np.nan, 0.5],
            "text": ["[bold]x[/bold]", "\x1b[31mred", "␣none", "中"],
        }
    )
    return Grid("g", "Lens [of] it", "point", "block", "probability", table, note="n = 1 prompt")


def test_a_grid_prints_the_value_beside_each_token():
    text = shown(grid_table(grid()))
    for expected in (
        "[bold]x[/bold] 0.75",
        "\\x1b[31mred 0.012",
        "␣none –",
        "中 0.5",
        "attn_out",
        "block",
        "n = 1 prompt",
        "Lens [of] it",
    ):
        assert expected in text


def test_a_token_cannot_send_a_control_sequence_to_the_terminal():
    assert "\x1b" not in shown(grid_table(grid()))


def test_colours_follow_the_values_and_change_no_word():
    coloured = shown(grid_table(grid()), colour=True)
    assert coloured.count("48;2;") == 3, "three cells have a value"
    assert "0.75" in coloured


def test_row_labels_survive_a_narrow_terminal():
    lines = shown(grid_table(grid()), width=40).splitlines()
    assert any(line.split()[:1] == ["1"] for line in lines)


def test_a_frame_keeps_every_value_with_numbers_to_the_right():
    frame = pd.DataFrame({"token": ["[red]a", None], "rank": [1, 100], "p": [0.123456, np.nan]})
    text = shown(frame_table(frame, "Top"))
    for expected in ("Top", "[red]a", "0.1235", "100", "–"):
        assert expected in text
    rows = [line.split("│") for line in text.splitlines() if line.startswith("│")]
    assert rows[0][2].endswith("1 ")
    assert rows[0][2].startswith("   ")


def test_a_verdict_shows_sign_words_interval_n_and_reason():
    measured = Measurement("smol", "share", 0.75, 0.25, 0.4, 0.6, 24, "prompts")
    verdicts = [
        Verdict("c-1", "s", "contradicted", "Other side.", (measured,)),
        Verdict("c-2", "s", "not run", "Later."),
    ]
    text = shown(verdict_table(verdicts))
    for expected in (
        "c-1",
        "✗ contradicted",
        "smol",
        "+0.5 [+0.4, +0.6]",
        "24",
        "Other side.",
        "c-2",
        "not run",
        "Later.",
    ):
        assert expected in text
