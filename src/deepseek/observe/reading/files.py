"""The files of a log: Parquet of predictions, and lines of JSON of requests or of anything else with a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deepseek.errors import InputError, MissingError
from deepseek.observe.predictions.segments import live_segments

PARQUET = (".parquet",)
LINES = (".ndjson", ".jsonl", ".log", ".json", ".ndjson.gz", ".jsonl.gz", ".log.gz", ".json.gz")
DRIFT_DOCUMENT = ".drift.json"  # what `observe drift --json` found, beside the log: no rows of it


@dataclass(frozen=True, slots=True)
class LogFiles:
    parquet: tuple[Path, ...] = ()
    lines: tuple[Path, ...] = ()

    @property
    def num_bytes(self) -> int:
        """Of the files of lines, as they lie on the disk."""
        return sum(path.stat().st_size for path in self.lines)


def list_log_files(paths: Sequence[Path]) -> LogFiles:
    """The files that these paths mean: files by their ends, folders with all that is in them.

    MissingError for a path that is not there; InputError where no file of a log is.
    """
    every: list[Path] = []
    for path in paths:
        if not path.exists():
            raise MissingError(
                f"{path}: there is no such file or folder", expected="logs: Parquet, or lines of JSON",
                fix="give the folder of --prediction-log, or a file of the server's log lines",
            )  # fmt: skip
        every += sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    files = [
        path
        for path in every
        if path.stat().st_size and not path.name.startswith(".") and not path.name.endswith(DRIFT_DOCUMENT)
    ]
    parquet = [path for path in files if path.name.endswith(PARQUET)]
    lines = [path for path in files if path.name.endswith(LINES)]
    if not parquet and not lines:
        raise InputError(
            f"no log in {', '.join(map(str, paths))}: {len(every)} files, none with rows in it",
            expected=f"files that end in {', '.join(PARQUET + LINES[:4])}",
            fix="start the server with --prediction-log FOLDER, or write its stderr to a file that ends in .ndjson",
        )
    return LogFiles(tuple(live_segments(parquet)), tuple(lines))
