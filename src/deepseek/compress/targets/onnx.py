"""An ONNX file as a compression target, evaluated on the arrays of a .npz.

    target = OnnxTarget.open(Path("resnet.onnx"), Path("validation.npz"))     # arrays by the inputs' names, and "y"

"y" holds class numbers or values; without it variants are compared with the original model's outputs. The bundle
serves the graph in the engine that it was evaluated in.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.bundle import EngineEntry, Input, Lineage, Manifest, Output, now
from deepseek.compress.targets.evaluator import Evaluator, split_rows
from deepseek.compress.targets.graph_scan import worst_nodes
from deepseek.compress.targets.post_training import quantize_onnx
from deepseek.compress.targets.target import GIVEN, Backend, Plan, Variant, bundle_name
from deepseek.contracts import Arrays, Tensors
from deepseek.data.table.npz import read_npz
from deepseek.engines.onnx_file import OnnxFile, open_file
from deepseek.engines.onnx_file.engine import INT8_KINDS, LOSSY_KINDS, available_kinds, open_kind, run_rows
from deepseek.errors import InputError

TARGET_NAME = "y"
EXACT_OPERATOR_COUNTS = (2, 4, 8)  # operators that stay exact in the plans int8-but-K
ROWS_PER_CALL = 64  # when outputs are collected
GRAPH_FILE = "model.onnx"


class OnnxTarget:
    """CompressionTarget of an ONNX file. Engines compute on one thread."""

    kind = "onnx"

    def __init__(self, name: str, file: OnnxFile, inputs: Arrays, target: NDArray[Any] | None, data_digest: str,
                 seed: int) -> None:  # fmt: skip
        self.name, self.file, self.seed = name, file, seed
        self.signature = file.signature
        calibration, evaluation = split_rows(len(next(iter(inputs.values()))), seed)
        self._calibration_arrays = {key: array[calibration] for key, array in inputs.items()}
        self._inputs = {key: array[evaluation] for key, array in inputs.items()}
        self.num_rows = len(evaluation)
        self.digest = f"{file.digest} {data_digest} {seed}"
        self.data_digest = data_digest
        self.original = Variant(GIVEN, file.path.parent, file.path.stat().st_size)
        self._scanned: list[str] | None = None
        self.evaluator = self._evaluator(None if target is None else target[evaluation])

    @classmethod
    def open(cls, path: Path, data: Path, *, seed: int = 0) -> OnnxTarget:
        """Open a graph and the .npz `data`. Errors as of open_file(), and InputError for arrays that do not fit."""
        file = open_file(path, None)
        arrays = read_npz(data, "data")
        target = arrays.pop(TARGET_NAME, None)
        inputs = check_inputs(file, arrays, data)
        return cls(path.stem, file, inputs, check_target(target, len(next(iter(inputs.values()))), data),
                   digest_of_arrays({**inputs, **({} if target is None else {TARGET_NAME: target})}), seed)  # fmt: skip

    def methods(self) -> tuple[str, ...]:
        return ("int8",)

    def plans(self, methods: Sequence[str]) -> list[Plan]:
        return [
            Plan((name,))
            for method in methods
            for name in (method, *(f"{method}-but-{count}" for count in EXACT_OPERATOR_COUNTS))
        ]

    def make(self, plan: Plan, folder: Path) -> Variant:
        num_exact = int(plan.name.rpartition("-")[2]) if "-but-" in plan.name else 0
        calls, exact = self.calibration(), self._worst_nodes()[:num_exact] if num_exact else []
        if len(exact) < num_exact:
            raise InputError(
                f"the graph has {len(exact)} operators in int8", expected=f"more than {num_exact}", fix="see the others"
            )
        quantize_onnx(self.file.path, calls, folder / GRAPH_FILE, exact=exact)
        notes = (f"not in int8: {', '.join(exact)}",) if exact else ()
        return Variant(plan.name, folder, (folder / GRAPH_FILE).stat().st_size, notes)

    def _worst_nodes(self) -> list[str]:
        """Names of operators by their loss in int8, the largest first; scanned once."""
        if self._scanned is None:
            with tempfile.TemporaryDirectory(prefix="deepseek-scan-") as folder:
                path = Path(folder) / GRAPH_FILE
                quantize_onnx(self.file.path, self.calibration(), path)
                self._scanned = worst_nodes(self.file.path, path, self.calibration())
        return self._scanned

    def calibration(self) -> list[Arrays]:
        """Inputs of single-row calls, from rows that no variant is evaluated on."""
        num_rows = len(next(iter(self._calibration_arrays.values())))
        return [
            self._call({name: array[row : row + 1] for name, array in self._calibration_arrays.items()})
            for row in range(num_rows)
        ]

    def backends(self, variant: Variant) -> list[Backend]:
        is_original = variant.name == GIVEN
        path = self.file.path if is_original else variant.folder / GRAPH_FILE
        backends = []
        for kind in available_kinds(self.signature, lossy=not is_original):
            if kind in INT8_KINDS:  # these quantize a copy themselves; here the variant is that copy
                continue
            engine = open_kind(kind, path, self.signature)
            backends.append(
                Backend(kind, kind not in LOSSY_KINDS, partial(run_rows, engine, self.signature), engine.close)
            )
        return backends

    def outputs(self, backend: Backend, num_rows: int | None = None) -> NDArray[Any]:
        size = self.num_rows if num_rows is None else num_rows
        first = self.signature.outputs[0].name
        parts = []
        for start in range(0, size, ROWS_PER_CALL):
            end = min(start + ROWS_PER_CALL, size)
            parts.append(backend.run({name: array[start:end] for name, array in self._inputs.items()})[first])
        return np.concatenate(parts)

    def rows(self, number: int, batch: int) -> Arrays:
        rows = np.arange(number * batch, (number + 1) * batch) % self.num_rows
        return {name: array[rows] for name, array in self._inputs.items()}

    def describe(self, variant: Variant, engine: str) -> tuple[Manifest, Mapping[str, bytes]]:
        signature = self.signature
        manifest = Manifest(
            name=bundle_name(self.name, "model"),
            version="1",
            created=now(),
            task="tensors",
            target=signature.outputs[0].name,
            inputs=tuple(
                Input(spec.name, "tensor", spec.dtype, _axis_sizes(spec.shape[1:])) for spec in signature.inputs
            ),
            outputs=tuple(Output(spec.name, spec.dtype, _axis_sizes(spec.shape[1:])) for spec in signature.outputs),
            engines=(EngineEntry(engine, GRAPH_FILE, 0.0, self.num_rows),),
            lineage=Lineage(
                parent=self.file.digest.removeprefix("sha256:"), data=self.data_digest, seed=self.seed,
                config={"compress": list(variant.name.split("+"))},
            ),
        )  # fmt: skip
        return manifest, {GRAPH_FILE: (variant.folder / GRAPH_FILE).read_bytes()}

    def close(self) -> None:
        """Nothing to release."""

    def _call(self, arrays: Arrays) -> Arrays:
        """One row (1, ...) in the form that the graph takes: without the row axis where a call is one whole row."""
        return {name: array[0] for name, array in arrays.items()} if self.signature.rows == "whole" else arrays

    def _evaluator(self, target: NDArray[Any] | None) -> Evaluator:
        if target is not None:
            if target.dtype.kind in "iu":
                return Evaluator.labels(target.astype(np.int64), self.seed)
            return Evaluator.values(target, self.seed)
        backend = self.backends(self.original)[0]
        outputs = self.outputs(backend)
        backend.close()
        return Evaluator.fidelity(outputs, are_classes=outputs.ndim == 2 and outputs.shape[1] in range(2, 10_001),
                              seed=self.seed)  # fmt: skip


def check_inputs(file: OnnxFile, arrays: dict[str, NDArray[Any]], data: Path) -> Arrays:
    """The arrays by the graph's input names, in its types. InputError for missing or unknown names, no rows, numbers
    that are not finite, and shapes that do not fit."""
    signature = file.signature
    names = [spec.name for spec in signature.inputs]
    if len(arrays) == 1 and len(names) == 1:  # unambiguous, whatever its name
        arrays = {names[0]: next(iter(arrays.values()))}
    unknown = sorted(set(arrays) - set(names))
    missing = [name for name in names if name not in arrays]
    if unknown or missing:
        raise InputError(
            f"{data} has {', '.join(sorted(arrays)) or 'no arrays'}",
            expected=f"arrays for the inputs {', '.join(names)}, and {TARGET_NAME!r} with the true answers",
            fix="name the arrays as the graph names its inputs",
        )
    fitting = {}
    for spec in signature.inputs:
        array = arrays[spec.name]
        if not array.ndim or not len(array):
            raise InputError(
                f"{data}: {spec.name!r} has no rows", expected=spec.describe(), fix="give rows to judge on"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array))[0][0])
            raise InputError(
                f"{data}: {spec.name!r} is not finite in row {row}", expected="finite numbers",
                fix="fill or drop that row",
            )  # fmt: skip
        fitting[spec.name] = array.astype(spec.numpy) if array.dtype.kind in "biuf" else array
    signature.check(Tensors(fitting, signature.rows == "whole"))
    return fitting


def check_target(target: NDArray[Any] | None, num_rows: int, data: Path) -> NDArray[Any] | None:
    """The target as (N,), or None without one. InputError for another shape or type, and for values not finite."""
    if target is None:
        return None
    flat = target.reshape(-1) if target.ndim == 2 and target.shape[1] == 1 else target
    if flat.ndim != 1 or len(flat) != num_rows or flat.dtype.kind not in "biuf":
        raise InputError(
            f"{data}: {TARGET_NAME!r} is {target.dtype} of the shape {list(target.shape)}",
            expected=f"one class number or value for each of {num_rows} rows",
            fix=f"leave {TARGET_NAME!r} out to hold variants to the given model's own answers",
        )
    if flat.dtype.kind == "f" and not np.isfinite(flat).all():
        row = int(np.argwhere(~np.isfinite(flat))[0][0])
        raise InputError(f"{data}: {TARGET_NAME!r} is not finite in row {row}", expected="numbers", fix="drop that row")
    return flat.astype(np.int64) if flat.dtype.kind == "b" else flat


def digest_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Hex sha256 over the names, types, shapes and bytes of the arrays."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _axis_sizes(shape: Sequence[Any]) -> tuple[int, ...]:
    return tuple(dim if isinstance(dim, int) else -1 for dim in shape)
