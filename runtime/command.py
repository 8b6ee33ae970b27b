"""What every command shares: an error that a user can act on is one line on standard error and exit status 2."""

import functools
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from nmbrl.targets.errors import NmbrlError

Command = TypeVar("Command", bound=Callable[..., Any])


def reports_errors(function: Command) -> Command:
    """Wrap a click command's function so that an `NmbrlError` ends it with one line and status 2."""

    @functools.wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except NmbrlError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(130)

    return wrapped  # type: ignore[return-value]


def repeat_command() -> str:
    """The command line that this process was called with."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
