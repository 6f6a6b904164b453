"""What a step of AdaptiveOptimizer costs beside one of AdamW(foreach=True), and its state beside the parameters.
optimizers.py has the command line.

    claim = cost_claim("step_cost", "24 layers 1024 x 1024", large_net(), 1.3, num_rounds=15)
    claim = copies_claim("24 layers 1024 x 1024, state_dtype=bfloat16")
"""

from __future__ import annotations

import copy
import sys
import time
from statistics import median
from typing import Any

import torch
from result import claim
from torch import Tensor, nn

from deepseek.optimizers import AdaptiveOptimizer
from deepseek.optimizers.config import SLOW_FROM_STEP
from deepseek.optimizers.directions import make_slow_directions


def large_net() -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(1024, 1024) for _ in range(24)))


def cost_claim(
    name: str,
    what: str,
    model: nn.Module,
    bar: float | None,
    num_rounds: int,
    total_steps: int | None = None,
    state_dtype: torch.dtype | None = None,
    *,
    is_compiled: bool = False,
) -> dict[str, Any]:
    """Both optimizers are past their dear first steps, and each tensor has all the state that a long training gives it.
    Gradients are noise, of four steps in turn: at one gradient for ever the rate would rise until all bounds cut it."""
    num_steps, warmup = 5, SLOW_FROM_STEP + 10
    generator = torch.Generator().manual_seed(0)
    contenders = []
    for make in (
        lambda params: AdaptiveOptimizer(params, total_steps=total_steps, state_dtype=state_dtype),
        lambda params: torch.optim.AdamW(params, lr=1e-3, foreach=True),
    ):
        params = list(copy.deepcopy(model).parameters())
        contenders.append((params, make(params)))
    steps = [optimizer.step for _, optimizer in contenders]
    if is_compiled:
        steps[0] = torch.compile(steps[0])
    num_params = sum(param.numel() for param in model.parameters())
    drawn = [[0.01 * torch.randn(p.shape, generator=generator) for p in model.parameters()] for _ in range(2)]
    grads = drawn + [[-grad for grad in each] for each in drawn]

    def take_steps(place: int, count: int) -> float:
        """Milliseconds of CPU time of a step."""
        params, _ = contenders[place]
        took = 0.0
        for number in range(count):
            for param, grad in zip(params, grads[number % len(grads)], strict=True):
                param.grad = grad
            start = time.process_time()
            steps[place]()
            took += time.process_time() - start
        return 1e3 * took / count

    for place in (0, 1):
        take_steps(place, warmup if place == 0 else 10)
    rounds: list[tuple[float, float]] = []
    for index in range(num_rounds):
        cost = {place: take_steps(place, num_steps) for place in ((0, 1) if index % 2 else (1, 0))}
        rounds.append((cost[0], cost[1]))
    print(f"{name}: {num_rounds} rounds", file=sys.stderr, flush=True)
    ratios = sorted(ours / rival for ours, rival in rounds)
    num_slow = sum("slow_direction" in state for state in contenders[0][1].state.values())
    return claim(
        name, ours=median(ours for ours, _ in rounds), rival=median(rival for _, rival in rounds),
        rival_name="AdamW(foreach=True)", ratio=median(ratios), unit="ms of CPU time a step", op="<=" if bar else None,
        bar=bar, num_seeds=num_rounds,
        note=f"{what}, {num_params / 1e6:.2f} M parameters in {len(drawn[0])} tensors, {num_slow} of them with a slow "
        f"mean of directions; one thread; {num_rounds} rounds of {num_steps} steps in turn, medians; quartiles of the "
        f"ratio {ratios[len(ratios) // 4]:.2f} and {ratios[3 * len(ratios) // 4]:.2f}",
    )  # fmt: skip


def copies_claim(what: str) -> dict[str, Any]:
    """Bytes of a state that has slow means, by those of the parameters."""
    model = large_net()
    optimizer = AdaptiveOptimizer(model.parameters(), state_dtype=torch.bfloat16)
    for param in model.parameters():
        param.grad = torch.ones_like(param)
    optimizer.step()
    make_slow_directions(optimizer.state.values())
    num_bytes = sum(
        value.nbytes for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)
    )
    copies = num_bytes / sum(param.nbytes for param in model.parameters())
    return claim(
        "state_copies", ours=copies, unit="times the parameters", op="<=", bar=2.5,
        note=f"{what}, slow means included; biases keep full precision",
    )  # fmt: skip
