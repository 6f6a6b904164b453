"""`deepseek keygen`: a key pair that signs bundles."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE

EPILOG = """\b
Example:
  deepseek keygen release-key
  deepseek ship loans.csv --target default --out loans --key release-key
  deepseek verify loans --key release-key.pub
"""


@click.command(epilog=EPILOG, short_help="Make a key pair that signs bundles.")
@click.argument("out", type=FILE)
@output.json_option
def command(out: Path, as_json: bool) -> None:
    """Write a new Ed25519 private key to OUT and its public key to OUT.pub. Nothing is overwritten."""
    from deepseek.bundle.sign import generate_keys

    private, public, key = generate_keys(out)
    output.emit(
        {"private": str(private), "public": str(public), "key": key},
        as_json,
        lambda: [
            f"{private}: the private key. It has no password: keep it secret, outside of any repository.",
            f"{public}: the public key. Give it to whoever has to trust your bundles.",
        ],
    )
