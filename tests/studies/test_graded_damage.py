"""The part on graded damage finds a smooth curve where it is planted, and notices one that is none."""

from collections.abc import Callable
from functools import lru_cache
from math import log

import numpy as np
import pandas as pd
import pytest
import torch

from rheostat.capture.activations import Activations
from rheostat.edit.impairment import Impair
from rheostat.impairment.scale import measure_scale
from rheostat.studies.impairment import gradedness, hypothesis_a
from rheostat.studies.impairment.curve_figures import figures_of
from rheostat.studies.impairment.graded import INTACT, SUITES, Graded, dose_of, measure, reached, sites_of
from rheostat.studies.impairment.kinds_of_damage import (
    BESIDE,
    MAIN,
    N_LEVELS,
    SHIFT,
    SITES,
    SPREAD,
    Damage,
    cluster_of,
    expected_largest,
    levels_of,
)
from rheostat.tasks.item import Item, Task
from tests.contract.conftest import load_toy

Shape = Callable[[float], float]
"""Share of the range, 0 to 1 → rise of the loss."""
GUESSING = log(50_000)


def smooth(x: float) -> float:
    return 8 * x


def peaked(x: float) -> float:
    return float(8 * np.sin(np.pi * x))


def cliff(x: float) -> float:
    return 8.0 * (x > 0.5) + 0.5 * x


def flat(x: float) -> float:
    return 0.0


@lru_cache
def planted(shape: Shape, seed: int = 0) -> Graded:
    """Return measurements of 10 draws with 2 articles each, whose losses rise by a shape, with scatter."""
    rng = np.random.default_rng(seed)
    rows = []
    for suite, damages in SUITES:
        for draw in range(10):
            for topic in ("sport", "tech"):
                base = 2 + rng.random()
                about = {"suite": suite, "draw": draw, "topic": topic, "article": f"{topic}/{draw}"}
                rows.append({"damage": INTACT, "level": 0, "intensity": 0.0, "loss": base, "right": 1.0, **about})
                for damage in damages:
                    for level in range(1, N_LEVELS + 1):
                        rise = shape(level / N_LEVELS)
                        rows.append(
                            {
                                "damage": damage.label,
                                "level": level,
                                "intensity": level / 2,
                                "loss": base + rise + rng.normal(0, 0.05),
                                "right": float(rise < draw * 8 / 10),
                                **about,
                            }
                        )
    doses = pd.DataFrame([{"damage": one.label, "dose": 0.1} for one in MAIN if one.mode != "magnitude"])
    return Graded(pd.DataFrame(rows), pd.DataFrame(), doses)


def verdict(claim: str, graded: Graded) -> str:
    return hypothesis_a._verdict(claim, {"toy": graded}, {"toy": GUESSING}, 0).verdict


@pytest.mark.parametrize("claim", list(hypothesis_a.STATEMENTS))
def test_a_planted_smooth_curve_is_found_and_others_are_not(claim: str) -> None:
    assert verdict(claim, planted(smooth)) == "reproduced"
    assert verdict(claim, planted(peaked)) != "reproduced"
    assert verdict(claim, planted(cliff)) == "partly"  # monotone, but one step takes it all


def test_a_curve_that_falls_again_or_jumps_is_not_graded() -> None:
    curves = {shape: hypothesis_a.curve(planted(shape), MAIN[0]) for shape in (smooth, peaked, cliff, flat)}
    assert gradedness.is_graded(curves[smooth], 0)
    assert not any(gradedness.is_graded(curves[shape], 0) for shape in (peaked, cliff, flat))
    assert gradedness.loss_follows(curves[peaked], 0).value < 0.5
    assert gradedness.largest_step(curves[cliff], 0).value > 0.9
    assert gradedness.largest_step(curves[smooth], 0).value == pytest.approx(1 / N_LEVELS, abs=0.02)


def test_permuted_intensities_follow_nothing_and_a_constant_curve_neither() -> None:
    one = hypothesis_a.curve(planted(smooth), MAIN[0])
    assert abs(gradedness.permuted(one.intensities, one.mean_losses(), 0)) < 0.03
    assert gradedness.loss_follows(one, 0).value == pytest.approx(1.0)
    assert gradedness.permuted(one.intensities, np.full(N_LEVELS + 1, 0.4), 0) == 0


def test_the_check_of_power_sees_the_planted_cases() -> None:
    assert hypothesis_a.planted_is_noticed(planted(flat), 0)


def test_half_damage_is_where_the_mean_loss_is_halfway_to_guessing() -> None:
    graded = planted(smooth)
    table = hypothesis_a.summary("toy", graded, 10.0, 0)
    row = table[table["damage"] == MAIN[0].label].iloc[0]
    rise = (10.0 - row["intact loss"]) / 2  # of 8 over the intensities up to 4
    assert row["half damage at"] == pytest.approx(rise / 2, abs=0.05)
    assert row["dose at half"] == pytest.approx(0.1 * row["half damage at"])
    assert row["half damage low"] < row["half damage at"] < row["half damage high"]
    assert hypothesis_a.summary("toy", planted(flat), 10.0, 0)["half damage at"].isna().all()


