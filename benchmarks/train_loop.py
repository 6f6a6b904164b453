"""What train.fit costs over a loop written by hand, and what a lower precision brings.

    python benchmarks/train_loop.py [--quick] [--only CLAIM]

The hand-written loop has what anybody would write: zero_grad, forward, backward, clip_grad_norm_, a cosine rate, the
step of AdamW, the running loss. fit() does that and more (finite checks that name the batch, sinks, signals). Both
train the same model on the same batches in one process in turn (A, B, B, A, ...), end with weights equal to the bit,
and use one thread. Bar: 2.5 % more CPU time, at a small step and a larger one; with checkpoints it is shown. Mixed
precision: fp32 against bf16 on this CPU, shown; on a GPU, where there is one, the bar is 2.8 times.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from result import claim, finish, options
from torch import nn

from deepseek.train import TrainConfig, fit

BAR, GPU_BAR = 1.025, 2.8
#: Claim -> width of the three layers; a batch has 64 rows.
WIDTHS = {"overhead_small_step": 256, "overhead_larger_step": 768, "overhead_with_checkpoints": 768}
CLAIMS = (*WIDTHS, "bf16_on_this_cpu", "mixed_precision_on_a_gpu")
NUM_BATCHES = 50


def problem(width: int, device: str = "cpu") -> tuple[nn.Module, list[tuple[torch.Tensor, torch.Tensor]]]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, 10),
    ).to(device)  # fmt: skip
    inputs = torch.randn(NUM_BATCHES, 64, 64, device=device)
    return model, [(x, x[:, :10].argmax(1)) for x in inputs]


def by_hand(model: nn.Module, batches: list[Any], config: TrainConfig) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)
    loss_of, parameters = nn.CrossEntropyLoss(), list(model.parameters())
    num_steps, step = config.epochs * len(batches), 0
    rising = max(1, round(config.warmup * num_steps))
    torch.manual_seed(config.seed)
    model.train()
    for _ in range(config.epochs):
        total = 0.0
        for inputs, target in batches:
            share = (step + 1) / rising
            if step >= rising:
                share = 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, num_steps - rising)))
            for group in optimizer.param_groups:
                group["lr"] = config.lr * share
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(model(inputs), target)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, config.clip_norm)
            optimizer.step()
            total += loss.item()
            step += 1


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds."""
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - cpu_s, time.perf_counter() - wall_s


def overhead(name: str, *, epochs: int, num_rounds: int) -> dict[str, Any]:
    """Milliseconds of CPU a step, ours and by hand: the first quartile of many short rounds, for what else runs on the
    machine only adds to a round."""
    config, width, loss = TrainConfig(epochs=epochs), WIDTHS[name], nn.CrossEntropyLoss()
    ours, hand = [], []
    for index in range(num_rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            place = folder if name == "overhead_with_checkpoints" else None
            model, batches = problem(width)
            other, _ = problem(width)
            runs = {
                "ours": partial(fit, model, batches, config, loss=loss, checkpoints=place, progress=False),
                "hand": partial(by_hand, other, batches, config),
            }
            times = {who: timed(runs[who]) for who in (("ours", "hand") if index % 2 else ("hand", "ours"))}
        for one, two in zip(model.parameters(), other.parameters(), strict=True):
            assert torch.equal(one, two), "the two loops differ"
        if index:  # the first round warms up
            ours.append(times["ours"])
            hand.append(times["hand"])
    per_step = 1e3 / (epochs * NUM_BATCHES)
    judged = name != "overhead_with_checkpoints"
    cpu, wall = ([sorted(each[kind] for each in who)[num_rounds // 4] for who in (ours, hand)] for kind in (0, 1))
    middle = median(a[0] / b[0] for a, b in zip(ours, hand, strict=True))
    note = f"wall ratio {wall[0] / wall[1]:.4f}; median of the CPU ratios of the rounds {middle:.4f}"
    if not judged:
        note += f"; one checkpoint a {NUM_BATCHES} steps, written in a thread whose CPU time counts"
    return claim(
        name, ours=per_step * cpu[0], rival=per_step * cpu[1],
        rival_name="hand-written loop", ratio=cpu[0] / cpu[1], unit="ms of CPU per step", op="<=" if judged else None,
        bar=BAR if judged else None, num_seeds=num_rounds, note=note,
    )  # fmt: skip


def precision(name: str, *, epochs: int, num_rounds: int) -> dict[str, Any]:
    """Milliseconds of a step in the lower precision and in fp32."""
    on_gpu = name == "mixed_precision_on_a_gpu"
    device, width = ("cuda", 4096) if on_gpu else ("cpu", 1024)
    figures: dict[str, list[tuple[float, float]]] = {"fp32": [], "bf16": []}
    losses: dict[str, float] = {}
    for index in range(num_rounds + 1):
        for kind, times in figures.items():
            model, batches = problem(width, device)
            config = TrainConfig(epochs=epochs, precision=kind)  # type: ignore[arg-type]
            took = timed(partial(fit, model, batches, config, loss=nn.CrossEntropyLoss(), progress=False))
            with torch.no_grad():
                losses[kind] = float(torch.stack([nn.functional.cross_entropy(model(x), y) for x, y in batches]).mean())
            if index:
                times.append(took)
    per_step = 1e3 / (epochs * NUM_BATCHES)
    ms = {kind: per_step * median(wall for _, wall in times) for kind, times in figures.items()}
    return claim(
        name, ours=ms["bf16"], rival=ms["fp32"], rival_name="fp32", ratio=ms["fp32"] / ms["bf16"],
        unit="ms of wall time per step", op=">=" if on_gpu else None, bar=GPU_BAR if on_gpu else None,
        num_seeds=num_rounds,
        note=f"three layers of {width}, 64 rows; last loss {losses['bf16']:.4g} against {losses['fp32']:.4g}",
    )  # fmt: skip


def main() -> int:
    args = options(__doc__, CLAIMS, quick="Fewer rounds, the same bars.").parse_args()
    torch.set_num_threads(1)
    num_rounds = 15 if args.quick else 60
    chosen = [args.only] if args.only else list(CLAIMS)
    if not torch.cuda.is_available():
        chosen = [name for name in chosen if name != "mixed_precision_on_a_gpu"]
    claims = []
    for name in chosen:
        if name in WIDTHS:
            share = {256: 1, 768: 2}[WIDTHS[name]]  # runs of about a second
            claims.append(overhead(name, epochs=8 // share**2, num_rounds=num_rounds))
        else:
            claims.append(precision(name, epochs=1, num_rounds=num_rounds // 5))
    left_out = [name for name in CLAIMS if name not in chosen]
    return finish("train_loop", claims, not_run=left_out)


if __name__ == "__main__":
    sys.exit(main())
