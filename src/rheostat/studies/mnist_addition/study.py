"""Train once, judge seven claims."""

from collections.abc import Callable

import pandas as pd

from rheostat.data.mnist import load_mnist
from rheostat.studies.mnist_addition import (
    answers,
    depth,
    destruction,
    dose,
    planted,
    prediction,
    published,
    signs,
    table_of_post,
)
from rheostat.studies.mnist_addition.measuring import FULL, QUICK, Measured, measure
from rheostat.studies.mnist_addition.network import ARCHITECTURES, CONVOLUTIONAL, OF_THE_POST, TARGET
from rheostat.studies.part import Part, run_parts
from rheostat.studies.record import Section
from rheostat.studies.study import Context, Findings, Study

CLAIMS = {
    signs.CLAIM: signs.STATEMENT,
    destruction.CLAIM: destruction.STATEMENT,
    **depth.CLAIMS,
    table_of_post.CLAIM: table_of_post.STATEMENT,
    answers.CLAIM: answers.STATEMENT,
    dose.CLAIM: dose.STATEMENT,
}
DESCRIBED = ("name", "source", "revision", "weights", "dtype", "device")


def run(context: Context) -> Findings:
    """Train networks of every architecture, measure them, and judge what the post says."""
    data, extent, seed = load_mnist(), QUICK if context.quick else FULL, context.seed
    asked = (OF_THE_POST, CONVOLUTIONAL) if context.quick else ARCHITECTURES
    every = [measure(architecture, data, extent, context) for architecture in asked]
    of_post = every[0]
    found, power = planted.run(seed)
    parts = (
        _trained(every),
        signs.run(of_post, seed, planted_found=found),
        destruction.run(of_post, seed, planted_found=found),
        depth.run(of_post, seed, planted_found=found),
        table_of_post.run(of_post, seed, planted_found=found),
        answers.run(of_post, seed, planted_found=found),
        dose.run(every, seed, planted_found=found),
        prediction.run(of_post, seed),
        power,
    )
    networks = pd.concat([one.networks for one in every], ignore_index=True)
    trained = tuple({name: str(row[name]) for name in DESCRIBED} for _, row in networks.iterrows())
    return run_parts(context, [_made(part) for part in parts], tuple(CLAIMS), trained=trained)


def _trained(every: list[Measured]) -> Part:
    rows = pd.concat([one.networks.assign(architecture=one.name) for one in every], ignore_index=True)
    columns = ["architecture", "network", "loss", "accuracy", "weights"]
    means = "; ".join(f"{one.name} {one.networks['loss'].mean():.3f}" for one in every)
    section = Section(
        heading="The networks",
        text="Trained on the first 50,000 images until the loss on the 10,000 set apart is at most "
        f"{TARGET} nats. Mean test loss in nats: {means}; the post's network: {published.UNPATCHED}.\n\n"
        "Vectors: the output of a module for the first training image of a, minus that for the first of b, added to "
        "that module's output for every test image. Layers count modules from 0: linear, ReLU, linear, ReLU, linear.",
        tables=("networks",),
    )
    return Part((section,), {"networks": rows[columns]})


def _made(part: Part) -> Callable[[Context], Part]:
    return lambda _context: part


STUDY = Study(
    name="mnist-addition",
    title="Activation addition on small networks of digits: does a − b turn b into a, and what does it break?",
    source=published.SOURCE,
    claims=CLAIMS,
    run=run,
    trains_its_own=True,
)
