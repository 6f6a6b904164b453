"""The ExecuTorch tier: model.pte of a torch module, run by ExecuTorch's own runtime and compared with the module.

    export_edge(Path("net.py:build"), Path("out"), EdgeOptions(tier="executorch"), data=Path("rows.safetensors"))

ExecuTorch pins torch and brings many packages, so it is no extra of ours: it is installed apart.
"""

from __future__ import annotations

import hashlib
import importlib.util
import resource
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.compress.edge.parity import compare_outputs
from deepseek.compress.edge.result import (
    EdgeExport,
    EdgeOptions,
    MeasuredVariant,
    choose_variant,
    install_folder,
    write_descriptions,
)
from deepseek.compress.edge.target import EdgeTarget, module_outputs, read_rows
from deepseek.compress.targets.user_module import is_module_name, load_module
from deepseek.errors import ExtraError, InputError
from deepseek.extras import need

PTE_FILE = "model.pte"


def export_pte(
    path: Path, out: Path, options: EdgeOptions, *, data: Path | None, say: Callable[[str], object]
) -> EdgeExport:
    """Write `out` as export_edge() does, for a user's torch module. ExtraError without executorch."""
    if importlib.util.find_spec("executorch") is None:
        raise ExtraError(
            "executorch is not installed", expected="the package executorch beside the torch that it asks for",
            fix="in an environment of its own: pip install executorch, then this project with its extra 'compress'",
        )  # fmt: skip
    if not is_module_name(path):
        raise InputError(
            f"{path} is no torch module", expected="FILE.py:NAME of a function that gives one",
            fix="use --tier c or --tier onnxruntime for bundles and ONNX files",
        )  # fmt: skip
    module, rows = load_module(path), read_rows(data)
    expected = module_outputs(module, rows)
    say("float32: lower to ExecuTorch, run, compare with the module")
    graph = lower_module(module, rows[:1])
    target = EdgeTarget(
        name=path.stem, digest=hashlib.sha256(graph).hexdigest(), graph=graph,
        ends=("input", "output"), shape=rows.shape[1:],
        inputs=rows.reshape(len(rows), -1), expected=expected, rows_from="the rows of --data",
        is_classes=expected.shape[1] > 1,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / PTE_FILE).write_bytes(graph)
        measured = _measure_program(folder / PTE_FILE, target, options)
        choose_variant([(measured, folder)], options, target)
        write_descriptions(folder, target, options, measured, [measured])
        install_folder(folder, out, options)
    return EdgeExport(out, target, options.tier, measured, (measured,), (RUNTIME_NOTE,))


RUNTIME_NOTE = (
    "the size is that of model.pte alone: ExecuTorch's runtime is built for each device; the RAM is that of this Python"
)


def lower_module(module: Any, row: Any) -> bytes:
    """Bytes of an ExecuTorch program for one row, with XNNPACK where ExecuTorch includes it."""
    torch, exir = need("torch", extra="compress"), need("executorch.exir", extra="compress")
    partitioners = []
    if importlib.util.find_spec("executorch.backends.xnnpack") is not None:
        xnnpack = need("executorch.backends.xnnpack.partition.xnnpack_partitioner", extra="compress")
        partitioners.append(xnnpack.XnnpackPartitioner())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about its own older names
        exported = torch.export.export(module, (torch.as_tensor(row),))
        program = exir.to_edge_transform_and_lower(exported, partitioner=partitioners).to_executorch()
    return bytes(program.buffer)


def _measure_program(path: Path, target: EdgeTarget, options: EdgeOptions) -> MeasuredVariant:
    torch, runtime = need("torch", extra="compress"), need("executorch.runtime", extra="compress")
    start_s = time.perf_counter()
    method = runtime.Runtime.get().load_program(str(path)).load_method("forward")
    tensors = [torch.as_tensor(row.reshape(1, *target.shape)) for row in target.inputs]
    method.execute([tensors[0]])
    cold_s = time.perf_counter() - start_s
    outputs, durations_s = [], []
    for tensor in tensors:
        start_s = time.perf_counter()
        answer = method.execute([tensor])[0]
        durations_s.append(time.perf_counter() - start_s)
        outputs.append(answer.detach().numpy().reshape(1, -1).copy())
    all_outputs = np.concatenate(outputs)
    parity = compare_outputs(
        target, all_outputs, all_outputs.argmax(axis=1).astype(np.int32), slice(None), lossy=False, keep=options.keep
    )
    p50_s, p99_s = np.quantile(durations_s, [0.5, 0.99]).tolist()
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # of this Python, torch and all
    return MeasuredVariant("float32", path.stat().st_size, parity, p50_s, p99_s, cold_s, peak_bytes, 0)
