"""Data parallel training between ranks: step rate on slow links, quality kept, scaling.

    python benchmarks/distributed.py [--quick] [--only CLAIM]      (as root: it makes network namespaces)

Two ranks train a character model on tinyshakespeare (24.9 MB of gradients) in two network namespaces whose link is
capped by `tc tbf`; plain DDP and ours take steps in turn in the same processes. `loss`: both trained to the same number
of steps with the same rows (on the loopback: the link does not change the numbers). `scaling`: 2 to 16 ranks on this
machine's loopback whose compute is a sleep of a smaller model's measured step (20.0 MB of gradients), with real
gradients, compression and messages.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from statistics import median, quantiles
from typing import Any

from distributed_link import LOOPBACK, capped
from distributed_task import SMALLER
from result import claim, finish, options

RATE_BAR, LOSS_BAR, SLOWER_BAR, SCALING_BAR = 2.3, 1.01, 1.025, 0.95
RANK = 32  # of PowerSGD, for the language model: at 16 the loss was 1.3 % higher than without
LONGEST_SLEEP_S = 0.2
BUCKET_MB = 5
RIVAL = "DistributedDataParallel, fp32"


def rates(mbit: int | None, contenders: list[str], *, steps: int) -> dict[str, Any]:
    with capped(mbit) as link:
        figures = link.run(2, "distributed_rank.py", do="rates", contenders=contenders, rank=RANK, steps=steps)
    return figures | {"link": link.name}


def note(figures: dict[str, Any]) -> str:
    """What a reader needs to judge a rate: link, bytes, the step without a group, the spread, CPU, what auto chose."""
    parts = [figures["link"], f"{figures['bytes'] / 1e6:.1f} MB of gradients"]
    parts += [f"one process alone {figures['alone_s']:.3f} s a step"]
    for name, many in figures["step_s"].items():
        low, _, high = quantiles(many, n=4)
        cpu_s = median(figures["cpu_s"][name])
        parts += [f"{name} quartiles {low:.3f} to {high:.3f} s, {cpu_s:.3f} s of CPU, {len(many)} steps"]
    if figures["choices"] and figures["choices"][-1]:
        parts += [f"auto chose {', '.join(figures['choices'][-1])}"]
    return "; ".join([*parts, f"load of the machine at the start {LOAD:.1f}"])


def interval(values: list[float]) -> tuple[float, float]:
    """The 95 % interval of the median of independent values, by their order.

    >>> interval([float(each) for each in range(100)])
    (40.0, 59.0)
    """
    skipped = max(0, int((len(values) - 1.96 * len(values) ** 0.5) / 2))
    return sorted(values)[skipped], sorted(values)[-1 - skipped]


def slow_link(quick: bool) -> list[dict[str, Any]]:
    """100 Mbit: PowerSGD against fp32."""
    figures = rates(100, ["ddp", "powersgd"], steps=8 if quick else 20)
    ddp, ours = (median(figures["step_s"][name]) for name in ("ddp", "powersgd"))
    return [
        claim(
            "step_rate_100_mbit", ours=1 / ours, rival=1 / ddp, rival_name=RIVAL, ratio=ddp / ours,
            unit="steps a second", op=">=", bar=RATE_BAR, num_seeds=1, note=f"PowerSGD rank {RANK}; {note(figures)}",
        )
    ]  # fmt: skip


def fast_link(mbit: int | None) -> Callable[[bool], list[dict[str, Any]]]:
    """1 Gbit and no cap: what auto does, against plain DDP."""
    name = f"auto_{mbit}_mbit" if mbit else "auto_no_cap"

    def measure(quick: bool) -> list[dict[str, Any]]:
        figures = rates(mbit, ["ddp", "auto"], steps=40 if quick else 300)
        ddp, ours = (median(figures["step_s"][each]) for each in ("ddp", "auto"))
        ratios = [a / b for a, b in zip(figures["step_s"]["auto"], figures["step_s"]["ddp"], strict=True)]
        low, high = interval(ratios)
        return [
            claim(
                name, ours=ours, rival=ddp, rival_name=RIVAL, ratio=median(ratios), unit="s a step", op="<=",
                bar=SLOWER_BAR,
                note=f"ratio is the median over pairs of steps, 95 % interval {low:.3f} to {high:.3f}; {note(figures)}",
            )
        ]  # fmt: skip

    return measure


def final_loss(quick: bool) -> list[dict[str, Any]]:
    """The same training with and without compression."""
    steps = 200 if quick else 500
    losses = {
        name: LOOPBACK.run(2, "distributed_rank.py", do="loss", name=name, rank=RANK, steps=steps)
        for name in ("ddp", "powersgd")
    }
    traces = "; ".join(f"{name} {', '.join(f'{x:.3f}' for x in each['trace'])}" for name, each in losses.items())
    ddp, ours = losses["ddp"]["loss"], losses["powersgd"]["loss"]
    return [
        claim(
            "final_loss", ours=ours, rival=ddp, rival_name=RIVAL, ratio=ours / ddp, unit="nats a character, validation",
            op="<=", bar=LOSS_BAR,
            note=f"{steps} steps of 2 x 512 characters, PowerSGD rank {RANK} after 50 steps; {traces}",
        )
    ]  # fmt: skip


def scaling(quick: bool) -> list[dict[str, Any]]:
    """Throughput of n ranks over n times that of one, compute emulated; plain fp32 beside it, not judged."""
    measured = LOOPBACK.run(1, "distributed_rank.py", do="alone", **SMALLER)["alone_s"]
    sleep_s = min(measured, LONGEST_SLEEP_S)
    options = {"do": "scale", "sleep_s": sleep_s, "rank": 1, "steps": 20 if quick else 60, "bucket_mb": BUCKET_MB}
    one = LOOPBACK.run(1, "distributed_rank.py", kind="none", **options)
    claims = []
    for kind in ("acpsgd", "none"):
        for size in (2, 4, 8, 16):
            figures = LOOPBACK.run(size, "distributed_rank.py", kind=kind, **options)
            claims.append(scaling_claim(kind, size, figures, one, measured))
    return claims


def scaling_claim(
    kind: str, size: int, figures: dict[str, Any], one: dict[str, Any], measured_s: float
) -> dict[str, Any]:
    judged = kind != "none"
    step_ms, one_ms, cpu_ms, one_cpu_ms = (1e3 * each[key] for key in ("step_s", "cpu_s") for each in (figures, one))
    return claim(
        f"scaling_{size}_ranks{'' if judged else '_fp32'}", ours=one_ms / step_ms, unit="of linear",
        op=">=" if judged else None, bar=SCALING_BAR if judged else None,
        note=f"{'ACP-SGD rank 1' if judged else 'fp32 as plain DDP sends it'}; a step of {step_ms:.0f} ms, alone "
        f"{one_ms:.0f}, of which sleep {min(measured_s, LONGEST_SLEEP_S) * 1e3:.0f} (measured {measured_s * 1e3:.0f}); "
        f"{figures['bytes'] / 1e6:.2f} MB of gradients, {figures['sent'] / 1e6:.3f} MB sent a rank and step "
        f"(lo's count); CPU of one rank {cpu_ms:.0f} ms a step, alone {one_cpu_ms:.0f}, on {os.cpu_count()} cores; "
        f"load of the machine at the start {LOAD:.1f}",
    )  # fmt: skip


#: Claim -> what measures it. `scaling` gives one claim for each number of ranks.
CLAIMS: dict[str, Callable[[bool], list[dict[str, Any]]]] = {
    "step_rate_100_mbit": slow_link,
    "auto_1000_mbit": fast_link(1000),
    "auto_no_cap": fast_link(None),
    "scaling": scaling,
    "final_loss": final_loss,
}
LOAD = os.getloadavg()[0]


def main() -> int:
    args = options(__doc__, CLAIMS, quick="Fewer rounds and steps, the same bars.").parse_args()
    if os.geteuid():
        print("distributed.py makes network namespaces: run it as root", file=sys.stderr)
        return 2
    chosen = [args.only] if args.only else list(CLAIMS)
    claims, code = [], 0
    for name in chosen:
        claims += CLAIMS[name](args.quick)
        left_out = [each for each in CLAIMS if each not in chosen[: chosen.index(name) + 1]]
        code = finish("distributed", claims, not_run=left_out)
    return code


if __name__ == "__main__":
    sys.exit(main())
