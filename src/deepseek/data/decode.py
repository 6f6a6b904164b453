"""Files of a whole table, decoded once into arrays on disk: what training reads batch by batch.

    decoded = decode(preparer, table, scratch, root=Path("patients"), workers=2)
    decoded.arrays["ct"][rows]                   # memory-mapped: a set larger than memory is no trouble
    decoded.faults                               # what was masked

Decoders run in processes of their own, a chunk of rows at a time, so that one that dies on a hostile file takes nothing
with it: the file is found and told like any other that is broken. A chunk that is done is noted behind it, so a run
that was killed goes on there; another preparer, table or file (by size and time of change) begins anew.

Shapes: N rows.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Record
from deepseek.data.fuse import TABLE, THERE, Broken, Fault, SamplePreparer, Samples, records_of
from deepseek.data.media import BrokenError, is_missing
from deepseek.data.table import Table
from deepseek.errors import InputError
from deepseek.files import whole

CHUNK = 32  # rows that a process decodes at a time
DONE = "done.json"  # lines of {"chunk", "faults"}
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Decoded:
    """N samples on disk."""

    arrays: Mapping[str, NDArray[Any]]  # by name, and by name with THERE behind it
    faults: tuple[Fault, ...]
    num_rows: int

    def __len__(self) -> int:
        return self.num_rows


def decode(
    preparer: SamplePreparer,
    table: Table,
    folder: Path,
    *,
    root: Path | None,
    broken: Broken = "fail",
    workers: int = 0,
    progress: Progress | None = None,
) -> Decoded:
    """Decode every row of `table` into `folder` (made where it is not there), or go on where that was cut off.

    workers: processes that decode; 0 decodes here. InputError as SamplePreparer.rows() raises it, with the row of the
    table.
    """
    key = _key(preparer, table, root, broken)
    stamp = folder / "key"
    if not stamp.exists() or stamp.read_text() != key:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    arrays = _open_arrays(preparer, table.num_rows, folder)
    stamp.write_text(key)
    done = _read_done(folder / DONE)
    chunks = [start for start in range(0, table.num_rows, CHUNK) if start not in done]
    with (folder / DONE).open("a") as notes:
        for start, samples in _decoded(preparer, table, chunks, root, broken, workers):
            for name, array in arrays.items():
                array[start : start + len(samples)] = samples.arrays[name]
                array.flush()  # to the disk before the note says so
            faults = [Fault(start + fault.row, fault.column, fault.message) for fault in samples.faults]
            done[start] = faults
            notes.write(json.dumps({"chunk": start, "faults": [asdict(each) for each in faults]}) + "\n")
            notes.flush()
            if progress:
                progress("decoding", min(1.0, len(done) * CHUNK / table.num_rows))
    faults = [fault for start in sorted(done) for fault in done[start]]
    return Decoded(arrays, tuple(faults), table.num_rows)


def _decoded(
    preparer: SamplePreparer, table: Table, chunks: Sequence[int], root: Path | None, broken: Broken, workers: int
) -> Iterator[tuple[int, Samples]]:
    """Chunks by their first row, in the order in which they are done."""
    if workers == 0 or len(chunks) < 2:
        for start in chunks:
            yield start, _rows(preparer, records_of(table, start, CHUNK), start, root, broken)
        return
    state = (preparer.to_bytes(), root, broken)
    waiting, dead = list(chunks), set[int]()
    while waiting:
        try:
            with _pool(workers, state) as pool:
                asked = {pool.submit(_work, records_of(table, start, CHUNK), start): start for start in waiting}
                for future in as_completed(asked):
                    found: Future[Samples] = future
                    yield asked[found], found.result()
                    waiting.remove(asked[found])
        except BrokenProcessPool:  # a decoder died: row by row for the chunks that were in hand, then on
            suspects = [start for start in waiting if start not in dead][: workers + 1]
            for start in suspects:
                dead.add(start)
                yield start, _one_by_one(records_of(table, start, CHUNK), start, state, broken)
                waiting.remove(start)


def _one_by_one(records: Sequence[Record], start: int, state: tuple[Any, ...], broken: Broken) -> Samples:
    """A chunk whose files are decoded one after the other in a process that may die; each death names one."""
    preparer, root = SamplePreparer.from_bytes(state[0]), state[1]
    kept: list[dict[str, Any]] = [dict(record) for record in records]
    faults: list[Fault] = []
    for column in preparer.media:
        alone = SamplePreparer((column,), None, (), preparer.limits).to_bytes()
        waiting = [row for row, record in enumerate(kept) if not is_missing(record[column.name])]
        while column.kind != "text" and waiting:
            row = _first_death(waiting, [kept[row][column.name] for row in waiting], column.name, (alone, root, "mask"))
            if row is None:
                break
            message = f"row {start + row}, column {column.name!r}: the decoder died on {kept[row][column.name]!r:.200}"
            if broken == "fail":
                raise BrokenError(message, expected="a file that its library can read", fix="leave it out, or mask it")
            faults.append(Fault(row, column.name, message))
            kept[row][column.name] = None
            waiting = waiting[waiting.index(row) + 1 :]
    found = _rows(preparer, kept, start, root, broken)
    return Samples(found.tensors, (*found.faults, *faults), found.flags)


def _first_death(rows: Sequence[int], values: Sequence[Any], name: str, state: tuple[Any, ...]) -> int | None:
    """The first of the rows whose value kills the process that decodes it; None when all are survived."""
    with _pool(1, state) as pool:
        for row, value in zip(rows, values, strict=True):
            try:
                pool.submit(_work, [{name: value}], 0).result()
            except BrokenProcessPool:
                return row
            except InputError:  # told with the others, when the chunk is decoded without those that kill
                continue
    return None


def _pool(workers: int, state: tuple[Any, ...]) -> ProcessPoolExecutor:
    # spawned: a fork of a process with threads may hang
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, state)


_STATE: dict[str, Any] = {}


def _begin(preparer: bytes, root: Path | None, broken: Broken) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    _STATE.update(preparer=SamplePreparer.from_bytes(preparer), root=root, broken=broken)


def _work(records: Sequence[Record], start: int) -> Samples:
    return _rows(_STATE["preparer"], records, start, _STATE["root"], _STATE["broken"])


def _rows(
    preparer: SamplePreparer, records: Sequence[Record], start: int, root: Path | None, broken: Broken
) -> Samples:
    return preparer.rows(records, root=root, broken=broken, first_row=start)


def _open_arrays(preparer: SamplePreparer, num_rows: int, folder: Path) -> dict[str, np.memmap[Any, Any]]:
    """Files of the samples' arrays, made where they are not there."""
    shapes = {name: of for column in preparer.media for name, of in column.arrays.items()}
    if preparer.table is not None:
        shapes[TABLE] = ((len(preparer.table.feature_names),), "float32")
    found: dict[str, np.memmap[Any, Any]] = {}
    for at, (name, (shape, dtype)) in enumerate(shapes.items()):
        for key, size, kind in ((name, shape, dtype), (name + THERE, (), "bool")):
            file = folder / f"{at}{'.there' if key.endswith(THERE) else ''}.npy"
            if file.exists():
                found[key] = np.lib.format.open_memmap(file, mode="r+")
            else:
                found[key] = np.lib.format.open_memmap(file, mode="w+", dtype=np.dtype(kind), shape=(num_rows, *size))
    return found


