"""Which schedule: torch's own seven, each forecast from measured costs, and the choice among them.

A forecast plays the schedule's order of operations through: an operation starts when its process is free and what it
needs has come over the link, and takes what was measured. Sources: GPipe arXiv 1811.06965; 1F1B and interleaving
2104.04473; breadth first 2211.05953; zero bubble and ZB-V 2401.10241; DualPipe 2412.19437, its V form
github.com/deepseek-ai/DualPipe.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from torch import nn
from torch.distributed.pipelining import (
    Schedule1F1B,
    ScheduleDualPipeV,
    ScheduleGPipe,
    ScheduleInterleaved1F1B,
    ScheduleInterleavedZeroBubble,
    ScheduleLoopedBFS,
    ScheduleZBVZeroBubble,
)
from torch.distributed.pipelining.schedules import PipelineScheduleSingle

from deepseek.errors import InputError

#: Our names of torch's schedules; of equals, the choice falls on the first.
SCHEDULES: dict[str, Any] = {
    "1f1b": Schedule1F1B,
    "gpipe": ScheduleGPipe,
    "interleaved": ScheduleInterleaved1F1B,
    "breadth_first": ScheduleLoopedBFS,
    "zero_bubble": ScheduleInterleavedZeroBubble,
    "zero_bubble_v": ScheduleZBVZeroBubble,
    "dualpipe_v": ScheduleDualPipeV,
}
#: Schedules that fold the row of stages: process r holds stages r and 2 * world - 1 - r.
V_SHAPED = ("zero_bubble_v", "dualpipe_v")
#: Forecasts closer than this share count as equal, and the smaller peak of activations decides.
TIE_SHARE = 0.03


@dataclass(frozen=True)
class StageCost:
    """One stage on one micro-batch; the sums of its blocks."""

    forward_s: float
    backward_s: float
    input_s: float  # the two parts of the backward pass, where a schedule parts it; infinite where it would lose some
    weight_s: float
    saved_bytes: int
    output_bytes: int  # sent forward; as many come back as gradients


@dataclass(frozen=True)
class Link:
    """The slowest link between neighbors."""

    latency_s: float = 0.0
    byte_s: float = 0.0  # seconds per byte

    def seconds(self, size_bytes: int) -> float:
        return self.latency_s + size_bytes * self.byte_s


@dataclass(frozen=True)
class Forecast:
    """What a schedule is expected to cost a step."""

    schedule: str
    step_s: float
    bubble: float  # share of the processes' time in which they wait
    peak_bytes: int  # activations kept, on the process that keeps most

    def __str__(self) -> str:
        return f"{self.schedule} {self.step_s:.4g} s a step, bubble {self.bubble:.1%}, {self.peak_bytes / 1e6:.4g} MB"


def schedule_problem(schedule: str, *, world: int, stages: int, micro_batches: int) -> tuple[str, str] | None:
    """Why a schedule cannot run so, as (expected, fix), or None when it can.

    >>> schedule_problem("dualpipe_v", world=4, stages=4, micro_batches=8)
    ('2 stages in each of 4 processes', 'give stages=8')
    """
    rounds = max(1, micro_batches // world)
    if issubclass(SCHEDULES[schedule], PipelineScheduleSingle) and stages != world:
        return f"one stage in each of {world} processes", f"give stages={world}"
    if schedule in V_SHAPED and stages != 2 * world:
        return f"2 stages in each of {world} processes", f"give stages={2 * world}"
    if schedule == "1f1b" and micro_batches < stages:
        return f"at least {stages} micro-batches", f"give micro_batches={stages}"
    if schedule == "dualpipe_v" and micro_batches < stages:
        return f"at least {stages} micro-batches", f"give micro_batches={stages}"
    if schedule in ("interleaved", "zero_bubble") and micro_batches % rounds:
        return f"a multiple of {rounds} micro-batches", f"give micro_batches={micro_batches - micro_batches % rounds}"
    return None


def check_schedule(schedule: str, *, world: int, stages: int, micro_batches: int) -> None:
    """Raise InputError for a schedule that is not there or cannot run so."""
    if schedule != "auto" and schedule not in SCHEDULES:
        near = difflib.get_close_matches(schedule.lower(), SCHEDULES, n=1, cutoff=0.4)
        raise InputError(
            f"there is no schedule {schedule!r}",
            expected=f"auto, {', '.join(SCHEDULES)}",
            fix=f"did you mean {near[0]!r}?" if near else "take one of these",
        )
    if stages < 1 or stages % world:
        lower = max(world, stages - stages % world)
        raise InputError(
            f"{stages} stages cannot be shared out evenly among {world} processes",
            expected=f"a multiple of {world} stages",
            fix=f"give stages={lower}, or start a number of processes that divides {stages}",
        )
    if schedule != "auto":
        problem = schedule_problem(schedule, world=world, stages=stages, micro_batches=micro_batches)
        if problem:
            raise InputError(
                f"{schedule} cannot run {stages} stages and {micro_batches} micro-batches on {world} processes",
                expected=problem[0],
                fix=problem[1],
            )


def rank_stages(rank: int, *, world: int, stages: int, schedule: str) -> list[int]:
    """The stages that a process holds, in the order of their indices.

    >>> rank_stages(1, world=4, stages=8, schedule="interleaved")
    [1, 5]
    >>> rank_stages(1, world=4, stages=8, schedule="dualpipe_v")
    [1, 6]
    """
    if schedule in V_SHAPED:
        return [rank, stages - 1 - rank]
    return list(range(rank, stages, world))


def operation_order(
    schedule: str, *, world: int, stages: int, micro_batches: int
) -> dict[int, list[tuple[int, str, int]]]:
    """What each process does: (stage, kind, micro-batch). Kinds: F forward, B backward, and B in its two parts, I
    backward to the input and W to the weights.

    >>> operation_order("gpipe", world=2, stages=2, micro_batches=2)[1]
    [(1, 'F', 0), (1, 'F', 1), (1, 'B', 0), (1, 'B', 1)]
    """
    if (
        schedule == "1f1b"
    ):  # torch's own table of it leaves out micro-batch 0 on the last rank (2.13); this is what it runs
        return {rank: _one_forward_one_backward(rank, stages, micro_batches) for rank in range(world)}
    # Torch works the order out from these few attributes alone; real stages would need a process group.
    stages_of_rank_0 = [
        SimpleNamespace(stage_index=index, num_stages=stages, group_size=world, group_rank=0, submod=nn.Identity())
        for index in rank_stages(0, world=world, stages=stages, schedule=schedule)
    ]
    torch_schedule = build_schedule(schedule, stages_of_rank_0, micro_batches, loss=None)
    operations: dict[int, list[tuple[int, str, int]]] = {}
    for rank, actions in torch_schedule.pipeline_order.items():
        performed = [action for action in actions if action is not None]
        computations = [part for action in performed for part in (action.sub_actions or (action,))]
        operations[rank] = [
            (part.stage_index, part.computation_type.value, part.microbatch_index)
            for part in computations
            if part.computation_type.value in "FBIW"
        ]
    return operations


def _one_forward_one_backward(stage: int, stages: int, micro_batches: int) -> list[tuple[int, str, int]]:
    ahead = min(micro_batches, stages - stage)
    order = [(stage, "F", micro) for micro in range(ahead)]
    for micro in range(micro_batches):
        order.append((stage, "B", micro))
        if micro + ahead < micro_batches:
            order.append((stage, "F", micro + ahead))
    return order


def build_schedule(schedule: str, local_stages: Sequence[Any], micro_batches: int, loss: Any) -> Any:
    """Torch's schedule over the stages of this process. The loss is divided beforehand, see Pipe: gradients that are
    already there from a step before must not be divided again."""
    kind = SCHEDULES[schedule]
    first = local_stages[0] if issubclass(kind, PipelineScheduleSingle) else list(local_stages)
    return kind(first, micro_batches, loss_fn=loss, scale_grads=False)


def forecast_step(schedule: str, costs: Sequence[StageCost], *, world: int, micro_batches: int, link: Link) -> Forecast:
    """Play one step through.

    >>> equal = [StageCost(1.0, 2.0, 1.0, 1.0, saved_bytes=10, output_bytes=0)] * 4
    >>> print(forecast_step("1f1b", equal, world=4, micro_batches=12, link=Link()))
    1f1b 45 s a step, bubble 20.0%, 4e-05 MB
    """
    stages = len(costs)
    order = operation_order(schedule, world=world, stages=stages, micro_batches=micro_batches)
    rank_of_stage = {stage: rank for rank, actions in order.items() for stage, _, _ in actions}
    ended: dict[tuple[int, str, int], float] = {}
    free_s, next_up = dict.fromkeys(order, 0.0), dict.fromkeys(order, 0)
    kept_bytes, peak_bytes = dict.fromkeys(order, 0), dict.fromkeys(order, 0)
    has_progressed = True
    while has_progressed:
        has_progressed = False
        for rank, actions in order.items():
            while next_up[rank] < len(actions):
                stage, kind, micro = actions[next_up[rank]]
                ready_s = _ready_s(stage, kind, micro, ended, rank_of_stage, costs, link)
                if ready_s is None:
                    break
                start_s = max(free_s[rank], ready_s)
                free_s[rank] = ended[stage, "I" if kind == "B" else kind, micro] = start_s + _operation_s(
                    costs[stage], kind
                )
                kept_bytes[rank] += costs[stage].saved_bytes * {"F": 1, "I": 0}.get(kind, -1)
                peak_bytes[rank] = max(peak_bytes[rank], kept_bytes[rank])
                next_up[rank] += 1
                has_progressed = True
    if any(next_up[rank] < len(actions) for rank, actions in order.items()):
        raise RuntimeError(f"{schedule} waits for itself")  # a bug: an order in which nobody can go on
    step_s = max(free_s.values())
    busy_s = micro_batches * sum(cost.forward_s + cost.backward_s for cost in costs)
    return Forecast(schedule, step_s, 1 - busy_s / (world * step_s) if step_s else 0.0, max(peak_bytes.values()))


def _operation_s(cost: StageCost, kind: str) -> float:
    return {"F": cost.forward_s, "B": cost.backward_s, "I": cost.input_s, "W": cost.weight_s}[kind]


def _ready_s(
    stage: int,
    kind: str,
    micro: int,
    ended: dict[tuple[int, str, int], float],
    rank_of_stage: dict[int, int],
    costs: Sequence[StageCost],
    link: Link,
) -> float | None:
    """When what an operation waits for is here; None when that has not been played yet."""
    if kind == "W" or (kind == "F" and stage == 0) or (kind in "BI" and stage == len(costs) - 1):
        return 0.0
    origin, sender = (stage - 1, costs[stage - 1]) if kind == "F" else (stage + 1, costs[stage])
    arrived_s = ended.get((origin, "F" if kind == "F" else "I", micro))
    if arrived_s is None or rank_of_stage[origin] == rank_of_stage[stage]:
        return arrived_s
    return arrived_s + link.seconds(sender.output_bytes)


def choose_schedule(
    schedule: str, costs: Sequence[StageCost], *, world: int, micro_batches: int, link: Link
) -> tuple[Forecast, str]:
    """The forecast of the chosen schedule, and the reason in words. "auto" takes the fastest that can run; among those
    within 3 % of it, the one that keeps the fewest activations."""
    sizes: dict[str, int] = {"world": world, "stages": len(costs), "micro_batches": micro_batches}
    names = (
        [name for name in SCHEDULES if schedule_problem(name, **sizes) is None] if schedule == "auto" else [schedule]
    )
    forecasts = [forecast_step(name, costs, world=world, micro_batches=micro_batches, link=link) for name in names]
    forecasts = [candidate for candidate in forecasts if math.isfinite(candidate.step_s)]
    if not forecasts:
        lossy = [index for index, cost in enumerate(costs) if math.isinf(cost.input_s)]
        raise InputError(
            f"{schedule} would lose gradients of stage {lossy[0]}, as some of its output does not depend on its input",
            expected="blocks whose outputs all lead back to an input that needs a gradient",
            fix="take another schedule, such as '1f1b' or 'interleaved'",
        )
    if schedule != "auto":
        return forecasts[0], f"{forecasts[0]} of activations; asked for"
    fastest = min(candidate.step_s for candidate in forecasts)
    near_fastest = [candidate for candidate in forecasts if candidate.step_s <= fastest * (1 + TIE_SHARE)]
    chosen = min(near_fastest, key=lambda candidate: candidate.peak_bytes)
    others = (
        "; ".join(str(candidate) for candidate in forecasts if candidate is not chosen) or "nothing else can run so"
    )
    return (
        chosen,
        f"{chosen} of activations; of those within {TIE_SHARE:.0%} of the fastest it keeps the least. Others: {others}",
    )
