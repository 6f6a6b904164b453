"""`ship`: data in, an evidence-carrying bundle out.

read -> kinds -> split -> leak checks -> prepare -> develop (search, blend, calibrate, refit)
     -> decide -> export with parity -> figures, segments, explanations -> one bundle, written at once
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deepseek.automl.options import ShipOptions
from deepseek.automl.shipped import ShipResult
from deepseek.errors import InputError

if TYPE_CHECKING:
    from deepseek.data import Table


def ship(data: Any = None, *, target: str | None = None, example: str | None = None, **options: Any) -> ShipResult:
    """Train, compare, calibrate, check, explain and pack a model for a table.

    `data` is a path (CSV, Parquet, Arrow), a pandas or polars frame or a Table, and `target` its column to predict; or
    `example` names a table to try it with (cancer, digits, fraud). The other arguments are the fields of ShipOptions.
    Raises InputError for what cannot be used and CheckError for a stated limit that is not met; then no bundle is left
    behind.
    """
    clock = (time.perf_counter(), time.process_time())
    if (data is None) == (example is None):
        raise InputError(
            "ship takes either data or an example",
            expected='ship("loans.csv", target="default") or ship(example="cancer")',
            fix="give one of the two",
        )
    if example is not None:
        data, options = from_example(example, options | {"target": target})
        target = options.pop("target")
    if target is None:
        raise InputError(
            "ship.target is missing", expected="the name of the column to predict", fix='add target="COLUMN"'
        )
    asked = ShipOptions(target=target, **options)
    from deepseek.data.table.memory import translate_memory_errors

    with translate_memory_errors(
        "the run", fix="give it less to hold with --memory 1GB, so that rows are drawn; or more memory"
    ):
        return _ship(data, asked, clock)


def _ship(data: Any, asked: ShipOptions, clock: tuple[float, float]) -> ShipResult:
    from deepseek.automl.pack import write_tabular_bundle
    from deepseek.automl.tabular_run import TabularRun, open_data

    opened = open_data(data, asked)
    from deepseek.automl.multimodal_run import media_kinds, ship_multimodal

    if media := media_kinds(opened, asked):
        return ship_multimodal(opened, asked, media, clock)
    if asked.encoders:
        raise InputError(
            f"{', '.join(asked.encoders)} has an encoder, but no column holds files or texts",
            expected="a column of texts or pictures", fix="name one with kinds, or leave the encoders out",
        )  # fmt: skip
    work = TabularRun.of(opened, asked)
    developed = work.develop()
    return write_tabular_bundle(work, developed, clock)


def from_example(name: str, options: Mapping[str, Any]) -> tuple[Table, dict[str, Any]]:
    """The table of an example, and `options` with its target, name and split where they are not given."""
    from deepseek.data.table.examples import load_example

    table, target, _ = load_example(name)
    usual = {"target": target, "split": "time:time" if name == "fraud" else "random"}
    if not options.get("out"):  # else the bundle is named like its folder
        usual["name"] = name
    return table, {**options, **{key: value for key, value in usual.items() if options.get(key) is None}}