def _read_done(file: Path) -> dict[int, list[Fault]]:
    """What was decoded before. A last line that was cut off is taken away."""
    done: dict[int, list[Fault]] = {}
    lines = file.read_text().splitlines() if file.exists() else []
    for at, line in enumerate(lines):
        try:
            note = json.loads(line)
            done[int(note["chunk"])] = [Fault(**fault) for fault in note["faults"]]
        except (ValueError, KeyError, TypeError):
            with whole(file) as part:
                part.write_text("".join(f"{each}\n" for each in lines[:at]))
            break
    return done


def _key(preparer: SamplePreparer, table: Table, root: Path | None, broken: Broken) -> str:
    """Of all that decides what the arrays hold: readers, rows, and the files by size and time of change."""
    sha = hashlib.sha256(preparer.to_bytes() + table.digest().encode() + broken.encode() + str(root).encode())
    for column in preparer.media:
        if column.kind == "text" or root is None:
            continue
        for value in table.column(column.name).tolist():
            if isinstance(value, str) and len(value) < 4_096:
                sha.update(_changed(root / value))
    return sha.hexdigest()


def _changed(path: Path) -> bytes:
    try:
        state = path.stat()
        inside = [path, *sorted(path.iterdir())] if path.is_dir() else [path]
        states = [each.stat() for each in inside] if len(inside) > 1 else [state]
    except (OSError, ValueError):
        return b"-"
    return ";".join(f"{each.st_size} {each.st_mtime_ns}" for each in states).encode()
