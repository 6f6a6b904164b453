"""`deepseek learn certify`: a signed certificate of a level."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER

if TYPE_CHECKING:
    from deepseek.learn.definition.lab import Level

EPILOG = """\b
Examples:
  deepseek keygen school-key
  deepseek learn certify junior --name "Ann Li" --key school-key --issuer "Example School"
  deepseek verify junior.json --key school-key.pub
  deepseek learn certify expert --folder architecture_review --rubric rubric.toml --name "Bo Wu" --key bo-key
  deepseek learn certify expert --review review.json --name "Ann Li" --key school-key
"""


@click.command(epilog=EPILOG, short_help="Make a signed certificate.")
@click.argument("level", type=click.Choice(("junior", "senior", "expert")))
@click.option("--name", required=True, help="Whom it is of; with --rubric: who has reviewed.")
@click.option("--key", required=True, type=FILE, help="Private key that signs it (see keygen).")
@click.option("--issuer", default="", help="Who signs.")
@click.option("--review", "reviews", multiple=True, type=FILE, help="Signed rubric, of a level that asks for one.")
@click.option("--rubric", type=FILE, help="Rubric that you have filled in about the work of another: sign it.")
@click.option("--folder", type=FOLDER, help="With --rubric: the folder that you have reviewed.")
@click.option("--out", type=FILE, help="File to write; its page lies beside it.  [default: LEVEL.json, review.json]")
@output.json_option
def command(
    level: Level, name: str, key: Path, issuer: str, reviews: tuple[Path, ...], rubric: Path | None,
    folder: Path | None, out: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Write a certificate of LEVEL as an Open Badges 3.0 credential, and a page to print. Exit code 3 when a lab of the
    level is not passed, or not reviewed. It is worth what the holder of the key has seen: a school grades on a machine
    of its own. With --rubric and --folder a reviewer signs what they say of a learner's work instead."""
    from deepseek.extras import need

    need("cryptography", extra="serve")
    if (rubric is None) != (folder is None) or (rubric is not None and (reviews or issuer)):
        raise click.UsageError("--rubric goes with --folder, and without --review and --issuer")
    from deepseek.learn.certificates.issue import issue, issue_review
    from deepseek.learn.verbs import open_path

    if rubric is not None and folder is not None:
        done = issue_review(open_path(), level, folder, rubric, name, key, out or Path("review.json"))
        output.emit(done, as_json, [done.summary(), f"then: deepseek learn certify {level} --review {done.path} ..."])
        return
    result = issue(open_path(), level, name, key, out or Path(f"{level}.json"), issuer, reviews)
    output.emit(result, as_json, [result.summary(), f"then: deepseek verify {result.path} --key {key}.pub"])
