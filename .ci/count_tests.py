"""Sum the tests of every JUnit file in a folder; exit 1 when one failed or none ran.

Usage: python .ci/count_tests.py build/junit
"""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def count(file: Path) -> tuple[int, int, int]:
    """Return the numbers of passed, failed (or broken) and skipped tests in one file."""
    suites = ET.parse(file).getroot().iter("testsuite")
    totals = [[int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")] for suite in suites]
    tests, failures, errors, skipped = (sum(column) for column in zip(*totals, strict=True))
    return tests - failures - errors - skipped, failures + errors, skipped


def line(passed: int, failed: int, skipped: int) -> str:
    """Return the closing line, such as `12 passed, 0 failed, 1 skipped`."""
    return f"{passed} passed, {failed} failed, {skipped} skipped"


def main(folder: Path) -> int:
    """Print one line per file, then the sum; return the exit status."""
    counts = {file.stem: count(file) for file in sorted(folder.glob("*.xml"))}
    for name, numbers in counts.items():
        print(f"tests, {name}: {line(*numbers)}")
    passed, failed, skipped = (sum(numbers[i] for numbers in counts.values()) for i in range(3))
    print(line(passed, failed, skipped))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
