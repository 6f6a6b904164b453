"""What an operator of one's own is worth: the spline of examples/custom_operator against the same formula in torch.

    python benchmarks/custom_operator.py [--quick] [--only CLAIM|served]

One step is forward and backward for 20,000 rows, 30 features and 9 knots in float32, on one thread. The rivals are the
formula in torch's own operators, as a person would write it first, and the same compiled (torch.compile, inductor).
The four take turns; figures are medians of process CPU time. Memory is what the backward pass keeps of the forward one.

Served: a bundle carries the kernel of onnxruntime, signed; its graph is computed by what an engine process of `deepseek
serve` opens (GraphEngines), beside the C++ operator in torch, bare onnxruntime with the same library, and onnxruntime
by the definition in the graph. Forward passes of the same rows, in turns.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from result import ROOT, claim, finish, options
from torch import Tensor

sys.path.insert(0, str(ROOT / "examples" / "custom_operator"))

import deepseek  # noqa: F401  isort: skip - before onnxruntime
import onnxruntime
from monotone_splines import native
from monotone_splines.operator import PYTHON, monotone_spline
from monotone_splines.part import OPERATOR, MonotoneSplines, _definition

from deepseek.bundle.sign import generate_keys
from deepseek.cli.support.opening_plain import open_plain
from deepseek.engines.convert.bundle import ConvertOptions, convert_model
from deepseek.engines.onnx_file import GraphEngines

NUM_ROWS, NUM_FEATURES, NUM_KNOTS = 20_000, 30, 9
FIRST, STEP = -2.0, 0.5
#: Claim -> (whose step is measured, against whom, bar).
STEPS = {
    "cpp_step_against_torch": ("cpp", "torch", 10.0),
    "cpp_step_against_compiled": ("cpp", "compiled", 1.5),
    "python_step_against_torch": ("python", "torch", None),
}
MEMORY = "kept_for_backward"
#: Claim -> (against whom, bar).
SERVED = {
    "served_forward_against_cpp": ("the C++ operator in torch", 0.9),
    "served_forward_against_onnxruntime": ("onnxruntime with the library", 0.9),
    "served_forward_against_definition": ("onnxruntime by the definition", None),
}
SERVED_GROUP = "served"  # of --only: all of them, of one measurement
CLAIMS = (*STEPS, MEMORY, *SERVED)
RIVALS = {"torch": "the formula in torch", "compiled": "the formula under torch.compile"}
Curves = Callable[[Tensor, Tensor], Tensor]
Array = NDArray[np.float32]


def formula(x: Tensor, slopes: Tensor) -> Tensor:
    """The mathematics of the guide, line by line."""
    knots = FIRST + STEP * torch.arange(slopes.shape[1], dtype=x.dtype)
    position = ((x[:, :, None] - knots) / STEP).clamp(-1, 1)
    return STEP * (slopes * (position - position * position.abs() / 2)).sum(dim=2)


def operator(namespace: str) -> Curves:
    return lambda x, slopes: monotone_spline(x, slopes, first=FIRST, step=STEP, namespace=namespace)


def draw() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(NUM_ROWS, NUM_FEATURES, generator=random).requires_grad_()
    return x, torch.rand(NUM_FEATURES, NUM_KNOTS, generator=random).requires_grad_()


def step_s(curves: Curves, x: Tensor, slopes: Tensor) -> tuple[float, list[Tensor]]:
    """CPU seconds of one forward and backward pass, and the gradients."""
    x.grad = slopes.grad = None
    start_s = time.process_time()
    curves(x, slopes).sum().backward()
    took_s = time.process_time() - start_s
    assert x.grad is not None
    assert slopes.grad is not None
    return took_s, [x.grad, slopes.grad]


def measure(num_rounds: int) -> dict[str, list[float]]:
    """Milliseconds of CPU by who computes, in turns; the gradients of all must agree."""
    who = {
        "cpp": operator(native.load()),
        "python": operator(PYTHON),
        "torch": formula,
        "compiled": torch.compile(formula, fullgraph=True),
    }
    x, slopes = draw()
    expected = step_s(formula, x, slopes)[1]
    for curves in who.values():  # the first call of each warms up
        torch.testing.assert_close(step_s(curves, x, slopes)[1], expected, rtol=1e-3, atol=1e-3)
    rates: dict[str, list[float]] = {name: [] for name in who}
    for _ in range(num_rounds):
        for name, curves in who.items():
            rates[name].append(1e3 * step_s(curves, x, slopes)[0])
    return rates


def kept_bytes(curves: Curves) -> int:
    """Bytes that the backward pass keeps, each storage once."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = curves(*draw())  # alive, so that no storage is used twice
    assert output.requires_grad
    return sum(kept.values())


