"""`deepseek federate sign`: a party puts its name under a study."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.federate.init import study_parts
from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER

EPILOG = """\b
Examples:
  deepseek keygen bank-a
  deepseek federate sign cards --key bank-a
"""


@click.command(epilog=EPILOG, short_help="Put a party's signature under a study, and make its certificate.")
@click.argument("study", type=FOLDER)
@click.option("--key", type=FILE, required=True, help="Private key of a party that the study names.")
@output.json_option
def command(study: Path, key: Path, as_json: bool) -> None:
    """Sign STUDY/study.json after reading it, and make the party's certificate for TLS by the same key. Give both files
    to who serves the study."""
    from deepseek.privacy.study.definition import open_study
    from deepseek.privacy.transport.certificates import public_key_of, write_certificate

    folder = open_study(study)
    party = folder.study.party_of_key(public_key_of(key))
    signature, certificate = folder.sign(party, key), write_certificate(folder, party, key)
    report = {
        "study": str(study), "sha256": folder.study.digest, "party": party.name, "signature": str(signature),
        "certificate": str(certificate), "unsigned": list(folder.unsigned_parties()),
    }  # fmt: skip
    output.emit(report, as_json, lambda: [
        f"{party.name} has signed what follows; give {signature} and {certificate} to who serves the study",
        *study_parts(folder.study),
    ])  # fmt: skip
