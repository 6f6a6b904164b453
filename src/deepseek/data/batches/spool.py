"""What cannot be read twice goes to a temporary file first: pipes, packed files, other encodings than UTF-8.

    descriptor, path = plain_file(Path("rows.csv.gz"), held)      # of the unpacked bytes; path is rows.csv

It lies in the folder for temporary files (TMPDIR) without a name, and is gone with the process.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from deepseek.data.batches.window import Window, buffered
from deepseek.data.table.read import HEAD_BYTES, does_not_unpack, empty, form_of, opening
from deepseek.errors import InputError
from deepseek.extras import need

PART_BYTES = 2**20


def plain_file(path: Path, held: ExitStack) -> tuple[int, Path]:
    """The descriptor of a file that is not packed and can be read from any place, and its path without .gz or .zst.

    `held` closes it. The errors are those of read_table().
    """
    with opening(path):
        file = held.enter_context(path.open("rb"))
        is_regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        descriptor = file.fileno() if is_regular else spooled(iter(lambda: file.read(PART_BYTES), b""), path, held)
    form = form_of(os.pread(descriptor, HEAD_BYTES, 0), path)
    while form in ("gzip", "zstd"):
        descriptor = spooled(_unpacked(descriptor, form, path), path, held)
        if not Window(descriptor).num_bytes:
            raise empty(path)
        path = path.with_suffix("")
        form = form_of(os.pread(descriptor, HEAD_BYTES, 0), path)
    return descriptor, path


def spooled(parts: Iterable[bytes], path: Path, held: ExitStack) -> int:
    """The descriptor of a temporary file of these bytes."""
    file = held.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - `held` closes it
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


def _unpacked(descriptor: int, codec: str, path: Path) -> Iterator[bytes]:
    pa = need("pyarrow", extra="tabular")
    try:
        with pa.input_stream(pa.PythonFile(buffered(descriptor), "r"), compression=codec) as stream:
            while part := stream.read(PART_BYTES):
                yield part
    except OSError as error:
        raise does_not_unpack(path, codec, error) from error
