"""`predict --with`: answers of two houses together, of which this one has the target."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FOLDER

WITH_HELP = "Of a vertical study: ask the other house at URL, too. BUNDLE is this house's half, --key its private key."


def joint_predicting(command: Callable[..., None]) -> Callable[..., None]:
    """The verb `predict` with --with."""

    @click.option("--with", "other_house", metavar="URL", help=WITH_HELP)
    @click.option("--study", type=FOLDER, help="With --with: the folder of the study, as it was signed.")
    @functools.wraps(command)
    def predict(other_house: str | None, study: Path | None, **options: Any) -> None:
        if other_house is None:
            if study is not None:
                raise click.UsageError("--study goes with --with")
            command(**options)
            return
        if study is None or options["key"] is None:
            raise click.UsageError("--with needs --study and --key: the study's folder and this house's private key")
        predict_jointly(
            other_house, study, options["bundle"], options["data"], options["key"], options["out"],
            may_skip=options["broken"] == "skip", as_json=options["as_json"],
        )  # fmt: skip

    return predict


def predict_jointly(
    url: str, study: Path, half: Path, data: Path, key: Path, out: Path | None, *, may_skip: bool, as_json: bool
) -> None:
    """Answers of the people that both houses have into `out`, or on stdout. InputError for people that the other house
    does not have, unless they may be left out."""
    import numpy as np

    from deepseek.cli.support.scoring import as_columns
    from deepseek.cli.support.writers import RecordsWriter, check_suffix, open_writer
    from deepseek.data import read_table
    from deepseek.errors import InputError
    from deepseek.privacy.study.definition import open_study
    from deepseek.privacy.vertical.answers import JointAsker

    if out is not None:
        check_suffix(out)
    table, records = read_table(data), RecordsWriter()
    with closing(JointAsker.open(url, open_study(study), half, key)) as asker:
        places, prediction = asker.predict(table)
    missing = np.setdiff1d(np.arange(table.num_rows), places)
    if len(missing) and (not may_skip or not len(places)):
        raise InputError(
            f"the other house does not have the people of {len(missing)} of {table.num_rows} rows, the first of which "
            f"is row {missing[0]}",
            expected="people that both houses have", fix="leave them out: --broken skip",
        )  # fmt: skip
    with nullcontext(records) if as_json and out is None else open_writer(out) as writer:
        writer.write(as_columns(places, prediction))
    if len(missing):
        output.note(f"skipped {len(missing)} rows of people that the other house does not have")
    result: dict[str, object] = {
        "bundle": str(half), "url": url, "num_rows": table.num_rows, "num_skipped": len(missing),
        "skipped": missing.tolist(),
    }  # fmt: skip
    result |= {"predictions": records.rows} if out is None else {"out": str(out)}
    if as_json:
        output.emit(result, as_json)
    elif out is not None:
        output.note(f"{output.format_value(len(places))} rows scored into {out}")
