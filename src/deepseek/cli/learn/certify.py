"""`deepseek learn certify`: a signed certificate of a level."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE

EPILOG = """\b
Examples:
  deepseek keygen school-key
  deepseek learn certify junior --name "Ann Li" --key school-key --issuer "Example School"
  deepseek verify junior.json --key school-key.pub
"""


@click.command(epilog=EPILOG, short_help="Make a signed certificate.")
@click.argument("level", type=click.Choice(("junior", "senior", "expert")))
@click.option("--name", required=True, help="Whom it is of.")
@click.option("--key", required=True, type=FILE, help="Private key that signs it (see keygen).")
@click.option("--issuer", default="", help="Who signs.")
@click.option("--out", type=FILE, help="File to write; its page lies beside it.  [default: LEVEL.json]")
@output.json_option
def command(level: str, name: str, key: Path, issuer: str, out: Path | None, as_json: bool) -> None:
    """Write a certificate of LEVEL as an Open Badges 3.0 credential, and a page to print. Exit code 3 when a lab of the
    level is not passed. It is worth what the holder of the key has seen: a school grades on a machine of its own."""
    from deepseek.extras import need

    need("cryptography", extra="serve")
    from deepseek.learn.certificates.issue import issue
    from deepseek.learn.verbs import open_path

    result = issue(open_path(), level, name, key, out or Path(f"{level}.json"), issuer)  # type: ignore[arg-type]
    output.emit(result, as_json, [result.summary(), f"then: deepseek verify {result.path} --key {key}.pub"])
