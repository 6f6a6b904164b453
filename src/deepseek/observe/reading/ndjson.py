"""What columns lines of JSON have: by a look at some of them, since every program writes its own."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from deepseek.contracts import JsonObject

SNIFFED_LINES = 2_000  # of each of the first files, at their beginning, and in their middle where they are plain
SNIFFED_FILES = 8
MAX_LINE_BYTES = 1 << 20
MAX_FIELDS = 200

#: A field's place: the keys on the way to it. `("deepseek", "model.name")` is deepseek.model.name.
KeyPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LineField:
    keys: KeyPath
    is_number: bool

    @property
    def name(self) -> str:
        return ".".join(self.keys)


def sniff_fields(paths: Sequence[Path]) -> list[LineField]:
    """The fields of the lines, the most frequent first, and at most MAX_FIELDS; lists and broken lines are passed
    over."""
    counts: Counter[KeyPath] = Counter()
    numbers: Counter[KeyPath] = Counter()
    for path in paths[:SNIFFED_FILES]:
        for line in _some_lines(path):
            try:
                document = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(document, dict):
                for keys, value in _leaves(document):
                    counts[keys] += 1
                    numbers[keys] += isinstance(value, int | float) and not isinstance(value, bool)
    chosen: dict[str, LineField] = {}  # a nested and a dotted key may have one name
    for keys, count in counts.most_common(MAX_FIELDS):
        field = LineField(keys, numbers[keys] == count)
        chosen.setdefault(field.name.lower(), field)  # as DuckDB, which knows no upper and lower case
    return _without_conflicts(list(chosen.values()))


def _without_conflicts(fields: Sequence[LineField]) -> list[LineField]:
    """Without the fields that are a text in some lines and an object in others: the more frequent form stays."""
    kept: list[LineField] = []
    for field in fields:
        if not any(_is_prefix(field.keys, other.keys) or _is_prefix(other.keys, field.keys) for other in kept):
            kept.append(field)
    return kept


def _is_prefix(short: KeyPath, long: KeyPath) -> bool:
    return len(short) < len(long) and long[: len(short)] == short


def column_types(fields: Sequence[LineField], depth: int = 0) -> Mapping[str, str]:
    """The columns as read_json() takes them: nested keys as STRUCT. `depth`: keys that are above them.

    >>> column_types([LineField(("a",), True), LineField(("b", "c.d"), False)])
    {'a': 'DOUBLE', 'b': 'STRUCT("c.d" VARCHAR)'}
    """
    below: dict[str, list[LineField]] = {}
    for field in fields:
        below.setdefault(field.keys[depth], []).append(field)
    return {key: _column_type(inner, depth + 1) for key, inner in below.items()}


def _column_type(fields: Sequence[LineField], depth: int) -> str:
    """Of a key's fields: its own type, or that of the object that holds them."""
    if len(fields[0].keys) == depth:
        return "DOUBLE" if fields[0].is_number else "VARCHAR"
    return f"STRUCT({', '.join(f'{quote_name(key)} {kind}' for key, kind in column_types(fields, depth).items())})"


def quote_name(name: str) -> str:
    """A name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """A text as SQL takes it."""
    return "'" + text.replace("'", "''") + "'"


def _leaves(document: JsonObject, above: KeyPath = ()) -> Iterator[tuple[KeyPath, object]]:
    for key, value in document.items():
        keys = (*above, str(key))
        if isinstance(value, dict):
            if len(keys) < 6:
                yield from _leaves(value, keys)
        elif value is not None and not isinstance(value, list):
            yield keys, value


def _some_lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb") as file:
        try:
            yield from islice(iter(lambda: file.readline(MAX_LINE_BYTES), b""), SNIFFED_LINES)
            if not path.name.endswith(".gz"):
                file.seek(max(file.tell(), path.stat().st_size // 2))
                file.readline(MAX_LINE_BYTES)
                yield from islice(iter(lambda: file.readline(MAX_LINE_BYTES), b""), SNIFFED_LINES)
        except (OSError, EOFError):  # a file of gzip that breaks off: what was read counts
            return
