"""Samples that a cluster decodes: a dataset of Ray Data -> arrays, and batches for each rank that trains on them.

    rows = ray.data.read_parquet("s3://clinic/rows")                   # columns of bytes, texts, numbers; the target
    samples = decoded(rows, preparer, target="covid", labels=("no", "yes"))
    # in each worker of Ray Train, whose datasets are {"train": samples}:
    stream = RayStream(ray.train.get_dataset_shard("train"), num_rows=samples.count() // num_ranks, config=config)
    for batch in stream: batch.arrays["ct"], batch.labels

Ray moves the rows, starts the tasks and starts them again where a machine dies; what a row becomes is what
SamplePreparer makes of it anywhere else. The dataset is told to keep its order, so a pass gives the same batches each
time, and one that is entered in its middle goes on to the bit: what lies before is read again and passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.data.samples.preparer import PRESENT_SUFFIX, BrokenPolicy, SamplePreparer
from deepseek.data.stream.stream import LABEL_ARRAY, ResumableStream, StreamBatch, StreamConfig, parse_label
from deepseek.errors import InputError
from deepseek.extras import renamed_attributes

FAULT_ARRAY = ".fault"  # what was masked in a row, in words; "" for most
_TASK_ROWS = 64  # that one task decodes at a time


def decode_dataset(
    dataset: Any,
    preparer: SamplePreparer,
    *,
    target: str | None = None,
    labels: Sequence[str] | None = None,
    root: Path | None = None,
    broken: BrokenPolicy = "fail",
) -> Any:
    """A ray.data.Dataset of rows -> one of their samples, lazily: the arrays of `preparer` by name, ".label", ".fault".

    `labels`: the classes in order; None where the target is a value, or there is none. `root`: the folder that paths in
    the rows lie below, the same on each machine; without it a file is bytes. With `broken` "mask" a file that cannot be
    read counts as missing, its row says so in ".fault", and a row that has nothing else is left out: the two count()s
    tell how many.

    InputError when the dataset lacks a column; in the pass, what SamplePreparer.rows() raises.
    """
    wanted = (*preparer.columns(), *((target,) if target else ()))
    missing = [name for name in wanted if name not in dataset.columns()]
    if missing:
        raise InputError(
            f"the dataset has no column {missing[0]!r}", expected=f"columns {', '.join(wanted)}",
            fix="read the columns that the samples are made of, and the target",
        )  # fmt: skip
    numbers = None if labels is None else {label: number for number, label in enumerate(labels)}
    options = {
        "preparer": preparer.to_bytes(), "target": target, "numbers": numbers, "root": root, "broken": broken,
    }  # fmt: skip
    samples = dataset.select_columns(list(wanted)).map_batches(
        _decode_block, batch_size=_TASK_ROWS, batch_format="pyarrow", fn_kwargs=options
    )
    samples.context.execution_options.preserve_order = True
    return samples


def _decode_block(
    batch: Any,
    preparer: bytes,
    target: str | None,
    numbers: Mapping[str, int] | None,
    root: Path | None,
    broken: BrokenPolicy,
) -> dict[str, NDArray[Any]]:
    """One task: a table of rows -> arrays (N, ...)."""
    records = batch.to_pylist()
    fitted = SamplePreparer.from_bytes(preparer)
    inputs = [{name: value for name, value in record.items() if name != target} for record in records]
    samples = fitted.rows(inputs, root=root, broken=broken, keep_empty=broken == "mask")
    arrays = dict(samples.arrays)
    messages = [""] * len(records)
    for fault in samples.faults:
        messages[fault.row] = fault.message
    arrays[FAULT_ARRAY] = np.array(messages, np.str_)
    if target is not None:
        values = [parse_label(record, target, numbers, f"row {row} of a block") for row, record in enumerate(records)]
        arrays[LABEL_ARRAY] = np.array(values, np.float32 if numbers is None else np.int64)
    is_present = np.any([arrays[name + PRESENT_SUFFIX] for name in fitted.names], axis=0)
    return {name: array[is_present] for name, array in arrays.items()}


class RayStream(ResumableStream):
    """Batches of one rank, a pass each time: a DataIterator or Dataset of what decode_dataset() gives.

    num_rows: that this rank gets in a pass: the dataset's count(), by the number of ranks. Of `config` the size of the
    batches, the buffer and the seed count: with a seed, rows are drawn among the next `buffer` ones. For another order
    of the files, read them with Ray's shuffle.
    """

    order_facts = "num_rows, seed, batch_size and buffer"

    def __init__(self, rows: Any, *, num_rows: int, config: StreamConfig | None = None) -> None:
        self.rows, self.num_rows, self.config = rows, num_rows, config or StreamConfig()
        super().__init__()
        if not len(self):
            raise InputError(
                f"{num_rows} rows do not make a batch of {self.config.batch_size}", expected="one at least",
                fix="give a smaller batch_size, or fewer ranks",
            )  # fmt: skip

    def __len__(self) -> int:
        """Whole batches of a pass, the same for all ranks: what is left over is not given."""
        return self.num_rows // self.config.batch_size

    def __iter__(self) -> Iterator[StreamBatch]:
        self.batch, self._start = self._start, 0
        for arrays in islice(self._batches(), self.batch, len(self)):
            self.batch += 1  # before it is given: who has it may ask for the state
            yield self._assemble_batch(arrays)
        if self.batch < len(self):
            raise InputError(
                f"the pass ended after {self.batch} batches", expected=f"{len(self)}, of {self.num_rows} rows",
                fix="give as num_rows the count() of what decoded() gave, by the number of ranks",
            )  # fmt: skip
        self.epoch, self.batch = self.epoch + 1, 0

    def _identity(self) -> list[int | None]:
        return [self.num_rows, self.config.batch_size, self.config.buffer, self.config.seed]

    def _batches(self) -> Iterator[dict[str, NDArray[Any]]]:
        shuffle = {}
        if self.config.seed is not None:
            seed = int(np.random.SeedSequence((self.config.seed, self.epoch)).generate_state(1)[0])
            size = max(self.config.buffer, self.config.batch_size)
            shuffle = {"local_shuffle_buffer_size": size, "local_shuffle_seed": seed}
        size = self.config.batch_size
        return iter(self.rows.iter_batches(batch_size=size, batch_format="numpy", drop_last=True, **shuffle))

    def _assemble_batch(self, arrays: dict[str, NDArray[Any]]) -> StreamBatch:
        labels = arrays.pop(LABEL_ARRAY, None)
        arrays.pop(FAULT_ARRAY, None)
        size = self.config.batch_size
        first = (self.batch - 1) * size  # by its place in the pass: Ray does not say which row it is
        return StreamBatch(arrays, labels, np.arange(first, first + size))


__getattr__ = renamed_attributes(__name__, {"decoded": "decode_dataset"})
