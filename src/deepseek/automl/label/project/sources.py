"""DATA -> items: the rows of a table, or the files of a folder.

    source = read_source(Path("claims.csv"), target="kind")      # cells, and the files that they name
    source = read_source(Path("parts"))                          # a folder of pictures, sounds or texts

Files are hashed once: equal items are asked once, and a file that changed later is told from the one that was labeled.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepseek.automl.label.project.records import FILE_KINDS, LabelTask, LabelValue, NewItem
from deepseek.contracts import Record
from deepseek.data.table.read import read_table
from deepseek.data.table.table import Table
from deepseek.errors import DeepseekError, InputError, MissingError, TooLargeError

MAX_ITEMS = 1_000_000
MAX_TEXT_BYTES = 2**20  # of a file of text
FILE_COLUMN, TEXT_COLUMN = "file", "text"
TEXT_SUFFIXES = (".txt", ".md")
SLICE_SUFFIX = ".dcm"
MIN_ITEMS = 2


@dataclass(frozen=True, slots=True)
class LabelSource:
    """What is to be labeled."""

    items: tuple[NewItem, ...]
    kinds: Mapping[str, str]  # of the columns of each item
    root: str  # the folder of the files; "" without files


def read_source(
    data: Path, *, target: str | None = None, drop: Sequence[str] = (), files: Path | None = None,
    overrides: Mapping[str, str] | None = None, task: LabelTask = "multiclass",
) -> LabelSource:  # fmt: skip
    """The items of DATA. `target`: a column of labels that some rows have already. InputError for what cannot be
    labeled: fewer than two items, columns that are not there, files that are not there (all are named by number)."""
    if data.is_dir():
        if target is not None or drop or files is not None or overrides:
            raise InputError(
                f"{data} is a folder, which has no columns",
                expected="--target, --drop, --files and --kind for a table",
                fix="leave them out, or give a table that names the files",
            )  # fmt: skip
        source = _read_folder(data)
    else:
        source = _read_table_items(data, target, drop, files or data.resolve().parent, overrides or {}, task)
    if len(source.items) < MIN_ITEMS:
        raise InputError(
            f"{data} has {len(source.items)} row", expected=f"at least {MIN_ITEMS} to label", fix="bring more rows"
        )
    if len({item.digest for item in source.items}) < MIN_ITEMS:
        raise InputError(
            f"all {len(source.items):,} rows of {data.name} are the same", expected="rows that differ",
            fix="look at the columns that were left out",
        )  # fmt: skip
    return source


def hash_file(path: Path) -> tuple[str, int]:
    """sha256 and size of a file, or of the files in a folder (slices of a scan). MissingError where they cannot be
    read."""
    if path.is_dir():
        parts = [(each.name, *hash_file(each)) for each in slice_files(path)]
        names = "".join(f"{name}\0{digest}\n" for name, digest, _ in parts)
        return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest(), sum(size for *_, size in parts)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
    except OSError as error:
        raise MissingError(
            f"{path.name} cannot be read: {error.strerror}", expected="a file that is there", fix="bring it back"
        ) from error


def slice_files(folder: Path) -> list[Path]:
    """The files right in a folder, but hidden ones, by name."""
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")


def file_size(path: Path) -> int:
    """Of a file, or of the files in a folder. MissingError where it is not there."""
    if path.is_dir():
        return sum(each.stat().st_size for each in slice_files(path))
    return path.stat().st_size if path.is_file() else hash_file(path)[1]  # which says why it cannot be read


def content_digest(content: Record, files: Sequence[str]) -> str:
    """One digest for equal items: of cells as JSON, of files by their bytes."""
    text = json.dumps([content, list(files)], sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _read_folder(folder: Path) -> LabelSource:
    from deepseek.data.media.readers import suffix_kinds

    suffixes: dict[str, str] = {**dict.fromkeys(TEXT_SUFFIXES, "text"), **suffix_kinds()}
    names = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name[0] != "."
    )
    kind_of = {name: kind for name in names if (kind := _kind_of(name, suffixes)) is not None}
    counts = Counter(kind_of.values())
    if not counts:
        raise MissingError(
            f"{folder} holds no file that can be labeled", expected="pictures, sounds, scans, series or texts",
            fix="give the folder of the files, or a table that names them",
        )  # fmt: skip
    if len(counts) > 1:
        listed = ", ".join(f"{count:,} of {kind}" for kind, count in counts.most_common())
        raise InputError(f"{folder} holds {listed}", expected="files of one kind", fix="make a project of each kind")
    kind = next(iter(counts))
    kind_of = dict.fromkeys(_scan_folders(kind_of) or kind_of, kind)
    _check_number(len(kind_of))
    column = TEXT_COLUMN if kind == "text" else FILE_COLUMN
    items = [_text_item(folder, name) if kind == "text" else _file_item(folder, name) for name in kind_of]
    return LabelSource(tuple(items), {column: kind}, str(folder.resolve()))


def _scan_folders(names: Iterable[str]) -> list[str]:
    """The folders of scans that have a file for each slice; none where each file is a picture of its own."""
    parents = Counter(name.rpartition("/")[0] for name in names)
    in_slices = all(name.lower().endswith(SLICE_SUFFIX) for name in names) and "" not in parents
    return sorted(parents) if in_slices and max(parents.values()) > 1 else []


def _kind_of(name: str, suffixes: Mapping[str, str]) -> str | None:
    return next((kind for suffix, kind in suffixes.items() if name.lower().endswith(suffix)), None)


def _file_item(folder: Path, name: str) -> NewItem:
    digest, size = hash_file(folder / name)
    return NewItem(name, {FILE_COLUMN: name}, content_digest({}, [digest]), size)


def _text_item(folder: Path, name: str) -> NewItem:
    path = folder / name
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise TooLargeError(f"{name} is too large", expected=f"{MAX_TEXT_BYTES:,} bytes", fix="cut it into parts")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is no text of UTF-8", expected="UTF-8", fix="save it so") from error
    return NewItem(name, {TEXT_COLUMN: text}, content_digest({TEXT_COLUMN: text}, []))


def _read_table_items(
    data: Path, target: str | None, drop: Sequence[str], root: Path, overrides: Mapping[str, str], task: LabelTask
) -> LabelSource:
    from deepseek.data.view.media_card import find_all_kinds

    table = read_table(data)
    _check_number(table.num_rows)
    values: list[LabelValue] = [None] * table.num_rows
    has_value = [False] * table.num_rows
    if target is not None:
        values, has_value = _own_values(table, target, task)
    cells = table.drop([*drop, *([target] if target else [])])
    if not cells.names:
        raise InputError(f"{data.name} has no column left to look at", expected="one column at least", fix="drop fewer")
    kinds = find_all_kinds(cells, root=root, overrides=overrides)
    media = [name for name, kind in kinds.items() if kind in FILE_KINDS]
    records = cells.records()
    digests = list(_file_digests(records, media, root, data.name))
    items = [
        NewItem(
            f"row {row + 1}", record,
            content_digest({k: v for k, v in record.items() if k not in media}, digests[row][0]), digests[row][1],
            values[row], has_value[row],
        )
        for row, record in enumerate(records)
    ]  # fmt: skip
    return LabelSource(tuple(items), kinds, str(root.resolve()) if media else "")


def _own_values(table: Table, target: str, task: LabelTask) -> tuple[list[LabelValue], list[bool]]:
    """Labels that the rows have already, as texts or numbers."""
    missing = table.missing_mask(target)
    cells = [record[target] for record in table.records()]
    numbers = task == "regression"
    texts = [
        None if lost else cell if numbers else _class_text(cell) for cell, lost in zip(cells, missing, strict=True)
    ]
    return texts, [not lost for lost in missing.tolist()]


def _class_text(cell: object) -> str:
    """A cell as the name of a class: true and 1 are such names as well."""
    from deepseek.data.table.values import level_name

    return str(level_name(cell))


def _file_digests(
    records: Sequence[Record], media: Sequence[str], root: Path, name: str
) -> Iterator[tuple[list[str], int]]:
    """Digests and size of the files of each row. MissingError names the first rows whose files are not there."""
    faults = []
    for row, record in enumerate(records):
        digests, total = [], 0
        for column in media:
            value = record[column]
            if value is None:
                continue
            try:
                digest, size = hash_file(file_path(root, str(value)))
            except DeepseekError:
                faults.append(f"row {row + 1}: {str(value)[:80]}")
                continue
            digests.append(digest)
            total += size
        yield digests, total
    if faults:
        raise MissingError(
            f"{len(faults)} files that {name} names cannot be read: {'; '.join(faults[:3])}",
            expected=f"files below {root}", fix="bring them, leave their rows out, or name their folder with --files",
        )  # fmt: skip


def file_path(root: Path, name: str) -> Path:
    """The path of a file below `root`. InputError for one that leaves it."""
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise InputError(f"{name[:80]} leaves {root}", expected="a file below the folder", fix="copy it there")
    return path


def _check_number(num: int) -> None:
    if num > MAX_ITEMS:
        raise TooLargeError(f"{num:,} rows", expected=f"at most {MAX_ITEMS:,} in a project", fix="draw a part of them")
