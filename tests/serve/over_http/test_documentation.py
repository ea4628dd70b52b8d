"""What the page on serving shows of OpenAI's client does run."""

import contextlib
import io
import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "serving.md"


def test_the_example_of_the_page_runs(served):
    (code,) = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    own = {"http://127.0.0.1:8765": served.url, "rh-…": served.key(0.6, draws=5), "smollm2-135m-instruct": "toy"}
    for shown, real in own.items():
        assert shown in code
        code = code.replace(shown, real)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(PAGE), "exec"), {})
    assert " 0.6\n" in printed.getvalue()
