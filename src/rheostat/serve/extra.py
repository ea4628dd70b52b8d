"""Whether what the server needs is installed."""

import importlib.util

from rheostat.base.errors import MissingExtra


def check_installed() -> None:
    """Make sure that the packages of the extra `serve` are there, without loading them.

    Raises:
        MissingExtra: one is not.
    """
    for package in ("fastapi", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(
                f"the server needs {package}, which is not installed. In rheostat's folder, "
                "type: pip install '.[serve]'"
            )
