"""A bundle that reads files or texts as a compression target: its graph with weights in int8, and the rest as it was.

    target = SampleBundleTarget.open(Path("digits"), Path("validation.csv"))     # paths below the table's folder

Calibration and threshold stay: they are in the graph, and in files that are copied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from deepseek.bundle import EngineEntry, Manifest, now
from deepseek.compress.targets.evaluator import Evaluator, split_rows
from deepseek.compress.targets.target import GIVEN, Backend, Plan, Variant, make_int8_variant
from deepseek.contracts import Arrays, Float64, Task, Tensors
from deepseek.data import Table, encode_target, read_table
from deepseek.data.samples.preparer import table_records
from deepseek.data.table.formats import apply_formats
from deepseek.engines.multimodal.runtime import CHUNK_ROWS, GRAPH, MultimodalRuntime
from deepseek.errors import InputError, MissingError
from deepseek.train.tabular.metrics import METRICS, default_metric

MAX_BYTES = 2_000_000_000  # of decoded samples, which stay in memory


class SampleBundleTarget:
    """CompressionTarget of a bundle of several modalities. Its engine computes on one thread."""

    kind = "bundle"

    def __init__(
        self, runtime: MultimodalRuntime, arrays: Arrays, target: NDArray[Any], digest: str, seed: int
    ) -> None:
        self.runtime, self.manifest, self.seed, self.data_digest = runtime, runtime.manifest, seed, digest
        self.name = self.manifest.name
        self.digest = f"{self.manifest.digest} {digest} {seed}"
        _, evaluation = split_rows(len(target), seed)  # as for other bundles; nothing here is calibrated
        self._arrays = {name: array[evaluation] for name, array in arrays.items()}
        task, truth = cast("Task", self.manifest.task), target[evaluation]
        metric = self.manifest.lineage.config.get("metric")
        metric = metric if metric in METRICS[task] else default_metric(task, target)
        info = METRICS[task][metric]
        self.evaluator = Evaluator(metric, truth, info.function, info.higher_is_better, seed)
        self._graph_bytes = len(runtime.bundle.read(GRAPH))
        self.original = Variant(GIVEN, runtime.bundle.path, self._graph_bytes)

    @classmethod
    def open(cls, path: Path, data: Path, *, seed: int = 0) -> SampleBundleTarget:
        """Open a bundle and the table `data`, whose files lie below its folder. MissingError for a table without the
        target column, InputError for more samples than memory holds, and what the readers raise."""
        runtime = MultimodalRuntime.open(path)
        table = apply_formats(read_table(data), runtime.formats)
        name = runtime.manifest.target
        if name not in table.names:
            raise MissingError(
                f"the data has no column {name!r}, the target of the bundle",
                expected=f"a column {name!r} with the true answers", fix="add the true answers",
            )  # fmt: skip
        target = encode_target(table, name, runtime.manifest.labels)
        return cls(runtime, _decode(runtime, table, data.parent), target, table.digest(), seed)

    def methods(self) -> tuple[str, ...]:
        return ("int8",)

    def plans(self, methods: Sequence[str]) -> list[Plan]:
        return [Plan((method,)) for method in methods]

    def make(self, plan: Plan, folder: Path) -> Variant:
        return make_int8_variant(plan, folder, self.runtime.bundle.read(GRAPH), GRAPH)

    def backends(self, variant: Variant) -> list[Backend]:
        runtime = self.runtime
        if variant.name != GIVEN:
            runtime = runtime.with_graph((variant.folder / GRAPH).read_bytes())

        def run(arrays: Arrays) -> Float64:
            return runtime.score(Tensors(arrays)).output.astype(np.float64)

        return [Backend("onnxruntime", True, run, lambda: None)]

    def outputs(self, backend: Backend, num_rows: int | None = None) -> NDArray[Any]:
        size = self.evaluator.num_rows if num_rows is None else num_rows
        starts = range(0, size, CHUNK_ROWS)
        return np.concatenate([backend.run(self._take(start, min(start + CHUNK_ROWS, size))) for start in starts])

    def rows(self, number: int, batch: int) -> Arrays:
        rows = np.arange(number * batch, (number + 1) * batch) % self.evaluator.num_rows
        return {name: np.ascontiguousarray(array[rows]) for name, array in self._arrays.items()}

    def describe(self, variant: Variant, engine: str) -> tuple[Manifest, Mapping[str, bytes]]:
        bundle = self.runtime.bundle
        kept = [
            name for name in self.manifest.files if not name.startswith(("evidence/", "weights/")) and name != GRAPH
        ]
        files = {name: bundle.read(name) for name in kept} | {GRAPH: (variant.folder / GRAPH).read_bytes()}
        lineage = replace(
            self.manifest.lineage, parent=self.manifest.digest, data=self.data_digest, seed=self.seed,
            config={**self.manifest.lineage.config, "compress": variant.name},
        )  # fmt: skip
        manifest = replace(
            self.manifest, created=now(), lineage=lineage, files={}, digest="",
            engines=(EngineEntry(engine, GRAPH, 0.0, self.evaluator.num_rows),),
        )  # fmt: skip
        return manifest, files

    def close(self) -> None:
        self.runtime.close()

    def _take(self, start: int, end: int) -> Arrays:
        return {name: np.ascontiguousarray(array[start:end]) for name, array in self._arrays.items()}


def _decode(runtime: MultimodalRuntime, table: Table, root: Path) -> Arrays:
    """Every row of the table as samples in memory."""
    sizes = [int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in runtime.preparer.shapes.values()]
    if table.num_rows * sum(sizes) > MAX_BYTES:
        raise InputError(
            f"{table.num_rows} rows take {table.num_rows * sum(sizes) / 1e9:.1f} GB decoded",
            expected=f"at most {MAX_BYTES / 1e9:g} GB", fix="give fewer rows",
        )  # fmt: skip
    target = runtime.manifest.target
    parts = []
    for first in range(0, table.num_rows, CHUNK_ROWS):
        records = [
            {name: value for name, value in record.items() if name != target}
            for record in table_records(table, first, CHUNK_ROWS)
        ]
        parts.append(runtime.prepare(records, root=root).arrays)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
