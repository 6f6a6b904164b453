"""Variants of a device program: float32, and for graphs int8, each with the files of its folder."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from deepseek.compress.edge.int8 import store_weights_int8
from deepseek.compress.edge.network import read_network
from deepseek.compress.edge.program import LIBRARY_NAME, Program, bundle_program, network_program, onnxruntime_program
from deepseek.compress.edge.target import EdgeTarget
from deepseek.contracts import Float32
from deepseek.engines.int8 import quantize_int8
from deepseek.errors import InputError
from deepseek.extras import need

#: Fewest rows that an int8 variant is compared on; with fewer, a single row would decide.
MIN_PARITY_ROWS = 100
MAX_CALIBRATION_ROWS = 200
#: Constants of one C file: gcc takes 4 s and 0.3 GB for each million floats.
MAX_C_WEIGHTS = 2_000_000


@dataclass(frozen=True, slots=True)
class Variant:
    """A program to try. `files` by name: bytes, or a file to copy; `on_device`: names of the files that the compiled
    program needs beside it."""

    name: str
    program: Program
    files: dict[str, bytes | Path] = field(repr=False)
    on_device: tuple[str, ...]
    is_lossy: bool
    rows: slice  # of the target that it is compared on: never those that it was calibrated on


def build_variants(target: EdgeTarget, tier: Literal["onnxruntime", "c"] | str) -> tuple[list[Variant], list[str]]:
    """The variants to try, and notes on those that were left out and why."""
    num_rows = len(target.inputs)
    parity_rows = slice(num_rows // 2, num_rows)
    lossless = target.runtime is not None
    notes = []
    if not lossless and num_rows - parity_rows.start < MIN_PARITY_ROWS:
        notes.append(
            f"int8 was not tried: it is held to at least {MIN_PARITY_ROWS} rows, which takes {2 * MIN_PARITY_ROWS}"
        )
        lossless = True
    if tier == "c" and target.pictures is not None:
        raise InputError(
            f"the C tier does not know every operator of {target.name!r}, which finds defects",
            expected="--tier onnxruntime", fix="leave --tier out",
        )  # fmt: skip
    if tier == "c":
        return _c_variants(target, parity_rows, lossless=lossless), notes
    if not target.graph:
        raise InputError(
            f"the bundle {target.name!r} has no ONNX graph: it was made of another library's model",
            expected="a bundle that ship made",
            fix="use --tier c",
        )
    graphs: list[tuple[str, bytes]] = [("float32", target.graph)]
    if not lossless:
        graphs.append(("int8 weights", store_weights_int8(target.graph)))
        rows = target.inputs[: parity_rows.start][:MAX_CALIBRATION_ROWS].reshape(-1, *target.shape)
        try:
            graphs.append(("int8", _quantize_graph(target.graph, target.ends[0], rows)))
        except InputError as error:
            notes.append(error.message)
    return [_onnxruntime_variant(target, name, graph, parity_rows) for name, graph in graphs], notes


def _quantize_graph(graph: bytes, name: str, rows: Float32) -> bytes:
    """The graph in int8, calibrated on `rows` (N, ...) of the input `name`, one row per call as on the device."""
    with tempfile.TemporaryDirectory() as folder:
        source, quantized = Path(folder) / "given.onnx", Path(folder) / "made.onnx"
        source.write_bytes(graph)
        quantize_int8(source, quantized, [{name: row[None]} for row in rows])
        return quantized.read_bytes()


def _c_variants(target: EdgeTarget, parity_rows: slice, *, lossless: bool) -> list[Variant]:
    if target.runtime is not None:
        arrays = [array for part in target.runtime.model.parts for array in part.weights.arrays().values()]
        _check_size(sum(array.size for array in arrays))
        return [_c_variant("float32", bundle_program(target.runtime), slice(None))]
    network = read_network(target.graph)
    _check_size(sum(step.weight.size for step in network.steps if step.weight is not None))
    variants = [_c_variant("float32", network_program(network, int8=False), slice(None))]
    if not lossless:
        variants.append(_c_variant("int8 weights", network_program(network, int8=True), parity_rows))
    return variants


def _check_size(num_numbers: int) -> None:
    if num_numbers > MAX_C_WEIGHTS:
        raise InputError(
            f"the model has {num_numbers:,} weights, which is too large for the C tier",
            expected=f"at most {MAX_C_WEIGHTS:,}",
            fix="use --tier onnxruntime, or prune or distil the model first",
        )


def _c_variant(name: str, program: Program, rows: slice) -> Variant:
    files: dict[str, bytes | Path] = {file: text.encode() for file, text in program.files.items()}
    return Variant(name, program, files, (), name != "float32", rows)


def _onnxruntime_variant(target: EdgeTarget, name: str, graph: bytes, parity_rows: slice) -> Variant:
    program = onnxruntime_program(
        target.ends, target.shape, target.expected.shape[1], target.runtime, qdq=name == "int8",
        pictures=target.pictures,
    )  # fmt: skip
    files: dict[str, bytes | Path] = {file: text.encode() for file, text in program.files.items()}
    files |= {"model.onnx": graph, **library_files()}
    on_device = ("model.onnx", *library_files())
    is_lossy = name != "float32"
    return Variant(name, program, files, on_device, is_lossy, parity_rows if is_lossy else slice(None))


def library_files() -> dict[str, Path]:
    """onnxruntime's library and licenses in the installed package, by their path in the folder. InputError for a
    package without a library that C programs can use."""
    package = Path(str(need("onnxruntime", extra="edge").__file__)).parent
    libraries = sorted((package / "capi").glob("libonnxruntime.so.*"))
    if not libraries:
        raise InputError(
            f"onnxruntime in {package} brings no libonnxruntime.so",
            expected="onnxruntime for Linux from its own wheel, 1.30 or later", fix="use --tier c, or export on Linux",
        )  # fmt: skip
    licences = {f"lib/{name}": package / name for name in ("LICENSE", "ThirdPartyNotices.txt")}
    return {f"lib/{LIBRARY_NAME}": libraries[-1]} | {name: path for name, path in licences.items() if path.is_file()}
