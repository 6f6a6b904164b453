"""The data card of a table whose cells may be files: what each column holds, which files are broken, which are copies.

    kinds = find_all_kinds(table, root=Path("patients"))
    card = make_media_card(table, kinds, root=Path("patients"))       # JSON; no single row, no name of a person

Columns of the table are as make_card() describes them. Of a column of files every file is opened and decoded once, one
at a time: of a scan all slices, of a film all packets and three frames. What cannot be read is named with its row and
what to do, the first MAX_LISTED of each column, and counted.
"""

from __future__ import annotations

import hashlib
import importlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from deepseek.data.features.kinds import find_kinds
from deepseek.data.media.kinds import find_media
from deepseek.data.media.readers import READERS
from deepseek.data.media.source import Limits, Source, is_missing
from deepseek.data.samples.preparer import open_cell
from deepseek.data.table.table import Table
from deepseek.data.view.card import make_card
from deepseek.data.view.card_schema import BrokenFile, ColumnCard, DataCard, FactSummary
from deepseek.data.view.personal import withholding_reason
from deepseek.errors import ExtraError, InputError

MAX_LISTED = 20  # broken files, and groups of equal files, of a column
MAX_COPY_ROWS = 10  # that are named of a group of equal files
MAX_CHARACTERS = 200  # of a value that is named
FILE_KINDS = tuple(kind for kind in READERS if kind != "text")
Progress = Callable[[str, float], None]
Fact = int | float | str | None
_AXIS_NAMES = ("slices", "rows", "columns")


@dataclass
class _FileStatistics:
    """Facts, faults and copies, gathered over the files of one column."""

    facts: list[Mapping[str, Fact]] = field(default_factory=list)
    broken: list[BrokenFile] = field(default_factory=list)
    num_broken: int = 0
    rows: dict[bytes, list[int]] = field(default_factory=lambda: defaultdict(list))  # by the digest of the bytes


