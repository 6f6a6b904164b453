"""Files that cannot be read twice are copied to a temporary file first: pipes, packed files, encodings besides UTF-8.

    descriptor, path = open_plain_file(Path("rows.csv.gz"), held)      # of the unpacked bytes; path is rows.csv

The copy lies in the folder for temporary files (TMPDIR), has no name, and goes with the process.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from deepseek.data.batches.window import FileWindow, open_buffered
from deepseek.data.table.read import (
    SIGNATURE_BYTES,
    decompress_error,
    detect_format,
    empty_file_error,
    translate_open_errors,
)
from deepseek.errors import InputError
from deepseek.extras import need

PART_BYTES = 2**20


def open_plain_file(path: Path, exit_stack: ExitStack) -> tuple[int, Path]:
    """The descriptor of a file that is not packed and can be read from any place, and its path without .gz or .zst.

    `exit_stack` closes it. The errors are those of read_table().
    """
    with translate_open_errors(path):
        file = exit_stack.enter_context(path.open("rb"))
        is_regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        descriptor = (
            file.fileno() if is_regular else spool_to_file(iter(lambda: file.read(PART_BYTES), b""), path, exit_stack)
        )
    form = detect_format(os.pread(descriptor, SIGNATURE_BYTES, 0), path)
    while form in ("gzip", "zstd"):
        descriptor = spool_to_file(_decompress_parts(descriptor, form, path), path, exit_stack)
        if not FileWindow(descriptor).num_bytes:
            raise empty_file_error(path)
        path = path.with_suffix("")
        form = detect_format(os.pread(descriptor, SIGNATURE_BYTES, 0), path)
    return descriptor, path


def spool_to_file(parts: Iterable[bytes], path: Path, exit_stack: ExitStack) -> int:
    """The descriptor of a temporary file that holds these bytes. InputError when there is no room for them."""
    file = exit_stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - `exit_stack` closes it
    for part in parts:
        try:
            file.write(part)
            file.flush()
        except OSError as error:
            raise InputError(
                f"{path.name} cannot be unpacked into {tempfile.gettempdir()}: {error.strerror}",
                expected="room for the unpacked file there", fix="set TMPDIR to a folder with room, or unpack it first",
            ) from error  # fmt: skip
    return file.fileno()


def _decompress_parts(descriptor: int, codec: str, path: Path) -> Iterator[bytes]:
    pa = need("pyarrow", extra="tabular")
    try:
        with pa.input_stream(pa.PythonFile(open_buffered(descriptor), "r"), compression=codec) as stream:
            while part := stream.read(PART_BYTES):
                yield part
    except OSError as error:
        raise decompress_error(path, codec, error) from error