def test_a_curve_reaches_a_loss_between_two_intensities() -> None:
    x = np.array([0.0, 1.0, 2.0])
    assert reached(x, np.array([2.0, 4.0, 8.0]), 5.0) == 1.25
    assert reached(x, np.array([2.0, 4.0, 8.0]), 9.0) == 2
    assert reached(x, np.array([2.0, 4.0, 8.0]), 1.0) == 0
    assert list(reached(x, np.array([[2.0, 9.0, 1.0], [0.0, 1.0, 3.0]]), 2.5)) == [1 / 14, 1.75]


def test_figures_show_each_mode_site_and_topic() -> None:
    figures = figures_of("toy", planted(smooth), 0)
    names = {figure.name for figure in figures}
    assert {"graded-gaussian-toy", "graded-topics-negative-mlp-in-toy", "graded-shift-toy", "graded-sizes-toy"} <= names
    assert all(len(figure.table) >= N_LEVELS + 1 for figure in figures)


def test_the_largest_of_normal_numbers_is_expected_where_tables_say() -> None:
    assert expected_largest(1) == pytest.approx(0, abs=1e-6)
    assert expected_largest(2) == pytest.approx(1 / np.sqrt(np.pi), abs=1e-6)
    assert expected_largest(3) == pytest.approx(1.5 / np.sqrt(np.pi), abs=1e-6)


def test_spreads_of_noise_are_those_of_its_distributions() -> None:
    for name, spread in SPREAD.items():
        edit = Impair("blocks.0.mlp_out", "gaussian", 1.0, distribution=name)
        drawn = edit.at_tokens(None, "blocks.0.mlp_out", range(200), (500,))
        assert drawn is not None
        assert float(drawn.std()) == pytest.approx(spread, abs=0.01)


# --- on a toy model ---------------------------------------------------------------------------------------------------

PROMPTS = ("w5 w9 w6 w11", "w7 w8 w12 w13 w4", "w10 w6 w14 w9", "w15 w5 w13 w16 w8")


def toy_tasks() -> list[Task]:
    items = [Item(prompt, " w17", f"article {number}") for number, prompt in enumerate(PROMPTS)]
    return [Task("one", tuple(items[:2])), Task("other", tuple(items[2:]))]


def toy_scale(model: object) -> Activations:
    return measure_scale(model, PROMPTS, sites_of(SITES))  # type: ignore[arg-type]


def test_every_article_is_measured_under_one_draw_and_every_cell() -> None:
    model = load_toy("llama")
    scale = toy_scale(model)
    damages = [Damage("gaussian", "mlp_out", 0.5), Damage("magnitude", "neurons", 0.5), Damage(SHIFT, "mlp_in", 0.5)]
    levels = {damage: [0.5, 1.0] for damage in damages}
    table = measure(model, toy_tasks(), levels, scale, draws=3, seed=0)
    assert len(table) == len(PROMPTS) * (1 + len(damages) * 2)
    assert table.groupby("article")["draw"].nunique().max() == 1
    assert table["draw"].nunique() == 3
    intact = table[table["damage"] == INTACT].set_index("article")["loss"]
    for damage in damages:
        own = table[table["damage"] == damage.label].set_index("article")["loss"]
        assert (own - intact.loc[own.index]).abs().min() > 1e-6
    again = measure(model, toy_tasks(), levels, scale, draws=3, seed=0)
    pd.testing.assert_frame_equal(table, again)


def test_the_shift_is_what_negative_noise_adds_on_average() -> None:
    model = load_toy("llama")
    scale = toy_scale(model)
    (shift, *_), (noisy, *_) = (
        Damage(mode, "mlp_out", 0.5).plan(model, scale, 2.0, seed=0, draw=0) for mode in (SHIFT, "negative")
    )
    site, units = str(noisy.site), list(noisy.units or ())
    zeros = torch.zeros(4000, len(units))
    value = noisy.at_tokens(scale[site], site, range(4000), tuple(model.body.shape("mlp_out")))
    assert value is not None
    mean = noisy.change(zeros, value.reshape(4000, -1)[:, units]).mean(0)
    assert torch.allclose(mean, torch.as_tensor(shift.vector), rtol=0.05)  # type: ignore[attr-defined]


def test_the_dose_of_noise_grows_with_its_share_of_units() -> None:
    model = load_toy("llama")
    scale = toy_scale(model)
    little, much = (dose_of(model, Damage("gaussian", "mlp_out", share), toy_tasks(), scale, 0) for share in (0.1, 1.0))
    assert 0 < little < much


def test_levels_reach_the_end_that_the_pilot_found() -> None:
    model = load_toy("llama")
    scale = toy_scale(model)
    last = {(mode, kind): 4.0 for mode in ("gaussian", "negative") for kind in SITES}
    assert levels_of(Damage("gaussian", "mlp_in"), last, scale)[-1] == 4
    assert levels_of(Damage(SHIFT, "mlp_in"), last, scale) == levels_of(Damage("negative", "mlp_in"), last, scale)
    assert levels_of(Damage("gaussian", "mlp_in", distribution="uniform"), last, scale)[-1] == pytest.approx(4 * 3**0.5)
    assert levels_of(Damage("magnitude", "mlp_in"), last, scale)[-1] == 1
    assert levels_of(BESIDE[-1], last, scale)[-1] != 4


def test_a_larger_random_cluster_holds_the_smaller() -> None:
    model = load_toy("llama")
    small, large = (cluster_of(model, "neurons", share, 0) for share in (0.1, 0.5))
    assert all(set(small.units[block]) < set(large.units[block]) for block in small.units)
