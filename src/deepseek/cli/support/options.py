"""Kinds of options that several verbs share, and how their text is read.

Each is a function for click's `type=`: it returns the value, or raises BadParameter, to which click adds the option.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

BUNDLE = click.Path(path_type=Path)
FILE = click.Path(path_type=Path)
FOLDER = click.Path(path_type=Path)

bundle_key_option = click.option("--key", type=FILE, help="Public key that must have signed BUNDLE (see keygen).")

_UNITS_S = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}


def duration(text: str) -> float:
    """Seconds, or a number with a unit.

    >>> duration("90"), duration("120s"), duration("1.5m"), duration("1h")
    (90.0, 120.0, 90.0, 3600.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|min|h|)\s*", text)
    if not match or not float(match[1]):
        raise click.BadParameter(f"{text!r} is not a time above zero, such as 90, 120s, 2m or 1h")
    return float(match[1]) * _UNITS_S[match[2]]


def num_bytes(text: str) -> int:
    """Bytes, or a number with a unit of 1,000.

    >>> num_bytes("500MB"), num_bytes("1.5 GB"), num_bytes("2000000")
    (500000000, 1500000000, 2000000)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)b?\s*", text, re.IGNORECASE)
    if not match or not float(match[1]):
        raise click.BadParameter(f"{text!r} is not a size above zero, such as 500MB or 2GB")
    return int(float(match[1]) * 1000 ** " kmgt".index(match[2].lower() or " "))


def assignment_of(words: tuple[str, ...]) -> Callable[[str], tuple[str, str]]:
    """COLUMN=VALUE, where the value is one of a few words.

    >>> assignment_of(("numeric", "text"))("a=b=text")
    ('a=b', 'text')
    """

    def read(text: str) -> tuple[str, str]:
        name, _, chosen = text.rpartition("=")
        if not name or chosen not in words:
            raise click.BadParameter(f"{text!r} is not COLUMN=VALUE with a value of {', '.join(words)}")
        return name, chosen

    return read


def names(text: str) -> tuple[str, ...]:
    """Names with commas between them, or a JSON list of them.

    >>> names("no, yes"), names('["a, b", "c"]')
    (('no', 'yes'), ('a, b', 'c'))
    """
    if not text.lstrip().startswith("["):
        return tuple(name.strip() for name in text.split(","))
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no JSON: {error}") from error
    return tuple(map(str, parsed))


def numbers(text: str) -> tuple[float, ...]:
    """Numbers with commas between them.

    >>> numbers("0.5,0.25")
    (0.5, 0.25)
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not numbers with commas between them") from error


def parse_assignment(text: str) -> tuple[str, str]:
    """COLUMN=VALUE, whatever the value.

    >>> parse_assignment("ct=resnet18:resnet18.safetensors")
    ('ct', 'resnet18:resnet18.safetensors')
    """
    name, _, value = text.partition("=")
    if not name or not value:
        raise click.BadParameter(f"{text!r} is not COLUMN=VALUE")
    return name, value


def json_text(text: str) -> Any:
    """JSON in the argument itself, or the path of a file that holds it."""
    document = text
    if not text.lstrip().startswith(("{", "[")):
        try:
            document = Path(text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise click.BadParameter(f"{text!r} is neither JSON nor a file that can be read ({error})") from error
    try:
        return json.loads(document)
    except (json.JSONDecodeError, RecursionError) as error:
        raise click.BadParameter(f"not JSON: {error}") from error


def share(text: str) -> float:
    """A number strictly between 0 and 1. A per cent is met so often that it is told how to be a share."""
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a number between 0 and 1") from None
    if text.endswith("%") or 1 < value < 100:
        raise click.BadParameter(f"it must be between 0 and 1. For {value:g} % write {value / 100:g}")
    if not 0 < value < 1:
        raise click.BadParameter(f"{text} is not between 0 and 1")
    return value


def first_run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--open-timeout and --open-memory, of verbs that run a graph that somebody else may have written."""
    memory = click.option(
        "--open-memory", type=click.IntRange(1, 1 << 20), default=8_192, show_default=True, metavar="MIB",
        help="What a graph may take more in its first run.",
    )  # fmt: skip
    seconds = click.option(
        "--open-timeout", type=duration, default="60", show_default=True, metavar="SECONDS",
        help="For the first run of a graph, which may hold a loop without an end.",
    )  # fmt: skip
    return seconds(memory(command))


def skip_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--files and --broken, of a verb that can leave rows out."""
    broken = click.option(
        "--broken", type=click.Choice(("fail", "mask", "skip")), default="fail", show_default=True,
        help="A file that cannot be read ends the run, or is masked and counted; or a row that cannot be scored is "
        "left out, with its reason.",
    )  # fmt: skip
    return _files_option(broken(command))


def files_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--files and --broken, of verbs that read rows with files."""
    broken = click.option(
        "--broken", type=click.Choice(("fail", "mask")), default="fail", show_default=True,
        help="A file that cannot be read ends the run, or its value is masked and counted.",
    )  # fmt: skip
    return _files_option(broken(command))


_files_option = click.option(
    "--files", type=FOLDER, help="Folder that paths in DATA lie below.  [default: that of DATA]"
)


operators_option = click.option(
    "--allow-operators", type=FILE, metavar="KEY",
    help="Run operators in machine code of bundles that this public key signed.  [env: ALLOW_OPERATORS]",
)  # fmt: skip
