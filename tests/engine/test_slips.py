"""Arguments of a wrong type, as a user gives them: in a process of its own, without the type checks of the tests."""

import json
import subprocess
import sys

import pytest

SLIPS = {
    "m.run({'input_ids': [P]})": "tokenizer's encoding",
    "m.run(None)": "None is no prompt",
    "m.run([None])": "None is no prompt",
    "m.run([[None]])": "[None] is no prompt",
    "m.run([P, 3.5])": "3.5 is no prompt",
    "m.run([])": "there is no prompt",
    "m.run(torch.tensor([[5, 9, 7], [8, 9, 0]]))": "row 1 of the token ids ends with the pad token 0",
    "m.generate(np.array([[5, 9, 7], [0, 8, 9]]))": "row 1 of the token ids begins with the pad token 0",
    "m.sweep(torch.tensor([[5, 9, 7], [8, 9, 0]]), [rh.Zero(S)], rh.Probability(3))": "ends with the pad token 0",
    "m.run(P, plans=rh.Zero(S))": "one plan for all rows is edits=",
    "m.run(P, rh.Add(S, np.zeros(16)))": "an array or list: torch.tensor(…)",
    "m.run(P, rh.Replace(S, 'The capital of France is'))": "a text: FromPrompt('…')",
    "m.run(P, rh.Zero(S, units=3))": "units=3 are no integers",
    "rh.Plan(('x',))": "edits holds a str",
    "rh.Mix(S, 5)": "the other prompt is a text; given 5",
    "m.capture(P, S, positions=[True])": "True is no keyword, index",
    "m.capture(P, S, positions=2.5)": "2.5 is no keyword, index",
    "m.generate(P, temperature=1.0, seed=10**40)": "at most 63 bits",
    "m.lens([P, P])": "one prompt at a time; 2 were given",
    "m.lens(P, points=())": "no decode point is asked for",
    "m.lens(P, positions=[])": "names no token",
    "rh.patch_activations(m, P, P[::-1], answer=3, versus=4, direction='both')": "one of denoise, noise",
    "m.sweep(P, rh.Zero(S), rh.Probability(3))": "cells is a list",
    "m.sweep(P, S, rh.Probability(3))": "cells is a list",
    "m.sweep(P, [rh.Zero(S), S], rh.Probability(3))": "cell 1 is 'blocks.1.mlp_out', which edits nothing. A cell",
    "m.sweep(P, [[rh.Zero(S), S]], rh.Probability(3))": "cell 0 is [",
    "m.sweep(P, [3], rh.Probability(3))": "cell 0 is 3, which edits nothing",
    "rh.Cell(S)": "edits holds a str; it takes edits such as Add(…).",
    "rh.load(torch.nn.Linear(2, 2)).run(P)": "use run_plain(inputs)",
    "m.lens(P).grid(position=1)": "position 1 was not read. Read: 4.",
}
SAME = ("tuple(P)", "torch.tensor(P)", "np.array(P)", "[P]", "torch.tensor([P])")
SCRIPT = """
import json, sys
import numpy as np, torch
import rheostat as rh
from rheostat.models.toy import toy
m, S, P = rh.load(toy("llama")), "blocks.1.mlp_out", [5, 9, 30, 12, 7]
m.module.config.pad_token_id = 0
slips, same = json.loads(sys.argv[1])
for slip in slips:
    try:
        said = f"returned {eval(slip)}"
    except rh.RheostatError as error:
        said = f"{error.exit_code} {error}"
    except Exception as error:
        said = repr(error)
    slips[slip] = said
print(json.dumps([slips, [torch.equal(m.run(eval(one)).logits, m.run(P).logits) for one in same]]))
"""


@pytest.mark.slow  # a process of its own
def test_a_slip_is_one_clear_error_and_what_means_the_same_is_taken():
    asked = json.dumps([dict.fromkeys(SLIPS, ""), SAME])
    done = subprocess.run([sys.executable, "-c", SCRIPT, asked], capture_output=True, text=True, check=True)
    said, same = json.loads(done.stdout)
    for slip, wanted in SLIPS.items():
        assert said[slip].startswith("2 "), f"{slip}: {said[slip]}"
        assert wanted in said[slip], f"{slip}: {said[slip]}"
        assert "\n" not in said[slip]
    assert same == [True] * len(SAME)