def find_all_kinds(
    table: Table, *, root: Path, target: str | None = None, overrides: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The kind of every column but the target: of those that name files below `root` by find_media(), of the others by
    find_kinds(); what the user `overrides` goes before."""
    media_kinds = {name: kind for name, kind in find_media(table, root=root).items() if name != target}
    return find_kinds(table, target=target, overrides={**media_kinds, **(overrides or {})})


def make_media_card(
    table: Table,
    kinds: Mapping[str, str],
    *,
    root: Path,
    target: str | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> DataCard:
    """The card of make_card() with num_files and num_broken, and of each column of files what card_schema.py lists.
    No value is told of a column that may name people.

    Columns of texts have facts as well. `progress` is called with words and the share of files that are done.
    """
    limits = limits or Limits()
    files = {name: kind for name, kind in kinds.items() if kind in FILE_KINDS and name != target}
    rest = make_card(table.drop(files), kinds, target, withhold=withholding_reason)
    entries = {entry["name"]: entry for entry in rest["columns"]}
    total, done = sum(_num_present(table, name) for name in files), 0
    for name, kind in files.items():
        statistics, values = _FileStatistics(), table.column(name).tolist()
        for row, value in enumerate(values):
            if is_missing(value):
                continue
            if progress:
                progress(f"reading column {name!r}", done / total)
            _inspect_value(value, kind, name, row, root, limits, statistics)
            done += 1
        entries[name] = _column_entry(name, kind, statistics, len(values))
    for name, kind in kinds.items():
        if kind == "text" and name in entries:
            entries[name]["facts"] = _summarize_facts([{"characters": len(v)} for v in _present_texts(table, name)])
    columns = [entries[name] for name in table.names]
    num_broken = sum(entry.get("num_broken", 0) for entry in columns)
    return {**rest, "num_rows": table.num_rows, "num_files": total, "num_broken": num_broken, "columns": columns}


def describe_file(source: Source, kind: str) -> dict[str, Fact]:
    """The facts about one file, all of which is decoded for it. BrokenError or TooLargeError when it is not whole."""
    if kind == "volume":
        return _describe_scan(source)
    facts: dict[str, Fact] = importlib.import_module(f"deepseek.data.media.{READERS[kind][0]}").describe(source)
    return facts


def _describe_scan(source: Source) -> dict[str, Fact]:
    from deepseek.data.media.scan import describe, open_scan

    facts = describe(source)
    scan = open_scan(source)
    for k in range(scan.size[0]):
        scan.plane(k)
    known: dict[str, Fact] = {
        "format": facts["format"], "modality": facts["modality"], "manufacturer": facts["manufacturer"],
        "plane": facts["plane"],
    }  # fmt: skip
    known |= {name: int(size) for name, size in zip(_AXIS_NAMES, facts["size"], strict=True)}
    steps = facts["spacing_mm"] if scan.size[0] > 1 else [None, *facts["spacing_mm"][1:]]
    return known | {f"{name}_mm": step for name, step in zip(_AXIS_NAMES, steps, strict=True)}


def _num_present(table: Table, name: str) -> int:
    return sum(not is_missing(value) for value in table.column(name).tolist())


def _present_texts(table: Table, name: str) -> list[str]:
    return [value for value in table.column(name).tolist() if not is_missing(value)]


def _inspect_value(
    value: Any, kind: str, column: str, row: int, root: Path, limits: Limits, statistics: _FileStatistics
) -> None:
    try:
        source = open_cell(value, kind, root=root, row=row, column=column, limits=limits)
        facts = describe_file(source, kind)
    except ExtraError:  # the user's machine lacks a decoder: no fault of the file
        raise
    except InputError as error:
        statistics.num_broken += 1
        if len(statistics.broken) < MAX_LISTED:
            name = str(value)
            name = name if len(name) <= MAX_CHARACTERS else name[: MAX_CHARACTERS - 1] + "…"
            fault: BrokenFile = {
                "row": row, "value": name, "code": error.code, "message": error.message, "expected": error.expected,
                "fix": error.fix,
            }  # fmt: skip
            statistics.broken.append(fault)
        return
    statistics.facts.append(facts)
    # Of a folder by its contents alone: a copy under other names is a copy.
    parts = sorted(hashlib.sha256(data).digest() for _, data in source.files)
    statistics.rows[hashlib.sha256(b"".join(parts)).digest()].append(row)


def _column_entry(name: str, kind: str, statistics: _FileStatistics, num_rows: int) -> ColumnCard:
    num_there = len(statistics.facts) + statistics.num_broken
    groups = [rows for rows in statistics.rows.values() if len(rows) > 1]
    return {
        "name": name,
        "type": "file",
        "kind": kind,
        "missing_share": 1 - num_there / num_rows,
        "num_there": num_there,
        "num_missing": num_rows - num_there,
        "num_broken": statistics.num_broken,
        "broken": statistics.broken,
        "facts": _summarize_facts(statistics.facts),
        "copies": {
            "num_groups": len(groups),
            "num_rows": sum(map(len, groups)),
            "groups": [{"num_rows": len(rows), "rows": rows[:MAX_COPY_ROWS]} for rows in groups[:MAX_LISTED]],
        },
    }


def _summarize_facts(facts: Sequence[Mapping[str, Fact]]) -> dict[str, FactSummary]:
    """Numbers as {"min", "median", "max"}, words and yes or no as how many files say so; what is not known is left
    out."""
    summaries: dict[str, FactSummary] = {}
    for name in dict.fromkeys(name for file_facts in facts for name in file_facts):
        values = [value for file_facts in facts if (value := file_facts.get(name)) is not None]
        if not values:
            continue
        if isinstance(values[0], (str, bool)):
            words = ({True: "yes", False: "no"}.get(v, str(v)) if isinstance(v, bool) else str(v) for v in values)
            summaries[name] = dict(Counter(words).most_common())
        else:
            numbers = [float(value) if isinstance(value, float) else int(value) for value in values]
            summaries[name] = {"min": min(numbers), "median": median(numbers), "max": max(numbers)}
    return summaries
