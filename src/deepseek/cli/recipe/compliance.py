"""`deepseek recipe compliance`: a checklist and reviewed documents to a bundle that reviews others."""

from __future__ import annotations

import shlex
import sys
from contextlib import closing
from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import BUNDLE, FILE, FOLDER, share
from deepseek.cli.support.progress import Progress

EPILOG = """\b
Examples:
  deepseek recipe compliance --example --out review
  deepseek recipe compliance checklist.toml --train reviewed/ --out review
  deepseek recipe compliance checklist.toml --train reviewed/ --embed all-MiniLM --key release-key --out review
  deepseek review review contract.pdf --html findings.html
"""


@click.command(epilog=EPILOG, short_help="A checklist becomes a bundle that reviews documents.")
@click.argument("checklist", type=FILE, required=False)
@click.option("--train", "documents", type=FOLDER, help="Folder of reviewed documents with labels.csv.")
@click.option("--example", is_flag=True, help="Run on supplier agreements that are written into OUT-example.")
@click.option("--out", type=BUNDLE, required=True, help="Folder of the bundle.")
@click.option("--embed", "encoder", type=FOLDER, help="Text model that reads passages: a Hugging Face folder.  "
              "[default: all-MiniLM-L6-v2 where its package is installed]")  # fmt: skip
@click.option("--no-encoder", is_flag=True, help="Words and letters alone, without a text model.")
@click.option("--tune", is_flag=True, help="Let three copies of the encoder learn the lines: minutes of CPU.")
@click.option("--held", "held_share", type=share, default="0.2", show_default=True, metavar="SHARE",
              help="Documents that are held back for the figures.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), help="Of draws.")
@click.option("--key", type=FILE, help="Private key that signs the bundle.")
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is there.")
@output.json_option
def command(
    checklist: Path | None, documents: Path | None, example: bool, out: Path, encoder: Path | None, no_encoder: bool,
    tune: bool, held_share: float, seed: int, key: Path | None, overwrite: bool, as_json: bool,
) -> None:  # fmt: skip
    """Learn to judge documents by the lines of CHECKLIST (TOML), from the documents in --train that people reviewed.

    labels.csv in that folder has the columns document, line, state (holds: the document says the line, breaks: it
    says the opposite, not there) and quote. A line with too few examples is looked for by its words, which is weaker
    and is said with every answer."""
    if (not example, not example) != (checklist is not None, documents is not None):
        raise click.UsageError("give CHECKLIST and --train, or --example alone")
    if encoder is not None and no_encoder:
        raise click.UsageError("--embed and --no-encoder exclude each other")
    from deepseek.bundle import check_target
    from deepseek.citations.review.embedders import EncoderChoice, default_encoder
    from deepseek.citations.review.training import ReviewOptions
    from deepseek.citations.review.tuning import TuneOptions
    from deepseek.extras import need
    from deepseek.recipes.compliance import run_compliance

    need("sklearn", extra="tabular")
    if tune:
        need("torch", extra="train")
        need("transformers", extra="convert")
    need("xgboost", extra="explain")
    check_target(out, overwrite=overwrite, key=key)
    if checklist is None or documents is None:
        from deepseek.recipes.compliance.example import write_example

        files = write_example(out.with_name(f"{out.name}-example"), seed=seed)
        checklist, documents = files.checklist, files.documents
        output.note(f"the example is in {files.documents.parent}; next: deepseek review {out} {files.contract} "
                    f"--against {files.older} --html findings.html")  # fmt: skip
    choice = EncoderChoice("folder", str(encoder)) if encoder is not None else default_encoder()
    if no_encoder:
        choice = EncoderChoice("hashed")
    options = ReviewOptions(
        out, choice, held_share, seed, overwrite, key, shlex.join(["deepseek", *sys.argv[1:]]),
        TuneOptions() if tune else None,
    )  # fmt: skip
    with closing(Progress()) as progress:
        result = run_compliance(checklist, documents, options, progress=progress)
    output.warn(result.warnings)
    output.emit(result, as_json, result.summary_parts)
