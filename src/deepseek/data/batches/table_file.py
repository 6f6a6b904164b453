"""open_table: a file in parts whose columns have the types of the whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from deepseek.data.batches.sources import ArrowSource, DelimitedSource, TableSource, batch_num_rows
from deepseek.data.batches.spool import open_plain_file
from deepseek.data.table.read import SIGNATURE_BYTES, detect_format
from deepseek.data.table.table import Table
from deepseek.extras import need

Progress = Callable[[int], None]  # is called with the number of rows that have been read so far


class TableFile:
    """A file that was checked and whose column types are known. `num_rows`: all rows of the file."""

    def __init__(self, source: TableSource, progress: Progress | None = None) -> None:
        self._source = source
        self._reader = source.reader()
        self.num_rows, check = 0, True
        while check or not self._reader.is_settled:
            self._reader.begin()
            num_seen = 0
            for table in source.tables(check=check):
                self._reader.see(table)
                _release_memory()
                num_seen += len(table)
                if progress:
                    progress(num_seen)
            self.num_rows, check = num_seen, False
        if not self.num_rows:
            raise source.no_rows_error()

    def parts(self, num_rows: int | None = None) -> Iterator[Table]:
        """All rows in their order, `num_rows` at a time; the last part has the rest.

        By default 65,536, and fewer of a table of more than 256 columns.
        """
        num_rows = num_rows or batch_num_rows(len(self._reader.names))
        for table in _rechunk_tables(self._source.tables(check=False), num_rows):
            yield self._reader.read(table)
            _release_memory()


@contextmanager
def open_table(path: Path, progress: Progress | None = None) -> Iterator[TableFile]:
    """Open any file that read_table() takes, with the same errors; `progress` gets the number of rows checked."""
    with ExitStack() as exit_stack:
        descriptor, path = open_plain_file(path, exit_stack)
        form = detect_format(os.pread(descriptor, SIGNATURE_BYTES, 0), path)
        source: TableSource = (
            DelimitedSource(descriptor, path, exit_stack)
            if form == "delimited"
            else ArrowSource(descriptor, path, form)
        )
        yield TableFile(source, progress)


def _rechunk_tables(tables: Iterator[Any], num_rows: int) -> Iterator[Any]:
    """The same rows as tables of `num_rows` each; the last one has the rest."""
    pa = need("pyarrow", extra="tabular")
    pending: list[Any] = []
    num_pending = 0
    for table in tables:
        start = 0
        while num_pending + len(table) - start >= num_rows:
            end = start + num_rows - num_pending
            yield pa.concat_tables([*pending, table.slice(start, end - start)])
            pending, num_pending, start = [], 0, end
        if start < len(table):
            pending.append(table.slice(start))
            num_pending += len(table) - start
    if pending:
        yield pa.concat_tables(pending)


def _release_memory() -> None:
    """Return freed memory to the system: Arrow's pool would keep several times what is in use."""
    need("pyarrow", extra="tabular").default_memory_pool().release_unused()
