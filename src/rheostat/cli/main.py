"""The `rheostat` command and its exit codes: 0 done, 1 the answer is no, 2 the user's input, 3 our bug, 130 Ctrl-C."""

import io
import logging
import os
import sys
from collections.abc import Sequence

from rheostat.base.errors import InternalError, RheostatError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; every error ends in one clear line on stderr."""
    try:
        code = _run(sys.argv[1:] if arguments is None else list(arguments))
        sys.stdout.flush()
    except RheostatError as error:
        _leave(f"{type(error).__name__}: {error}", error.exit_code)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if os.environ.get("RHEOSTAT_DEBUG"):
            raise
        _leave(
            f"InternalError: {type(error).__name__}: {_one_line(error)}. "
            "This is a bug of rheostat; RHEOSTAT_DEBUG=1 shows where.",
            InternalError.exit_code,
        )
    if code == 130:
        _leave("Interrupted; nothing half-written is left. `rheostat run` goes on after its last finished step.", 130)
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    _prepare_streams()
    import typer

    from rheostat.cli.app import app

    try:
        code = app(arguments or ["--help"], prog_name="rheostat", standalone_mode=False)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "rheostat"
        _leave(f"BadArgument: {_one_line(error.format_message()).rstrip('.')}. See: {where} --help", 2)
    return code if isinstance(code, int) else 0


def _prepare_streams() -> None:
    """Let no character that the locale lacks stop a command, and show rheostat's own remarks on stderr.

    What only tells what is being waited for goes to terminals: elsewhere an error is one line, with nothing before it.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    remarks = logging.StreamHandler()
    remarks.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("rheostat")
    log.handlers, log.propagate = [remarks], False
    log.setLevel(logging.INFO if sys.stderr.isatty() else logging.WARNING)


def _one_line(message: object) -> str:
    return " ".join(str(message).split())


def _leave(message: str, code: int) -> None:
    print(message, file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
