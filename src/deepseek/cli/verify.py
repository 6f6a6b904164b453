"""`deepseek verify`: is a bundle, a signed report or a certificate as its maker wrote it, and who signed?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import BUNDLE, FILE

if TYPE_CHECKING:
    from deepseek.bundle.report import VerificationReport

NOT_MET_EXIT_CODE = 3
SIGNATURES = {
    "none": "not signed",
    "not checked": "signed; not checked, give the public key with --key",
    "good": "signed by the key you gave",
}

EPILOG = """\b
Examples:
  deepseek verify loans
  deepseek verify loans --key release-key.pub --json
  deepseek verify report.html --key release-key.pub
  deepseek verify junior.json --key school-key.pub
"""


@click.command(epilog=EPILOG, short_help="Check every byte of a bundle or a report, and its signature.")
@click.argument("bundle", type=BUNDLE)
@click.option("--key", type=FILE, help="Public key that must have signed it (see keygen).")
@output.json_option
@click.pass_context
def command(ctx: click.Context, bundle: Path, key: Path | None, as_json: bool) -> None:
    """Check every byte of BUNDLE against its manifest; of a single file, as a report, against FILE.sig beside it; of a
    certificate (see learn certify) against the proof in it. Exit code 3 when something is wrong."""
    from deepseek.bundle import verification
    from deepseek.learn.certificates.verify import is_certificate, verify_certificate

    if is_certificate(bundle):
        result = verify_certificate(bundle, key=key)
        output.emit(result, as_json, lambda: certificate_report(bundle, result))
    else:
        result = verification(bundle, key=key)
        output.emit(result, as_json, lambda: report(bundle, result))
    if not result.is_ok:
        ctx.exit(NOT_MET_EXIT_CODE)


def report(bundle: Path, result: VerificationReport) -> list[object]:
    """The verdict in one line, then each problem."""
    problems = result.problems
    if problems:
        return [f"{bundle}: {len(problems)} problem{'s' if len(problems) > 1 else ''}", *(f"  {p}" for p in problems)]
    whole = f"all {output.format_value(result.num_files)} files are as they were written"
    if bundle.is_file():
        whole = "the file is as it was signed"
    return [f"{bundle}: {whole}; {SIGNATURES[result.signature]}"]


def certificate_report(path: Path, result: VerificationReport) -> list[object]:
    """The verdict on a certificate and what it says, or each problem."""
    if result.problems:
        return report(path, result)
    from deepseek.learn.certificates.review import Review
    from deepseek.learn.certificates.verify import claim_of

    claim = claim_of(path)
    if isinstance(claim, Review):
        says = f"of {claim.lab} by {output.escape_text(claim.author)}, reviewed by {output.escape_text(claim.reviewer)}"
        return [f"{path}: a review as it was signed ({says}); {SIGNATURES[result.signature]}"]
    says = f"{claim.level}, {output.escape_text(claim.holder)}, {claim.issued[:10]}, {len(claim.labs)} labs"
    lines: list[object] = [f"{path}: a certificate as it was issued ({says}); {SIGNATURES[result.signature]}"]
    lines += [f"  {note}" for note in result.notes]
    return lines
