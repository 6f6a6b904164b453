"""Parquet files as shards: each row group is one, of which 256 rows are in memory at a time.

    shards = open_parquet([Path("a.parquet"), Path("b.parquet")], columns=["image", "age", "cat"], root=Path("photos"))
    next(shards.read([70_000]))           # {"image": Source or "cats/1.jpg", "age": 61, "cat": True}

Columns of bytes are files, also in the struct {bytes, path} that Hugging Face datasets write; text may be a path below
`root`. Every other column is read as read_table() reads it. A row group is read in its order, since a page cannot be
entered in its middle: read() of rows further ahead passes over those between, of rows further back it begins again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.contracts import Record
from deepseek.data.media.source import BrokenError, Source
from deepseek.data.stream.shards import ShardPositions, check_files, files_digest
from deepseek.data.table.arrow import from_arrow
from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.plugins import did_you_mean_column

_BATCH_ROWS = 256  # that are decoded at a time


@dataclass(frozen=True, eq=False)
class ParquetShards(ShardPositions):
    """The rows of several Parquet files; each row group is a shard."""

    files: tuple[Path, ...]
    columns: tuple[str, ...]
    groups: tuple[tuple[int, int, int], ...]  # of each shard: file, row group, its first row in the file
    sizes: Sequence[int]
    root: Path | None
    is_random: bool = False
    faults: tuple[str, ...] = ()

    def digest(self, *, times: bool = False) -> str:
        layout = [size for size, (_, group, _) in zip(self.sizes, self.groups, strict=True) if group >= 0]
        return files_digest(((path, f"{path.name}\0{layout}") for path in self.files), times=times)

    def name(self, row: int) -> str:
        shard, index = self.locate(row)
        number, _, first = self.groups[shard]
        return f"{self.files[number].name}: row {first + index}"

    def read(self, rows: Iterable[int]) -> Iterator[Record]:
        open_shard, begin = -1, 0
        batches: Iterator[Any] = iter(())
        batch, records = None, None  # rows begin to begin + len(batch) of the shard; records once one is wanted
        for row in rows:
            shard, index = self.locate(row)
            if shard != open_shard or index < begin:
                open_shard, batches, begin, batch, records = shard, self._batches(shard), 0, None, None
            while batch is None or index >= begin + len(batch):
                begin += len(batch) if batch is not None else 0
                batch, records = next(batches), None
            records = records or self._records(batch, open_shard, begin)
            yield records[index - begin]

    def _batches(self, shard: int) -> Iterator[Any]:
        pa, parquet = need("pyarrow", extra="tabular"), need("pyarrow.parquet", extra="tabular")
        number, group, _ = self.groups[shard]
        display_name = f"{self.files[number].name}, row group {group}"
        num_left = self.sizes[shard]
        try:
            with parquet.ParquetFile(self.files[number]) as file:
                for batch in file.iter_batches(_BATCH_ROWS, [group], self.columns, use_threads=False):
                    num_left -= len(batch)
                    yield batch
        except (pa.ArrowException, OSError) as error:
            raise _broken_error(display_name, error) from error
        if num_left:
            raise _broken_error(display_name, f"{num_left} rows are missing")

    def _records(self, batch: Any, shard: int, begin: int) -> list[Record]:
        pa = need("pyarrow", extra="tabular")
        number, _, first = self.groups[shard]
        path, table = self.files[number].name, pa.Table.from_batches([batch])
        files_by_column: dict[str, list[Any]] = {}
        for column in self.columns:
            kind = batch.schema.field(column).type
            if not (_is_binary_type(pa, kind) or _is_file_struct_type(pa, kind)):
                continue
            table = table.drop_columns([column])
            cells = enumerate(batch[column].to_pylist(), first + begin)
            files_by_column[column] = [_cell_source(cell, f"{path}: row {row}") for row, cell in cells]
        table = table.replace_schema_metadata(None)  # a column that is asked for by name is read, index or not
        records = from_arrow(table).records() if table.num_columns else [{} for _ in range(len(batch))]
        return [
            {**record, **{name: cells[row] for name, cells in files_by_column.items()}}
            for row, record in enumerate(records)
        ]


def open_parquet(paths: Sequence[Path], *, columns: Sequence[str], root: Path | None = None) -> ParquetShards:
    """Read the footers. `root`: the folder that paths in the files lie below.

    BrokenError for what is no Parquet file or not a whole one; InputError for a column that is missing, or of another
    type than in the first file, by file and column.
    """
    files = check_files(paths, "Parquet files")
    names = tuple(dict.fromkeys(columns))
    groups: list[tuple[int, int, int]] = []
    sizes: list[int] = []
    types: dict[str, object] = {}
    for number, path in enumerate(files):
        metadata, schema = _read_footer(path)
        for name in names:
            if name not in schema.names:
                raise InputError(
                    f"{path.name} has no column {name!r}.{did_you_mean_column(name, schema.names)}",
                    expected=f"columns {', '.join(names)}", fix="give files of one kind, or name other columns",
                )  # fmt: skip
            kind = schema.field(name).type
            if types.setdefault(name, kind) != kind:
                raise InputError(
                    f"{path.name}: column {name!r} is {kind}, and {types[name]} in {files[0].name}",
                    expected="one type in all files", fix="write the files again with one schema",
                )  # fmt: skip
        first = 0
        for group in range(metadata.num_row_groups):
            if size := metadata.row_group(group).num_rows:
                groups.append((number, group, first))
                sizes.append(size)
                first += size
    return ParquetShards(files, names, tuple(groups), tuple(sizes), root)


def _read_footer(path: Path) -> tuple[Any, Any]:
    pa, parquet = need("pyarrow", extra="tabular"), need("pyarrow.parquet", extra="tabular")
    try:
        with parquet.ParquetFile(path) as file:
            return file.metadata, file.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise _broken_error(path.name, error) from error


def _broken_error(display_name: str, reason: object) -> BrokenError:
    return BrokenError(
        f"{display_name} cannot be read: {str(reason)[:200]}",
        expected="a whole Parquet file",
        fix="write or copy it again",
    )


def _is_binary_type(pa: Any, kind: Any) -> bool:
    types = pa.types
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def _is_file_struct_type(pa: Any, kind: Any) -> bool:
    return bool(pa.types.is_struct(kind)) and {field.name for field in kind} == {"bytes", "path"}


def _cell_source(cell: Any, display_name: str) -> Any:
    """Bytes as a Source that is named by where it lay; of a struct of Hugging Face its bytes, else its path."""
    if isinstance(cell, dict):
        cell = cell["bytes"] if cell["bytes"] is not None else cell["path"]
    return Source(display_name, ((display_name, cell),)) if isinstance(cell, bytes) else cell
