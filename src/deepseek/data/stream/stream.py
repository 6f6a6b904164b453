"""Batches of samples from shards that are never loaded as a whole: read, decoded and cached while the model trains.

    shards = open_tars(sorted(Path("photos").glob("*.tar")), columns={"image": "jpg", "label": "cls"})
    stream = ShardStream(shards, preparer, target="label", labels=("cat", "dog"), config=StreamConfig(workers=2))
    for batch in stream:                      # one pass; the next gives the same rows in another order
        batch.arrays["image"], batch.labels
    state = stream.state_dict()               # after any batch; load_state_dict() and the next pass goes on behind it

The order is a function of seed, epoch and rank (shard_sampler.py), and each row is decoded alike wherever it stands, so
a pass that is entered in its middle gives the same batches to the bit, without what lies before being read again. Every
rank gets rows of its own, and as many batches as the others. Records are read here, decoded in processes that may die
(decoders.py), kept on disk where there is room (cache.py).
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, tee
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Record
from deepseek.data.media.source import BrokenError
from deepseek.data.samples.decoders import Chunk, DecodeOptions, DecoderPool
from deepseek.data.samples.preparer import PRESENT_SUFFIX, BrokenPolicy, SamplePreparer, Samples
from deepseek.data.stream.cache import SampleCache
from deepseek.data.stream.shard_sampler import ShardSampler
from deepseek.data.stream.shards import Shards
from deepseek.data.table.values import level_name
from deepseek.errors import InputError

LABEL_ARRAY = ".label"  # the name of the targets among a cached sample's arrays: no column of ours is called so


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """How a stream is read. Only what changes the order is part of its state."""

    batch_size: int = 64  # rows, at least 1
    seed: int | None = 0  # of the order; None: as the shards have it
    buffer: int = 4_096  # rows among which the next one is drawn; of Parquet so many are in memory, undecoded
    share: tuple[int, int] = (0, 1)  # rank, number of ranks
    workers: int = 0  # processes that decode, two batches of each ahead; 0 decodes here
    broken: BrokenPolicy = (
        "fail"  # or "mask": the value is missing, and a row that has no other is left out of its batch
    )
    cache: Path | None = None  # a folder for decoded samples
    cache_bytes: int = 20 * 2**30  # that they may take there

    def __post_init__(self) -> None:
        rank, num_ranks = self.share
        for name, is_valid, expected in (
            ("batch_size", self.batch_size >= 1, "1 or more"), ("buffer", self.buffer >= 1, "1 or more"),
            ("workers", self.workers >= 0, "0 or more"),
            ("share", 0 <= rank < num_ranks, "a rank from 0 on, below the number of ranks"),
            ("broken", self.broken in ("fail", "mask"), "fail or mask"),
        ):  # fmt: skip
            if not is_valid:
                raise InputError(f"stream.{name} is {getattr(self, name)}", expected=expected, fix="give such a value")


@dataclass(frozen=True, slots=True)
class StreamBatch:
    """N samples."""

    arrays: Mapping[str, NDArray[Any]]  # by name, and by name with PRESENT_SUFFIX behind it, each (N, ...)
    labels: NDArray[Any] | None  # (N,) int64 class numbers or float32 values; None without a target
    rows: NDArray[np.int64]  # (N,) their numbers through all shards

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(slots=True)
class _PendingBatch:
    """A batch before decoding: N rows, of which M are not in the cache."""

    rows: NDArray[np.int64]  # (N,)
    is_fresh: NDArray[np.bool_]  # (N,) to be decoded, not in the cache
    labels: NDArray[Any]  # (M,) the targets of the fresh rows
    chunk: Chunk  # the records of the fresh rows


def parse_label(record: Record, target: str, numbers: Mapping[str, int] | None, where: str) -> float:
    """The class number of a record's target, or its value where there are no classes. InputError, which names `where`,
    for a label that is unknown or a value that is no number."""
    value = record[target]
    try:
        label = float(value) if numbers is None else numbers[level_name(value) or ""]
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(
            f"{where}: the target {target!r} is {value!r:.100}",
            expected="a number" if numbers is None else f"one of {', '.join(map(str, numbers))}"[:200],
            fix="mend it, leave the row out, or give labels=",
        ) from error
    if label != label:  # noqa: PLR0124 - NaN
        raise InputError(f"{where} has no value of {target!r}", expected="a number", fix="leave the row out")
    return label


class ResumableStream(ABC):
    """A stream that can be entered at any batch: how many passes it has given, and batches of this one. A subclass says
    what the order of its rows depends on."""

    order_facts = ""  # what the order depends on, in words

    def __init__(self) -> None:
        self.epoch = self.batch = 0
        self._start = 0  # batches that the next pass leaves out

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next pass. Otherwise each pass that ends begins the next."""
        self.epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands, behind the batch that was given last: JSON values."""
        return {"epoch": self.epoch, "batch": self.batch, "order": self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next pass continue behind that batch. InputError when the state is of another order of rows."""
        if state["order"] != self._identity():
            raise InputError(
                "the state is of another stream", expected=f"the {self.order_facts} of that one",
                fix="open it as it was, or begin anew",
            )  # fmt: skip
        self.epoch, self.batch = int(state["epoch"]), int(state["batch"])
        self._start = self.batch

    @abstractmethod
    def _identity(self) -> Any:
        """A JSON value that is equal exactly for equal orders of rows."""


