"""`deepseek verify`: is every byte of a bundle as its maker wrote it, and who signed it?"""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli import output
from deepseek.cli.options import BUNDLE, FILE

NOT_MET = 3
SIGNATURES = {
    "none": "not signed",
    "not checked": "signed; not checked, give the public key with --key",
    "good": "signed by the key you gave",
}

EPILOG = """\b
Examples:
  deepseek verify loans
  deepseek verify loans --key release-key.pub --json
"""


@click.command(epilog=EPILOG, short_help="Check every byte of a bundle, and its signature.")
@click.argument("bundle", type=BUNDLE)
@click.option("--key", type=FILE, help="Public key that must have signed it (see keygen).")
@output.json_option
@click.pass_context
def command(ctx: click.Context, bundle: Path, key: Path | None, as_json: bool) -> None:
    """Check every byte of BUNDLE against its manifest. Exit code 3 when something is wrong."""
    from deepseek.bundle import open_bundle, verify_bundle

    problems = verify_bundle(bundle, key=key)
    if problems:
        failed = {"ok": False, "problems": problems}
        head = f"{bundle}: {len(problems)} problem{'s' if len(problems) > 1 else ''}"
        output.emit(failed, as_json, lambda: [head, *(f"  {problem}" for problem in problems)])
        ctx.exit(NOT_MET)
    opened = open_bundle(bundle, key=key)
    result = {"ok": True, "problems": [], "digest": opened.digest, "signature": opened.signature}
    num_files = output.word(len(opened.sizes))
    output.emit(
        result,
        as_json,
        lambda: f"{bundle}: all {num_files} files are as they were written; {SIGNATURES[opened.signature]}",
    )
