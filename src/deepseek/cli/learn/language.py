"""In which language a lab speaks in a terminal, and what is said of a progress file that was put aside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepseek.cli.support import output

if TYPE_CHECKING:
    from deepseek.learn.definition.lab import Language
    from deepseek.look.words import Text

language_option = click.option(
    "--lang", "language", type=click.Choice(("en", "zh")), help="Language of the lab.  [default: that of LANG]"
)


def resolve_language(language: str | None) -> Language:
    """The one that was chosen, or Chinese where the terminal's is."""
    if language is None:
        language = "zh" if os.environ.get("LC_ALL", os.environ.get("LANG", "")).startswith("zh") else "en"
    return "zh" if language == "zh" else "en"


def pick(text: Text, language: Language) -> str:
    return text.zh if language == "zh" else text.en


def warn_set_aside(path: Path | None) -> None:
    """A progress file that could not be read was kept under another name: say so, and how to fill the new one."""
    if path is not None:
        output.warn(
            [f"the progress file could not be read and lies in {path} now; deepseek learn check --all grades again"]
        )
