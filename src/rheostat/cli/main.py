"""The `rheostat` command and its exit codes: 0 done, 1 the answer is no, 2 the user's input, 3 our bug."""

import os
import sys

import typer

from rheostat.base.errors import InternalError, RheostatError
from rheostat.cli import check, claims, demo, generate, lens, models, run, sites, studies

app = typer.Typer(
    name="rheostat",
    help="Read what a network is thinking, turn any part of it up or down, and measure what changed.",
    epilog='Example: rheostat lens "The capital of Germany is"',
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (lens, generate, demo, run, studies, models, sites, check, claims):
    name = module.__name__.rpartition(".")[2]
    app.command(name=name, epilog=module.EXAMPLE)(module.command)


def main() -> None:
    """Run the command line; every error ends in one clear line on stderr."""
    try:
        app()
    except RheostatError as error:
        _leave(f"{type(error).__name__}: {error}", error.exit_code)
    except KeyboardInterrupt:
        _leave("Interrupted. What was computed is kept; the same command goes on where it stopped.", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if os.environ.get("RHEOSTAT_DEBUG"):
            raise
        _leave(
            f"InternalError: {type(error).__name__}: {error}. This is a bug of rheostat; RHEOSTAT_DEBUG=1 shows where.",
            InternalError.exit_code,
        )


def _leave(message: str, code: int) -> None:
    print(message, file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
