"""Records to samples in processes that may die: what decodes a whole table to disk, and a stream batch by batch.

    decoders = DecoderPool(preparer, DecodeOptions(root=Path("patients"), broken="mask"), workers=2)
    for samples in decoders.decoded(chunks):     # in the order of the chunks, a few of them ahead
        ...

A file on which its decoder dies (a fault in a C library, too much memory) takes nothing with it: the chunks that were
in hand are read again file by file in one process after the other until the one that kills is known, which is then told
like any other that is broken. The processes stay for the next call; they end with this object.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from deepseek.contracts import Record, Tensors
from deepseek.data.media.source import BrokenError, Source, is_missing
from deepseek.data.samples.preparer import BrokenPolicy, Fault, SamplePreparer, Samples
from deepseek.errors import InputError


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that are decoded together, and what errors call each of them."""

    row_numbers: Sequence[int]
    records: Sequence[Record]


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """How SamplePreparer.rows() decodes, in every process alike."""

    root: Path | None  # the folder that paths lie below; None: no path is read
    broken: BrokenPolicy = "fail"
    keep_empty: bool = False  # whether a sample in which every modality is missing is given


class DecoderPool:
    """Processes that decode; with 0 `workers` this process does."""

    def __init__(self, preparer: SamplePreparer, options: DecodeOptions, workers: int = 0) -> None:
        self.preparer, self.workers, self._options = preparer, workers, options
        self._pool: ProcessPoolExecutor | None = None

    def decode_chunks(self, chunks: Iterable[Chunk]) -> Iterator[Samples]:
        """The samples of each chunk, in order. Chunks are asked for when a process has room for them.

        Raises what SamplePreparer.rows() raises, in its place in the order.
        """
        if self.workers == 0:
            for chunk in chunks:
                yield self.decode_here(chunk)
            return
        source, waiting = iter(chunks), deque[tuple[Chunk, Future[Samples]]]()
        try:
            while True:
                for chunk in islice(source, 2 * self.workers + 1 - len(waiting)):
                    waiting.append((chunk, self._submit(chunk)))
                if not waiting:
                    return
                try:
                    samples = waiting[0][1].result()
                except BrokenProcessPool:
                    waiting = self._resubmit(waiting)
                    continue
                waiting.popleft()
                yield samples
        finally:
            for _, future in waiting:
                future.cancel()

    def decode_here(self, chunk: Chunk) -> Samples:
        """The samples of one chunk, decoded in this process."""
        return _decode_chunk(self.preparer, chunk, self._options)

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _submit(self, chunk: Chunk) -> Future[Samples]:
        if not chunk.records:  # nothing to do, but it has its place in the order
            return _completed_future(lambda: self.decode_here(chunk))
        if self._pool is None:
            self._pool = _make_pool(self.workers, self.preparer, self._options)
        try:
            return self._pool.submit(_decode_in_worker, chunk)
        except BrokenProcessPool as error:  # it died since the last one
            future: Future[Samples] = Future()
            future.set_exception(error)
            return future

    def _resubmit(self, waiting: deque[tuple[Chunk, Future[Samples]]]) -> deque[tuple[Chunk, Future[Samples]]]:
        """Submit again after a process died: the chunks that were being decoded file by file, the others as before."""
        self.close()
        resubmitted, num_suspects = deque[tuple[Chunk, Future[Samples]]](), 0
        for chunk, future in waiting:
            if future.done() and not isinstance(future.exception(), BrokenProcessPool):
                resubmitted.append((chunk, future))
            elif num_suspects <= self.workers:  # one for each process, and the one that was handed over
                num_suspects += 1
                resubmitted.append((chunk, _completed_future(lambda chunk=chunk: self._decode_one_by_one(chunk))))
            else:
                resubmitted.append((chunk, self._submit(chunk)))
        return resubmitted

    def _decode_one_by_one(self, chunk: Chunk) -> Samples:
        """A chunk whose files are decoded one after the other in a process that may die; each death names one."""
        records = [dict(record) for record in chunk.records]
        faults: list[Fault] = []
        for column in self.preparer.media:
            alone = SamplePreparer((column,), None, (), self.preparer.limits)
            waiting = [row for row, record in enumerate(records) if not is_missing(record.get(column.name))]
            while column.kind != "text" and waiting:
                row = self._first_death(alone, waiting, [records[row][column.name] for row in waiting])
                if row is None:
                    break
                value = records[row][column.name]
                display_name = value.name if isinstance(value, Source) else f"{value!r:.200}"
                message = f"row {chunk.row_numbers[row]}, column {column.name!r}: the decoder died on {display_name}"
                if self._options.broken == "fail":
                    raise BrokenError(
                        message, expected="a file that its library can read", fix="leave it out, or mask it"
                    )
                faults.append(Fault(row, column.name, message))
                records[row][column.name] = None
                waiting = waiting[waiting.index(row) + 1 :]
        samples = self.decode_here(Chunk(chunk.row_numbers, records))
        return Samples(samples.tensors, (*samples.faults, *faults), samples.flags)

    def _first_death(self, alone: SamplePreparer, rows: Sequence[int], values: Sequence[Any]) -> int | None:
        """The first of the rows whose value kills the process that decodes it; None when all are survived."""
        (name,) = alone.columns()
        with _make_pool(1, alone, replace(self._options, broken="mask")) as pool:
            try:
                pool.submit(os.getpid).result()
            except BrokenProcessPool as error:
                raise InputError(
                    "the processes that decode end before they have begun", expected="a program that they can import",
                    fix='put what the program does under `if __name__ == "__main__":`, or decode with 0 workers',
                ) from error  # fmt: skip
            for row, value in zip(rows, values, strict=True):
                try:
                    pool.submit(_decode_in_worker, Chunk((0,), ({name: value},))).result()
                except BrokenProcessPool:
                    return row
                except InputError:  # told with the others, when the chunk is decoded without those that kill
                    continue
        return None


def _completed_future(work: Any) -> Future[Samples]:
    """Call `work` now; a finished future with its result or its error."""
    future: Future[Samples] = Future()
    try:
        future.set_result(work())
    except (InputError, OSError) as error:
        future.set_exception(error)
    return future


def _make_pool(workers: int, preparer: SamplePreparer, options: DecodeOptions) -> ProcessPoolExecutor:
    # spawned: a fork of a process with threads may hang
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, spawn, _init_worker, (preparer.to_bytes(), options))


_WORKER_STATE: dict[str, Any] = {}  # "preparer" and "options" of this process


def _init_worker(preparer: bytes, options: DecodeOptions) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _WORKER_STATE.update(preparer=SamplePreparer.from_bytes(preparer), options=options)


def _end_with_parent() -> None:
    """A process whose parent was killed would wait for work for ever: it holds the other end of its own queue."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(0)


def _decode_in_worker(chunk: Chunk) -> Samples:
    return _decode_chunk(_WORKER_STATE["preparer"], chunk, _WORKER_STATE["options"])


def _decode_chunk(preparer: SamplePreparer, chunk: Chunk, options: DecodeOptions) -> Samples:
    if not chunk.records:
        return Samples(Tensors({}))
    return preparer.rows(
        chunk.records, root=options.root, broken=options.broken, row_numbers=chunk.row_numbers,
        keep_empty=options.keep_empty,
    )  # fmt: skip
