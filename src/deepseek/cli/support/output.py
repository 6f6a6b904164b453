"""What a verb says: one JSON object or one table on stdout, everything else on stderr.

    emit(result, as_json, lambda: fact_table([("rows", count(12345))]))

rich is imported only when a table is drawn. Whatever is no JSON passes look.terminal on its way: names and labels are
somebody's data.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

import click

from deepseek.look.summary import PIPE_WIDTH, fact_table, figure_table, format_value, make_table, render_text
from deepseek.look.terminal import escape_for_terminal

if TYPE_CHECKING:
    from deepseek.errors import DeepseekError

__all__ = [
    "draw",
    "emit",
    "emit_unmet",
    "escape_text",
    "fact_table",
    "fail",
    "figure_table",
    "format_value",
    "is_lost",
    "json_option",
    "make_table",
    "note",
    "note_written",
    "silence",
    "warn",
]

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


def emit(
    json_object: Mapping[str, Any],
    as_json: bool,
    table: Callable[[], object] | object | None = None,
) -> None:
    """Print `json_object` as JSON, or `table`: text, anything that rich draws, a list of these, or a function
    that makes one of them. Without a table the object's own fields are drawn."""
    if as_json:
        click.echo(json.dumps(_to_jsonable(json_object), ensure_ascii=False, allow_nan=False))
        return
    parts = table() if callable(table) else table
    draw(fact_table(json_object.items()) if parts is None else parts)


def draw(part: object) -> None:
    """Print text, a rich renderable or a list of these on stdout. A pipe has no width: nothing is wrapped there."""
    if isinstance(part, Sequence) and not isinstance(part, str):
        for item in part:
            draw(item)
    else:
        click.echo(render_text(part, width=None if sys.stdout.isatty() else PIPE_WIDTH), nl=False)


def note(message: str) -> None:
    """One line for the person, on stderr, so that stdout stays clean for a pipe."""
    click.echo(escape_for_terminal(message), err=True)


def warn(warnings: Iterable[str]) -> None:
    """What a person should know before the figures are used, on stderr."""
    for warning in warnings:
        note(f"warning: {warning}")


def note_written(paths: Mapping[str, str | Path | None], *, is_signed: bool) -> None:
    """Say on stderr where each document is (None: it was not asked for), and where its signature."""
    for what, path in paths.items():
        if path is not None:
            signature = f", its signature in {path}.sig" if is_signed else ""
            note(f"the {what} is in {path}{signature}")


def fail(error: Mapping[str, str], code: int, as_json: bool) -> int:
    """Say an error on stderr, and on stdout as {"error": ...} when JSON was asked for. Returns `code`."""
    lines = [f"error: {error['message']}"]
    lines += [
        f"  {name}: {error[key]}" for key, name in (("expected", "expected"), ("fix", "to mend it")) if error[key]
    ]
    _print_last(escape_for_terminal("\n".join(lines)), sys.stderr)
    if as_json:
        _print_last(json.dumps({"error": dict(error)}, ensure_ascii=False), sys.stdout)
    return code


def emit_unmet(
    json_object: Mapping[str, Any], error: DeepseekError, as_json: bool, table: Callable[[], object] | object | None
) -> NoReturn:
    """Print what was found although a stated limit is not met, as emit() does, and end with the error's exit code.
    With JSON the one object on stdout holds the "error", too."""
    emit({**json_object, "error": error.to_dict()}, as_json, table)
    raise click.exceptions.Exit(fail(error.to_dict(), error.exit_code, as_json=False))


def _print_last(text: str, stream: IO[str]) -> None:
    """Print a line where that can still be done: an error may be that it cannot."""
    if not is_lost(stream):
        with contextlib.suppress(OSError):
            click.echo(text, file=stream)
        is_lost(stream)


def is_lost(stream: IO[str]) -> bool:
    """Whether what a stream holds back cannot be written. Then it is silenced."""
    try:
        stream.flush()
    except OSError:
        silence(stream)
        return True
    return False


def silence(stream: IO[str]) -> None:
    """Nothing more comes out of a stream, not even a complaint at exit about what it held back."""
    fd = os.open(os.devnull, os.O_WRONLY)
    os.dup2(fd, stream.fileno())
    os.close(fd)


def escape_text(text: str) -> str:
    """A name out of somebody's data on one line; what could drive the terminal is shown as its code."""
    return escape_for_terminal(text, one_line=True)


def _to_jsonable(value: Any) -> Any:
    """Any value as JSON knows it: numpy's scalars and arrays as numbers and lists, paths as text, NaN as null."""
    if isinstance(value, Mapping):
        return {str(key): _to_jsonable(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return _to_jsonable(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_to_jsonable(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else str(value)
