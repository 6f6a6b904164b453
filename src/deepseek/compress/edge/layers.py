"""C code of a Network: constant weights, one arena of a size known at compile time, one call for each step.

code = network_c(network, int8=True)         # run_network(input, output)
plan_arena(network)                          # offset of each tensor, and the size of the arena, in floats
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from deepseek.compress.edge import ctext
from deepseek.compress.edge.network import Network
from deepseek.compress.edge.nodes import Step
from deepseek.contracts import Float32


def network_c(network: Network, *, int8: bool) -> str:
    """C code with the kernels in use, the weights and run_network(). With `int8` the weights of conv and dense steps
    are int8 with a scale per output channel; sums stay float32."""
    offsets, size = plan_arena(network)
    kinds = {step.kind for step in network.steps}
    chunks = [f"typedef {'int8_t' if int8 else 'float'} weight_t;\n", f"static float arena[{max(size, 1)}];\n\n"]
    chunks += [text for kind, text in kernel_sources().items() if kind in kinds]
    calls = []
    for number, step in enumerate(network.steps):
        chunks.append(_step_data(step, number, int8=int8))
        names = {name: _address(name, network, offsets) for name in (*step.inputs, step.output)}
        calls.append("    " + _step_call(step, number, names, int8=int8))
    num_out, last = network.size(network.output), _address(network.output, network, offsets)
    body = "\n".join(calls)
    chunks.append(
        f"static void run_network(const float *input, float *output)\n{{\n    int i;\n{body}\n"
        f"    for (i = 0; i < {num_out}; i++)\n        output[i] = ({last})[i];\n}}\n\n"
    )
    return "".join(chunks)


def kernel_sources() -> dict[str, str]:
    """C functions of network.c by the kind of step that they compute."""
    _, *parts = re.split(r"^/\*\*\* (\w+) \*\*\*/\n", ctext.read_source("network.c"), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def plan_arena(network: Network) -> tuple[dict[str, int], int]:
    """Offset in floats of each tensor except the input, and the size of the arena. A tensor takes the lowest gap
    between tensors that later steps still read."""
    last = {name: number for number, step in enumerate(network.steps) for name in step.inputs}
    last[network.output] = len(network.steps)
    offsets: dict[str, int] = {}
    total = 0
    for number, step in enumerate(network.steps):
        occupied = sorted(
            (offsets[name], offsets[name] + network.size(name)) for name in offsets if last[name] >= number
        )
        offset, size = 0, network.size(step.output)
        for start, end in occupied:
            if offset + size <= start:
                break
            offset = max(offset, end)
        offsets[step.output] = offset
        last.setdefault(step.output, number)
        total = max(total, offset + size)
    return offsets, total


def quantize_channels(weight: Float32) -> tuple[NDArray[np.int8], Float32]:
    """Symmetric int8 weights (out, in) and the scale of each output channel (out,), the first axis."""
    flat = weight.reshape(len(weight), -1)
    scale = np.abs(flat).max(axis=1, initial=0) / np.float32(127)
    scale = np.where(scale > 0, scale, np.float32(1)).astype(np.float32)
    return np.clip(np.rint(flat / scale[:, None]), -127, 127).astype(np.int8), scale


def _step_data(step: Step, number: int, *, int8: bool) -> str:
    text = ""
    if step.kind in ("conv", "pool"):
        limits = [ctext.float_literal(step.low), ctext.float_literal(step.high)] if step.kind == "conv" else []
        text += ctext.struct_definition(step.kind, f"step{number}", [*step.numbers, *limits])
    if step.weight is not None and int8:
        weight, scale = quantize_channels(step.weight)
        text += ctext.array_definition(f"weight{number}", weight) + ctext.array_definition(f"scale{number}", scale)
    elif step.weight is not None:
        text += ctext.array_definition(f"weight{number}", step.weight.astype(np.float32))
    for name, values in (("factor", step.factor), ("bias", step.bias)):
        if values is not None:
            text += ctext.array_definition(f"{name}{number}", values.astype(np.float32))
    return text + "\n" if text else ""


def _address(name: str, network: Network, offsets: Mapping[str, int]) -> str:
    return "input" if name == network.input else f"arena + {offsets[name]}"


def _step_call(step: Step, number: int, names: Mapping[str, str], *, int8: bool) -> str:
    inputs, out = [names[name] for name in step.inputs], names[step.output]
    numbers = [ctext.float_literal(x) if isinstance(x, float) else str(x) for x in step.numbers]
    limits = [ctext.float_literal(step.low), ctext.float_literal(step.high)]
    stored = [f"weight{number}", f"scale{number}" if int8 else "0", f"bias{number}"]
    words = {
        "conv": [f"&step{number}", *inputs, *stored, out],
        "pool": [f"&step{number}", *inputs, out],
        "dense": [*numbers, *inputs, *stored, *limits, out],
        "add": [*numbers, *inputs, *limits, out],
        "multiply": [*numbers[:2], *inputs, *numbers[2:], out],
        "affine": [*numbers, *inputs, f"factor{number}", f"bias{number}", *limits, out],
        "clamp": [*numbers, *inputs, *limits, out],
        "hard_sigmoid": [numbers[0], *inputs, *numbers[1:], out],
        "sigmoid": [*numbers, *inputs, out],
        "softmax": [*numbers, *inputs, out],
    }[step.kind]
    return f"{step.kind}({', '.join(words)});"
