"""What an operator of one's own is worth: the spline of examples/custom_operator against the same formula in torch.

    python benchmarks/custom_operator.py [--quick] [--only CLAIM]

One step is forward and backward for 20,000 rows, 30 features and 9 knots in float32, on one thread. The rivals are the
formula in torch's own operators, as a person would write it first, and the same compiled (torch.compile, inductor).
The four take turns; figures are medians of process CPU time. Memory is what the backward pass keeps of the forward one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from result import ROOT, claim, finish, options
from torch import Tensor

sys.path.insert(0, str(ROOT / "examples" / "custom_operator"))

from monotone_splines import native
from monotone_splines.operator import PYTHON, monotone_spline

NUM_ROWS, NUM_FEATURES, NUM_KNOTS = 20_000, 30, 9
FIRST, STEP = -2.0, 0.5
#: Claim -> (whose step is measured, against whom, bar).
STEPS = {
    "cpp_step_against_torch": ("cpp", "torch", 10.0),
    "cpp_step_against_compiled": ("cpp", "compiled", 1.5),
    "python_step_against_torch": ("python", "torch", None),
}
MEMORY = "kept_for_backward"
CLAIMS = (*STEPS, MEMORY)
RIVALS = {"torch": "the formula in torch", "compiled": "the formula under torch.compile"}
Curves = Callable[[Tensor, Tensor], Tensor]


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


def compare(names: tuple[str, ...], num_rounds: int) -> list[dict[str, Any]]:
    claims = []
    runs = measure(num_rounds) if set(names) & set(STEPS) else {}
    for name in names:
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
    return claims


def main() -> int:
    args = options(__doc__, CLAIMS, quick="Fewer rounds, the same bars.").parse_args()
    torch.set_num_threads(1)
    names = (args.only,) if args.only else CLAIMS
    claims = compare(names, 7 if args.quick else 30)
    left_out = [name for name in CLAIMS if name not in names]
    return finish("custom_operator", claims, not_run=left_out)


if __name__ == "__main__":
    sys.exit(main())
