"""The parts of the study in order, joined into one record."""

from rheostat.studies.held_back import cost, recovery, stepping_down
from rheostat.studies.part import run_parts
from rheostat.studies.study import Context, Findings, Study

CLAIMS = {
    stepping_down.CLAIM: stepping_down.STATEMENT,
    recovery.CLAIM: recovery.STATEMENT,
    cost.CLAIM: cost.STATEMENT,
}


def run(context: Context) -> Findings:
    """Run the parts and join what they found."""
    return run_parts(context, (stepping_down.run, recovery.run, cost.run), tuple(CLAIMS))


STUDY = Study(
    name="held-back",
    title="A served impairment: whether a walk down the dial finds a safe level, what stays held back, and the cost",
    source="Helm-Burger, “Progress report 7” (LessWrong, 2022)",
    claims=CLAIMS,
    run=run,
)
