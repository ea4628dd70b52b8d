"""The instruction-tuned model beside the base model: are flipped labels followed less by the tuned one?"""

from rheostat.metrics.statistics import paired_difference
from rheostat.models.zoo import BUILT_INS
from rheostat.studies.flipped_labels.measuring import Asked
from rheostat.studies.flipped_labels.override import UNIT, most
from rheostat.studies.flipped_labels.settings import Setting
from rheostat.studies.judging import compared_all, measurement
from rheostat.studies.part import Part
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context

CLAIM = "flip-5"
STATEMENT = "Instruction tuning makes models worse at following flipped labels."
TUNED, BASE = "smollm2-135m-instruct", "gemma3-270m"


def measure_all(asked: Asked, k: int, seed: int) -> list[Measurement]:
    """Return the tuned model's accuracy against the base model's, on the same streams; none where one is missing."""
    shown = {
        "all labels flipped": Setting(k, share=1.0),
        "regular labels": Setting(k),
        "foo and bar": Setting(k, "foo/bar"),
    }
    found = []
    for texts in dict.fromkeys(texts for _, texts in asked):
        if (TUNED, texts) in asked and (BASE, texts) in asked:
            for name, setting in shown.items():
                tuned, base = (asked[model, texts].calibrated(setting) for model in (TUNED, BASE))
                difference, control = paired_difference(tuned, base, seed=seed), float(base.mean())
                quantity = f"accuracy on {texts}, {name}"
                found.append(measurement(TUNED, quantity, difference, control=control, unit=UNIT, control_name=BASE))
    return found


def run(context: Context, asked: Asked) -> Part:
    """Set both built-in models side by side."""
    found = measure_all(asked, most(context), context.seed)
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict="not testable here",
        reason="The built-in tuned model and the built-in base model differ in family and size too, so no difference "
        "between them can be laid to tuning; no copy of one was tuned.",
        measurements=tuple(found),
    )
    text = compared_all(found) if found else f"Needs both {' and '.join(BUILT_INS)}; one of them was not run."
    return Part((Section("Tuned and base", text),), verdicts=(verdict,))