def graph_bytes(slopes: Tensor) -> bytes:
    """The curves as a graph of one node, with its definition by standard operators."""
    make, to_tensor = onnx.helper, onnx.numpy_helper.from_array
    names = ["z", "slopes", "knots", "step"]
    arrays = [slopes.numpy(), (FIRST + STEP * np.arange(NUM_KNOTS)).astype(np.float32), np.array(STEP, np.float32)]
    ends = [make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", NUM_FEATURES]) for name in ("z", "curves")]
    graph = make.make_graph(
        [make.make_node(OPERATOR, names, ["curves"], domain=MonotoneSplines.kind)], "splines", ends[:1], ends[1:],
        [to_tensor(array, name) for array, name in zip(arrays, names[1:], strict=True)],
    )  # fmt: skip
    opsets = [make.make_opsetid("", 17), make.make_opsetid(MonotoneSplines.kind, 1)]
    function = make.make_function(MonotoneSplines.kind, OPERATOR, names, ["curves"], _definition(), opsets[:1])
    model = make.make_model(graph, functions=[function], opset_imports=opsets, ir_version=10)
    return bytes(model.SerializeToString())


def bundle_engines(folder: Path, graph: bytes, x: Array) -> GraphEngines:
    """What an engine process opens of a bundle that carries the kernel."""
    private, public, _ = generate_keys(folder / "key")
    (folder / "splines.onnx").write_bytes(graph)
    np.savez(folder / "rows.npz", z=x[:256])
    options = ConvertOptions(key=private, operators=native.build_onnx())
    convert_model(folder / "splines.onnx", folder / "rows.npz", folder / "bundle", options)
    return GraphEngines.open(open_plain(folder / "bundle", None, public).file.spec())


def session(graph: bytes, library: Path | None) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if library is not None:
        options.register_custom_ops_library(str(library))
    return onnxruntime.InferenceSession(graph, options)


def measure_served(num_rounds: int) -> dict[str, list[float]]:
    """Milliseconds of CPU of a forward pass by who computes, in turns; the curves of all must agree."""
    rows, slopes = (tensor.detach() for tensor in draw())
    x, graph, curves = rows.numpy(), graph_bytes(slopes), operator(native.load())
    with tempfile.TemporaryDirectory(prefix="deepseek-operator-") as folder, torch.inference_mode():
        engines = bundle_engines(Path(folder), graph, x)
        with_library, by_definition = session(graph, native.build_onnx()), session(graph, None)
        who: dict[str, Callable[[], Array]] = {
            "served": lambda: engines.run({"z": x})["curves"],
            "the C++ operator in torch": lambda: curves(rows, slopes).numpy(),
            "onnxruntime with the library": lambda: with_library.run(None, {"z": x})[0],
            "onnxruntime by the definition": lambda: by_definition.run(None, {"z": x})[0],
        }
        for run in who.values():  # the first call of each warms up
            np.testing.assert_allclose(run(), who["served"](), rtol=1e-4, atol=1e-4)
        rates: dict[str, list[float]] = {name: [] for name in who}
        for _ in range(num_rounds):
            for name, run in who.items():
                start_s = time.process_time()
                run()
                rates[name].append(1e3 * (time.process_time() - start_s))
        engines.close()
    return rates


def served_claims(names: Iterable[str], num_rounds: int) -> list[dict[str, Any]]:
    chosen = [name for name in names if name in SERVED]
    runs = measure_served(num_rounds) if chosen else {}
    claims = []
    for name in chosen:
        rival_name, bar = SERVED[name]
        ours, rival = median(runs["served"]), median(runs[rival_name])
        claims.append(
            claim(
                name, ours=ours, rival=rival, rival_name=rival_name, ratio=rival / ours, unit="ms of CPU a call",
                op=bar and ">=", bar=bar, num_seeds=num_rounds,
                note=f"ours {min(runs['served']):.2f} to {max(runs['served']):.2f} ms, "
                f"rival {min(runs[rival_name]):.2f} to {max(runs[rival_name]):.2f} ms",
            )
        )  # fmt: skip
    return claims


def compare(names: tuple[str, ...], num_rounds: int) -> list[dict[str, Any]]:
    claims = []
    runs = measure(num_rounds) if set(names) & set(STEPS) else {}
    for name in names:
        if name in SERVED:
            continue
        if name == MEMORY:
            ours, rival = (kept_bytes(curves) / 1e6 for curves in (operator(native.load()), formula))
            claims.append(
                claim(
                    name,
                    ours=ours,
                    rival=rival,
                    rival_name=RIVALS["torch"],
                    ratio=rival / ours,
                    unit="MB",
                    op=">=",
                    bar=10.0,
                )
            )
            continue
        who, against, bar = STEPS[name]
        ours, rival = median(runs[who]), median(runs[against])
        claims.append(
            claim(
                name, ours=ours, rival=rival, rival_name=RIVALS[against], ratio=rival / ours, unit="ms of CPU a step",
                op=bar and ">=", bar=bar, num_seeds=num_rounds,
                note=f"ours {min(runs[who]):.1f} to {max(runs[who]):.1f} ms, "
                f"rival {min(runs[against]):.1f} to {max(runs[against]):.1f} ms",
            )
        )  # fmt: skip
    return claims + served_claims(names, num_rounds)


def main() -> int:
    args = options(__doc__, (*CLAIMS, SERVED_GROUP), quick="Fewer rounds, the same bars.").parse_args()
    torch.set_num_threads(1)
    names = tuple(SERVED) if args.only == SERVED_GROUP else (args.only,) if args.only else CLAIMS
    claims = compare(names, 7 if args.quick else 30)
    left_out = [name for name in CLAIMS if name not in names]
    return finish("custom_operator", claims, not_run=left_out)


if __name__ == "__main__":
    sys.exit(main())
