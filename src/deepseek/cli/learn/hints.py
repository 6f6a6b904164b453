"""`deepseek learn hints`: the next step of help."""

from __future__ import annotations

import click

from deepseek.cli.learn.language import language_option, pick, resolve_language
from deepseek.cli.support import output

EPILOG = """\b
Examples:
  deepseek learn hints first_bundle
  deepseek learn hints first_bundle signed
"""


@click.command(epilog=EPILOG, short_help="Give the next hint.")
@click.argument("lab", required=False)
@click.argument("check", required=False)
@language_option
@output.json_option
def command(lab: str | None, check: str | None, language: str | None, as_json: bool) -> None:
    """Give the next hint for a CHECK of LAB: for the first that failed, where none is named. How many were read is
    written in a certificate, and costs no points."""
    from deepseek.learn.verbs import next_hint, open_path

    hint = next_hint(open_path(), lab, check)
    chosen = resolve_language(language)
    lines = [f"{pick(hint.title, chosen)}: hint {hint.number} of {hint.total}", pick(hint.text, chosen)]
    output.emit(hint, as_json, lines)
