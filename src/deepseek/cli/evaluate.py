"""`deepseek evaluate`: the figures of a bundle on rows that it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import BUNDLE, FILE, bundle_key_option, files_options

EPILOG = """\b
Examples:
  deepseek evaluate loans later.csv
  deepseek evaluate loans later.parquet --by branch --json
  deepseek evaluate patients later.csv --files scans --broken mask
  deepseek evaluate line3 boxes.csv --files pictures
  deepseek evaluate help stories.toml --dialogue dialogue.toml
  deepseek evaluate review reviewed/
"""


@click.command(epilog=EPILOG, short_help="Measure a bundle on labelled data.")
@click.argument("bundle", type=BUNDLE)
@click.argument("data", type=FILE)
@click.option("--by", multiple=True, metavar="COL", help="Figures for each value of a column. May be repeated.")
@files_options
@click.option("--dialogue", type=FILE, help="Slots and flows that stories are played with.  [default: the bundle's]")
@bundle_key_option
@output.json_option
def command(
    bundle: Path,
    data: Path,
    by: tuple[str, ...],
    files: Path | None,
    broken: Literal["fail", "mask"],
    dialogue: Path | None,
    key: Path | None,
    as_json: bool,
) -> None:
    """Measure BUNDLE on the labelled rows of DATA, with bootstrap intervals.

    A bundle of `recipe maintenance` takes raw sensors: remaining life in a column `rul`, or each machine's last row is
    its failure. For a bundle of `recipe defects` DATA holds boxes, as in training, and --files the pictures. For one of
    `recipe assistant` it holds questions and their intents, oos for those that belong to none; or it is a .toml file of
    stories, conversations as they have to go, which ends with 3 where one goes otherwise. For a bundle of
    `recipe compliance` DATA is a folder of reviewed documents with labels.csv.
    """
    from deepseek.cli.support.kinds.assistants import evaluate_questions, is_assistant
    from deepseek.cli.support.kinds.conversations import evaluate_stories, is_story_file
    from deepseek.cli.support.kinds.detection import evaluate_pictures, is_detector
    from deepseek.cli.support.kinds.reviewing import evaluate_documents, is_review

    if is_detector(bundle):
        evaluate_pictures(bundle, data, files, key=key, as_json=as_json)
        return
    if is_story_file(bundle, data):
        evaluate_stories(bundle, data, key=key, dialogue=dialogue, as_json=as_json)
        return
    if dialogue is not None:
        raise click.UsageError("--dialogue goes with an assistant and a .toml file of stories")
    if is_assistant(bundle):
        evaluate_questions(bundle, data, key=key, as_json=as_json)
        return
    if is_review(bundle):
        evaluate_documents(bundle, data, key=key, as_json=as_json)
        return
    from deepseek.automl.evaluate import evaluate_bundle
    from deepseek.cli.support.kinds.machines import machine_rows
    from deepseek.cli.support.opening import warn_unchecked

    rows = machine_rows(bundle, data, labelled=True)
    result = evaluate_bundle(bundle, rows, by=by, files=files, broken=broken, key=key)
    warn_unchecked(bundle, key)
    output.warn(result.warnings)
    output.emit(result, as_json, result.summary_parts)