class ShardStream(ResumableStream):
    """An iterable of StreamBatch, a pass each time; `epoch` and `batch` say where it stands.

    labels: the classes in order; None where the target is a value, or there is no target. InputError when the shards
    lack a column, or there are fewer rows than ranks.
    """

    order_facts = "shards, seed, batch_size, buffer and ranks"

    def __init__(
        self,
        shards: Shards,
        preparer: SamplePreparer,
        *,
        target: str | None = None,
        labels: Sequence[str] | None = None,
        config: StreamConfig | None = None,
    ) -> None:
        self.shards, self.preparer, self.target, self.config = shards, preparer, target, config or StreamConfig()
        self._columns = preparer.columns()
        for name in (*self._columns, *((target,) if target else ())):
            if name not in shards.columns:
                raise InputError(
                    f"the shards have no column {name!r}", expected=f"columns {', '.join(shards.columns)}",
                    fix="open them with the columns that the samples are made of, and the target",
                )  # fmt: skip
        self._numbers = None if labels is None else {label: number for number, label in enumerate(labels)}
        self.order = ShardSampler(tuple(shards.sizes), self.config.seed, self.config.buffer, self.config.share)
        if not len(self.order):
            raise InputError(
                f"there are {sum(shards.sizes)} rows for {self.config.share[1]} ranks", expected="one for each",
                fix="bring more rows, or fewer ranks",
            )  # fmt: skip
        super().__init__()
        self.faults: dict[tuple[int, str], str] = {}  # what was masked or left out, by row and column
        options = DecodeOptions(shards.root, self.config.broken, keep_empty=self.config.broken == "mask")
        self._decoders = DecoderPool(preparer, options, self.config.workers)
        self._cache: SampleCache | None = None

    def __len__(self) -> int:
        """Batches of a pass, the same for all ranks. A last batch of one row is left out: norms need company."""
        whole, rest = divmod(len(self.order), self.config.batch_size)
        return whole + (rest > 1 or (rest == 1 and whole == 0))

    def __iter__(self) -> Iterator[StreamBatch]:
        self.batch, self._start = self._start, 0
        for batch in self._batches(self.epoch, self.batch):
            self.batch += 1  # before it is given: who has it may ask for the state
            yield batch
        self.epoch, self.batch = self.epoch + 1, 0

    def close(self) -> None:
        """End the processes and close the cache."""
        self._decoders.close()
        if self._cache is not None:
            self._cache.close()
            self._cache = None

    def _identity(self) -> str:
        order_config = (self.config.seed, self.config.batch_size, self.config.buffer, self.config.share[1])
        return hashlib.sha256(f"{self.shards.digest()} {order_config}".encode()).hexdigest()

    # ---- a pass

    def _batches(self, epoch: int, start: int) -> Iterator[StreamBatch]:
        self._open_cache()
        waiting = deque[_PendingBatch]()

        def chunks() -> Iterator[Chunk]:
            for pending in self._pending_batches(epoch, start):
                waiting.append(pending)
                yield pending.chunk

        for samples in self._decoders.decode_chunks(chunks()):
            yield self._assemble_batch(waiting.popleft(), samples)

    def _pending_batches(self, epoch: int, start: int) -> Iterator[_PendingBatch]:
        """The batches from `start` on, the records of what is not in the cache read."""
        size, rows_to_come = self.config.batch_size, self.order.rows(epoch)
        num_rows = sum(self.shards.sizes)
        filled = self._cache.filled_mask(num_rows) if self._cache else np.zeros(num_rows, bool)
        passed_rows = np.fromiter(islice(rows_to_come, start * size), np.int64)
        read = self._read_any if self.shards.is_random else self._ordered_reader(epoch, passed_rows, filled)
        for _ in range(start, len(self)):
            rows = np.fromiter(islice(rows_to_come, size), np.int64)
            is_fresh = ~filled[rows]
            records_by_row = read(rows[is_fresh].tolist())
            unreadable = [row for row, record in records_by_row.items() if record is None]
            if unreadable:
                kept = ~np.isin(rows, unreadable)
                rows, is_fresh = rows[kept], is_fresh[kept]
            fresh = {row: record for row, record in records_by_row.items() if record is not None}
            labels = [self._label(record, row) for row, record in fresh.items()]
            records = [{name: record[name] for name in self._columns} for record in fresh.values()]
            yield _PendingBatch(rows, is_fresh, np.array(labels, self._label_dtype), Chunk(tuple(fresh), records))

    def _read_any(self, rows: Sequence[int]) -> dict[int, Record | None]:
        """Records of any rows; None for one that cannot be read, where that is to be masked."""
        try:
            return dict(zip(rows, self.shards.read(rows), strict=True))
        except BrokenError:
            if self.config.broken == "fail":
                raise
        records_by_row: dict[int, Record | None] = {}
        for row in rows:
            try:
                records_by_row[row] = next(self.shards.read([row]))
            except BrokenError as error:
                records_by_row[row] = None
                self.faults[row, ""] = str(error)
        return records_by_row

    def _ordered_reader(
        self, epoch: int, passed_rows: NDArray[np.int64], filled: NDArray[np.bool_]
    ) -> Callable[[Sequence[int]], dict[int, Record | None]]:
        """A function like _read_any() for shards that are read in order: it keeps the records that come before their
        turn."""
        is_done = filled.copy()
        is_done[passed_rows] = True
        named, wanted = tee(row for row in self.order.read(epoch) if not is_done[row])
        reading = zip(named, self.shards.read(wanted), strict=True)
        buffered: dict[int, Record] = {}

        def read(rows: Sequence[int]) -> dict[int, Record | None]:
            records_by_row: dict[int, Record | None] = {}
            for row in rows:
                while row not in buffered:
                    number, buffered[number] = next(reading)
                records_by_row[row] = buffered.pop(row)
            return records_by_row

        return read

    def _label(self, record: Record, row: int) -> float:
        return 0 if self.target is None else parse_label(record, self.target, self._numbers, self.shards.name(row))

    # ---- a batch

    @property
    def _label_dtype(self) -> str:
        return "int64" if self._numbers is not None else "float32"

    def _assemble_batch(self, pending: _PendingBatch, samples: Samples) -> StreamBatch:
        """Decoded and cached samples in the order of the batch."""
        for fault in samples.faults:
            self.faults[int(pending.chunk.row_numbers[fault.row]), fault.column] = fault.message
        if self._cache is None or pending.is_fresh.all():
            arrays = {**samples.arrays, LABEL_ARRAY: pending.labels}
        else:
            arrays = self._merge_cached(pending, samples, self._cache)
        if self._cache is not None:
            faulty = {fault.row for fault in samples.faults}
            for index, row in enumerate(pending.chunk.row_numbers):
                if index not in faulty:
                    fresh = {**samples.arrays, LABEL_ARRAY: pending.labels}
                    self._cache.write(row, {name: array[index : index + 1] for name, array in fresh.items()})
        rows = pending.rows
        if len(rows):
            is_present = np.any([arrays[name + PRESENT_SUFFIX] for name in self.preparer.names], axis=0)
            faulty_rows = {row for row, _ in self.faults}
            for row in set(rows[~is_present].tolist()) - faulty_rows:
                self.faults[row, ""] = f"{self.shards.name(row)} has no value at all"
            if not is_present.all():
                rows, arrays = rows[is_present], {name: array[is_present] for name, array in arrays.items()}
        if not len(rows):
            raise BrokenError(
                f"no row of batch {self.batch} in epoch {self.epoch} can be read: {list(self.faults.values())[-1]}",
                expected="some that can", fix="leave the broken shard out",
            )  # fmt: skip
        labels = arrays.pop(LABEL_ARRAY)
        return StreamBatch(arrays, labels if self.target else None, rows)

    def _merge_cached(self, pending: _PendingBatch, samples: Samples, cache: SampleCache) -> dict[str, NDArray[Any]]:
        fresh = {**samples.arrays, LABEL_ARRAY: pending.labels}
        arrays = {name: np.empty((len(pending.rows), *shape), dtype) for name, (shape, dtype) in cache.layout.items()}
        for name, array in arrays.items():
            if name in fresh and len(pending.labels):
                array[pending.is_fresh] = fresh[name]
        for index in np.flatnonzero(~pending.is_fresh).tolist():
            views, row = {name: array[index : index + 1] for name, array in arrays.items()}, int(pending.rows[index])
            if cache.read(row, views):
                continue
            record = next(self.shards.read([row]))  # a slot that is not whole
            chunk = Chunk((row,), [{name: record[name] for name in self._columns}])
            again = {
                **self._decoders.decode_here(chunk).arrays,
                LABEL_ARRAY: np.array([self._label(record, row)], self._label_dtype),
            }
            for name, view in views.items():
                view[:] = again[name]
            cache.write(row, views)
        return arrays

    def _open_cache(self) -> None:
        if self.config.cache is None or self._cache is not None:
            return
        layout: dict[str, tuple[tuple[int, ...], str]] = {}
        for name, spec in self.preparer.shapes.items():
            layout |= {name: spec, name + PRESENT_SUFFIX: ((), "bool")}
        layout[LABEL_ARRAY] = ((), self._label_dtype)
        facts = f"{self.shards.digest(times=True)} {self.target} {list(self._numbers or ())} ".encode()
        key = hashlib.sha256(facts + self.preparer.to_bytes()).hexdigest()
        self._cache = SampleCache(
            self.config.cache, key, layout, num_rows=sum(self.shards.sizes), max_bytes=self.config.cache_bytes
        )
