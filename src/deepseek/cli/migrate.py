"""`deepseek migrate`: a bundle of an older format as a bundle of the current one."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import BUNDLE, FILE

EPILOG = """\b
Examples:
  deepseek migrate loans --dry-run
  deepseek migrate loans --out loans-new --key release-key
"""


@click.command(epilog=EPILOG, short_help="Bring a bundle to the current format.")
@click.argument("bundle", type=BUNDLE)
@click.option("--out", type=BUNDLE, help="Folder of the new bundle.  [default: BUNDLE-formatN beside it]")
@click.option("--dry-run", is_flag=True, help="Say what would change and write nothing.")
@click.option("--key", type=FILE, help="Sign with this private key: an old signature does not carry over.")
@output.json_option
def command(bundle: Path, out: Path | None, dry_run: bool, key: Path | None, as_json: bool) -> None:
    """Write BUNDLE in the current format as a new bundle. The original stays as it is."""
    from deepseek.bundle.migrate import migrate_bundle

    done = migrate_bundle(bundle, out=out, dry_run=dry_run, key=key)
    if done.was_signed and key is None and done.changes:
        output.note("note: the old signature does not cover the new bundle; sign it again with --key")
    if not done.changes:
        output.emit(done, as_json, lambda: f"{bundle} is of format {done.to_format} already; there is nothing to do")
        return
    wrote = "wrote" if done.written else "would write"
    output.emit(
        done,
        as_json,
        lambda: [
            f"{wrote} {done.out}: format {done.from_format} to {done.to_format}",
            *(f"  {change}" for change in done.changes),
            output.fact_table([("digest", done.digest), ("parent", done.parent)]),
        ],
    )
