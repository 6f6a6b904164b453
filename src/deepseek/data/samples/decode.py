"""Files of a whole table, decoded once into arrays on disk: what training reads batch by batch.

    decoded = decode(preparer, table, scratch, root=Path("patients"), workers=2)
    decoded.arrays["ct"][rows]                   # memory-mapped: a set larger than memory is no trouble
    decoded.faults                               # what was masked

Decoders run in processes of their own, a chunk of rows at a time (decoders.py), so that one that dies on a hostile
file takes nothing with it. A chunk that is done is noted behind it, so a run that was killed goes on there; another
preparer, table or file (by size and time of change) begins anew.

Shapes: N rows.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.data.samples.decoders import Chunk, DecodeOptions, DecoderPool
from deepseek.data.samples.faults import FILE_ERRORS, name_all_faults
from deepseek.data.samples.preparer import PRESENT_SUFFIX, BrokenPolicy, Fault, SamplePreparer, table_records
from deepseek.data.table.table import Table
from deepseek.errors import InputError
from deepseek.files import atomic_file

CHUNK_ROWS = 32  # rows that a process decodes at a time
DONE_FILE = "done.json"  # lines of {"chunk", "faults"}
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class DecodedSamples:
    """N samples whose arrays lie on disk."""

    arrays: Mapping[str, NDArray[Any]]  # by name, and by name with PRESENT_SUFFIX behind it
    faults: tuple[Fault, ...]
    num_rows: int

    def __len__(self) -> int:
        return self.num_rows


def decode_table(
    preparer: SamplePreparer,
    table: Table,
    folder: Path,
    *,
    root: Path | None,
    broken: BrokenPolicy = "fail",
    workers: int = 0,
    progress: Progress | None = None,
) -> DecodedSamples:
    """Decode every row of `table` into `folder` (made where it is not there), or go on where that was cut off.

    workers: processes that decode; 0 decodes here. InputError as SamplePreparer.rows() raises it, with the row of the
    table; where files cannot be read, one error names all of them.
    """
    key = _samples_key(preparer, table, root, broken)
    stamp = folder / "key"
    if not stamp.exists() or stamp.read_text() != key:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    arrays = _open_arrays(preparer, table.num_rows, folder)
    stamp.write_text(key)
    done = _read_done_chunks(folder / DONE_FILE)
    chunks = [start for start in range(0, table.num_rows, CHUNK_ROWS) if start not in done]
    with (folder / DONE_FILE).open("a") as progress_file:
        decoders = DecoderPool(preparer, DecodeOptions(root, broken), workers if len(chunks) > 1 else 0)
        decoded = decoders.decode_chunks(_make_chunk(table, start) for start in chunks)
        try:
            for start, samples in zip(chunks, decoded, strict=True):
                for name, array in arrays.items():
                    array[start : start + len(samples)] = samples.arrays[name]
                    array.flush()  # to the disk before the note says so
                faults = [Fault(start + fault.row, fault.column, fault.message) for fault in samples.faults]
                done[start] = faults
                progress_file.write(json.dumps({"chunk": start, "faults": [asdict(fault) for fault in faults]}) + "\n")
                progress_file.flush()
                if progress:
                    progress("decoding", min(1.0, len(done) * CHUNK_ROWS / table.num_rows))
        except FILE_ERRORS as error:
            waiting = [start for start in chunks if start not in done]
            raise name_all_faults(error, _find_faults(preparer, table, root, workers, waiting)) from error
        finally:
            decoders.close()
    faults = [fault for start in sorted(done) for fault in done[start]]
    return DecodedSamples(arrays, tuple(faults), table.num_rows)


def _find_faults(
    preparer: SamplePreparer, table: Table, root: Path | None, workers: int, chunks: Sequence[int]
) -> list[Fault]:
    """The files of chunks that cannot be read; those that end a process as well."""
    decoders = DecoderPool(preparer, DecodeOptions(root, "mask", keep_empty=True), workers if len(chunks) > 1 else 0)
    faults: list[Fault] = []
    with suppress(InputError):  # a value that is no file: whoever decodes it says so
        decoded = decoders.decode_chunks(_make_chunk(table, start) for start in chunks)
        for start, samples in zip(chunks, decoded, strict=True):
            faults += [Fault(start + fault.row, fault.column, fault.message) for fault in samples.faults]
    decoders.close()
    return faults


def _make_chunk(table: Table, start: int) -> Chunk:
    records = table_records(table, start, CHUNK_ROWS)
    return Chunk(range(start, start + len(records)), records)


def _open_arrays(preparer: SamplePreparer, num_rows: int, folder: Path) -> dict[str, np.memmap[Any, Any]]:
    """The memory-mapped arrays of the samples, by name; their files are created where they do not exist."""
    arrays: dict[str, np.memmap[Any, Any]] = {}
    for index, (name, (shape, dtype)) in enumerate(preparer.shapes.items()):
        for key, size, kind in ((name, shape, dtype), (name + PRESENT_SUFFIX, (), "bool")):
            file = folder / f"{index}{'.there' if key.endswith(PRESENT_SUFFIX) else ''}.npy"
            if file.exists():
                arrays[key] = np.lib.format.open_memmap(file, mode="r+")
            else:
                arrays[key] = np.lib.format.open_memmap(file, mode="w+", dtype=np.dtype(kind), shape=(num_rows, *size))
    return arrays


def _read_done_chunks(file: Path) -> dict[int, list[Fault]]:
    """The faults of each chunk that was decoded before, by first row. A last line that was cut off is removed."""
    done: dict[int, list[Fault]] = {}
    lines = file.read_text().splitlines() if file.exists() else []
    for index, line in enumerate(lines):
        try:
            note = json.loads(line)
            done[int(note["chunk"])] = [Fault(**fault) for fault in note["faults"]]
        except (ValueError, KeyError, TypeError):
            with atomic_file(file) as part:
                part.write_text("".join(f"{kept}\n" for kept in lines[:index]))
            break
    return done


def _samples_key(preparer: SamplePreparer, table: Table, root: Path | None, broken: BrokenPolicy) -> str:
    """A digest of all that the arrays depend on: readers, rows, and the files by size and time of change."""
    sha = hashlib.sha256(preparer.to_bytes() + table.digest().encode() + broken.encode() + str(root).encode())
    for column in preparer.media:
        if column.kind == "text" or root is None:
            continue
        for value in table.column(column.name).tolist():
            if isinstance(value, str) and len(value) < 4_096:
                sha.update(_file_stamp(root / value))
    return sha.hexdigest()


def _file_stamp(path: Path) -> bytes:
    try:
        state = path.stat()
        inside = [path, *sorted(path.iterdir())] if path.is_dir() else [path]
        states = [entry.stat() for entry in inside] if len(inside) > 1 else [state]
    except (OSError, ValueError):
        return b"-"
    return ";".join(f"{entry.st_size} {entry.st_mtime_ns}" for entry in states).encode()
