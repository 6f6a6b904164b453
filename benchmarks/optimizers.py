"""AdaptiveOptimizer at its default arguments: steps to a target, final quality, and what its steps cost.

    python benchmarks/optimizers.py [--quick] [--only CLAIM]

Steps, rates and final metrics: the eight tasks of the bench in $DEEPSEEK_BENCH (else ../shared/bench), run by its own
command line. A ratio is the geometric mean over seeds, then tasks; a target that is missed counts as twice the budget.
Unseen and larger tasks: optimizer_tasks.py; there a target that AdamW misses counts as its budget once, ours twice.
SOAP, Prodigy and ScheduleFree run where `make bench-rivals` has put them. AdamW at 1e-3 is what all are held against.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Any

import torch
from optimizer_costs import copies_claim, cost_claim, large_net
from optimizer_tasks import LARGER, TASKS, UNSEEN, Layer, Run
from result import ROOT, claim, finish, options
from torch import Tensor, nn

from deepseek.errors import DeepseekError, MissingError
from deepseek.optimizers import AdaptiveOptimizer

OURS = "deepseek.optimizers:AdaptiveOptimizer"
TUNING = ("char_lm", "tabular_mlp", "gcn_sbm", "digits_autoenc")  # named before; the other four were never tuned on
HIGHER = ("mnist_cnn_bn", "gcn_sbm")  # an accuracy; the rest are losses
RIVALS = ROOT / ".venv-optimizers" / "bin" / "python"
#: Name in the bench -> the interpreter that has it.
PEERS = {
    "adamw_1e-2": sys.executable, "onecycle_1e-2": sys.executable, "nadam": sys.executable, "soap": str(RIVALS),
    "prodigy": str(RIVALS), "schedulefree": str(RIVALS),
}  # fmt: skip
OPTIMIZERS: dict[str, Callable[[Iterable[Tensor]], torch.optim.Optimizer]] = {
    "ours": AdaptiveOptimizer,
    "AdamW 1e-3": lambda params: torch.optim.AdamW(params, lr=1e-3),
    "AdamW 1e-2": lambda params: torch.optim.AdamW(params, lr=1e-2),
}
NUM_PROCESSES = 2
Rows = dict[tuple[str, int], dict[str, Any]]
Claims = list[dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """How much to run."""

    seeds: tuple[int, ...]
    quick: bool


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@cache
def bench_rows(name: str, seeds: tuple[int, ...], lr: float | None = None, *, full: bool = False) -> Rows:
    """One optimizer on the eight tasks: (task, seed) -> the bench's record. `full`: to the end of the budget."""
    bench = Path(os.environ.get("DEEPSEEK_BENCH") or ROOT.parent / "shared" / "bench") / "optimizers" / "bench.py"
    if not bench.exists():
        raise MissingError(
            f"{bench} is not there", expected="the bench of optimizers",
            fix="set DEEPSEEK_BENCH to the folder that holds optimizers/bench.py",
        )  # fmt: skip
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.jsonl"
        command = [
            PEERS.get(name, sys.executable), str(bench), "--opts", name, "--seeds", *map(str, seeds), "--out", str(out),
            "--workers", str(NUM_PROCESSES), *(["--full"] if full else []), *(["--lrs", str(lr)] if lr else []),
        ]  # fmt: skip
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
        rows = [json.loads(line) for line in out.read_text().splitlines()]
    failed = [row for row in rows if "err" in row]
    if failed:
        raise RuntimeError(f"{name} failed on {failed[0]['task']}, seed {failed[0]['seed']}: {failed[0]['err']}")
    at = f" from {lr:g}" if lr else ""
    say(f"{name}{at}: {len(rows)} runs in {time.perf_counter() - start:.0f} s")
    return {(row["task"], row["seed"]): row for row in rows}


def steps_ratios(rows: Rows, base: Rows) -> dict[str, float]:
    """Steps to the target against `base`, a task."""
    ratios = defaultdict(list)
    for key, row in rows.items():
        ours, rival = ((each["hit"] or 2 * each["budget"]) for each in (row, base[key]))
        ratios[key[0]].append(ours / rival)
    return {task: geometric_mean(ratios[task]) for task in sorted(ratios)}


def listed(ratios: dict[str, float]) -> str:
    return ", ".join(f"{task} {ratio:.2f}" for task, ratio in ratios.items())


def steps_claim(name: str, rows: Rows, base: Rows, seeds: Sequence[int], bar: float) -> dict[str, Any]:
    """A bar on the ratio of steps; it does not hold when a target is missed."""
    ratios = steps_ratios(rows, base)
    missed = [f"{task} (seed {seed})" for (task, seed), row in sorted(rows.items()) if row["hit"] is None]
    claim_of_steps = claim(
        name, ours=geometric_mean(ratios.values()), unit="of AdamW's steps", rival_name="AdamW 1e-3", op="<=", bar=bar,
        num_seeds=len(seeds), note=f"{listed(ratios)}; missed: {', '.join(missed) or 'none'} of {len(rows)}",
    )  # fmt: skip
    claim_of_steps["holds"] = claim_of_steps["holds"] and not missed
    return claim_of_steps


def steps(plan: Plan) -> Claims:
    """Steps to the target at the default arguments, of both halves of the tasks, and of the peers."""
    full = not plan.quick
    base, ours = bench_rows("adamw", plan.seeds, full=full), bench_rows(OURS, plan.seeds, full=full)
    ratios = steps_ratios(ours, base)
    claims = [steps_claim("steps_to_target", ours, base, plan.seeds, 0.25)]
    for name, is_tuning in (("steps_tuning_tasks", True), ("steps_report_only_tasks", False)):
        half = [ratio for task, ratio in ratios.items() if (task in TUNING) == is_tuning]
        claims.append(
            claim(
                name,
                ours=geometric_mean(half),
                unit="of AdamW's steps",
                rival_name="AdamW 1e-3",
                num_seeds=len(plan.seeds),
            )
        )
    for peer, python in PEERS.items():
        if not Path(python).exists():
            continue
        rows = bench_rows(peer, plan.seeds, full=full and peer == "adamw_1e-2")
        theirs = steps_ratios(rows, base)
        missed = sum(row["hit"] is None for row in rows.values())
        claims.append(
            claim(
                f"steps_against_{peer}", ours=claims[0]["ours"], rival=geometric_mean(theirs.values()), rival_name=peer,
                ratio=claims[0]["ours"] / geometric_mean(theirs.values()), unit="of AdamW's steps",
                num_seeds=len(plan.seeds), note=f"{peer} missed {missed} of {len(rows)}",
            )
        )  # fmt: skip
    return claims


def rates(plan: Plan) -> Claims:
    """Steps to the target from an initial rate that is wrong by a hundred times."""
    base = bench_rows("adamw", plan.seeds, full=not plan.quick)
    return [
        steps_claim(name, bench_rows(OURS, plan.seeds, lr), base, plan.seeds, bar)
        for name, lr, bar in (("steps_from_1e-5", 1e-5, 0.45), ("steps_from_1e-1", 1e-1, 0.30))
    ]


def final(plan: Plan) -> Claims:
    """The metric at the end of the budget against the better of two rates of AdamW. Left out of a quick run."""
    if plan.quick:
        return []
    ours, *rivals = (
        {
            task: fmean(value for seed in plan.seeds for _, value in rows[task, seed]["curve"][-5:])
            for task in {task for task, _ in rows}
        }
        for rows in (bench_rows(name, plan.seeds, full=True) for name in (OURS, "adamw", "adamw_1e-2"))
    )
    worse = {}
    for task in sorted(ours):
        values = [rival[task] for rival in rivals]
        worse[task] = max(values) / ours[task] if task in HIGHER else ours[task] / min(values)
    worst = max(worse, key=lambda task: math.inf if math.isnan(worse[task]) else worse[task])
    return [
        claim(
            "final_metric", ours=worse[worst], unit="times the best of AdamW, of the worst task",
            rival_name="best of AdamW 1e-3 and 1e-2", op="<=", bar=1.01, num_seeds=len(plan.seeds),
            note=f"worst: {worst}. "
            + ", ".join(f"{task} {ratio:.3f} ({ours[task]:.4g})" for task, ratio in worse.items()),
        )
    ]  # fmt: skip


def steps_of(job: tuple[str, str, int]) -> tuple[str, str, int, int | None]:
    """A run in a process of its own: the job, and the step at which it reached its target."""
    torch.set_num_threads(1)
    who, name, seed = job
    run = Run(TASKS[name], OPTIMIZERS[who], seed)
    while not run.over:
        run.advance()
    return who, name, seed, run.hit


def unseen(plan: Plan) -> Claims:
    """Steps to the target on tasks that no constant was chosen on."""
    start = time.perf_counter()
    jobs = [(who, task.name, seed) for task in UNSEEN for seed in plan.seeds for who in OPTIMIZERS]
    with multiprocessing.get_context("spawn").Pool(NUM_PROCESSES) as pool:
        hits = {run_key[:3]: run_key[3] for run_key in pool.imap_unordered(steps_of, jobs)}
    say(f"unseen tasks: {len(jobs)} runs in {time.perf_counter() - start:.0f} s")

    def against(who: str) -> dict[str, float]:
        return {
            task.name: geometric_mean(
                (hits[who, task.name, seed] or 2 * task.budget) / (hits["AdamW 1e-3", task.name, seed] or task.budget)
                for seed in plan.seeds
            )
            for task in UNSEEN
        }

    ratios, other = against("ours"), against("AdamW 1e-2")
    worst = max(ratios, key=lambda task: ratios[task])
    missed = {who: sum(hit is None for (name, _, _), hit in hits.items() if name == who) for who in OPTIMIZERS}
    note = f"{listed(ratios)}; missed: " + ", ".join(f"{who} {count}" for who, count in missed.items())
    return [
        claim(
            "unseen_tasks", ours=geometric_mean(ratios.values()), unit="of AdamW's steps", rival_name="AdamW 1e-3",
            op="<=", bar=0.60, num_seeds=len(plan.seeds),
            note=f"{note}. AdamW 1e-2: {geometric_mean(other.values()):.2f} ({listed(other)})",
        ),
        claim(
            "unseen_worst_task", ours=ratios[worst], unit="of AdamW's steps", rival_name="AdamW 1e-3", op="<=", bar=1.1,
            num_seeds=len(plan.seeds), note=f"worst: {worst}",
        ),
    ]  # fmt: skip


def plain_cost(plan: Plan) -> Claims:
    """CPU time of a step beside AdamW(foreach=True), in turn: 25 million parameters in matrices without eigenbases."""
    return [cost_claim("step_cost", "24 layers 1024 x 1024", large_net(), 1.3, 5 if plan.quick else 15)]


def known_length_cost(plan: Plan) -> Claims:
    """The same with `total_steps`, as train/ has it."""
    what = "24 layers 1024 x 1024, total_steps given"
    return [cost_claim("step_cost_known_length", what, large_net(), 1.3, 5 if plan.quick else 15, total_steps=10**6)]


def low_precision_cost(plan: Plan) -> Claims:
    """The same with moments in bfloat16, and what they take beside the parameters, slow means included."""
    what, num_rounds = "24 layers 1024 x 1024, state_dtype=bfloat16", 5 if plan.quick else 15
    cost = cost_claim("step_cost_bf16_state", what, large_net(), 1.3, num_rounds, state_dtype=torch.bfloat16)
    return [cost, copies_claim(what)]


def compiled_cost(plan: Plan) -> Claims:
    """A step under torch.compile beside a plain one, each against AdamW's plain step: four layers of 1024 x 1024."""
    what, num_rounds = "4 layers 1024 x 1024, total_steps given", 5 if plan.quick else 15
    model = large_net()[:4]
    plain = cost_claim("step_cost_not_compiled", what, model, None, num_rounds, total_steps=10**6)
    return [plain, cost_claim("step_cost_compiled", what, model, None, num_rounds, total_steps=10**6, is_compiled=True)]


def small_cost(plan: Plan) -> Claims:
    """The same of a small net on a CPU: many small tensors, most of them with eigenbases."""
    layers = [Layer(32, 4) for _ in range(2)]
    model = nn.Sequential(nn.Embedding(80, 32), *layers, nn.LayerNorm(32), nn.Linear(32, 80))
    name = "a transformer 32 wide of two layers"
    return [cost_claim("step_cost_small_tensors", name, model, None, num_rounds=5 if plan.quick else 15)]


def eigenbases_cost(plan: Plan) -> Claims:
    """The same with matrices that all get eigenbases on both sides."""
    model = nn.Sequential(*(nn.Linear(128, 128) for _ in range(60)))
    return [cost_claim("step_cost_eigenbases", "60 layers 128 x 128", model, None, num_rounds=5 if plan.quick else 10)]


def wall(plan: Plan) -> Claims:
    """Training time to the target on three larger tasks, both in turn from evaluation to evaluation."""
    ratios, notes = {}, []
    for task in LARGER:
        races = [race(task.name, seed) for seed in plan.seeds]
        ratios[task.name] = geometric_mean(ours["wall_s"] / rival["wall_s"] for ours, rival in races)
        cpu = geometric_mean(ours["cpu_s"] / rival["cpu_s"] for ours, rival in races)
        wall_notes = [" ".join(f"{each['wall_s']:.1f} s/{each['step']:.0f} steps" for each in pair) for pair in races]
        notes.append(f"{task.name} {ratios[task.name]:.2f} (CPU {cpu:.2f}; {', '.join(wall_notes)})")
        say(notes[-1])
    worst = max(ratios, key=lambda name: ratios[name])
    return [
        claim(
            "wall_time", ours=geometric_mean(ratios.values()), unit="of AdamW's time", rival_name="AdamW 1e-3", op="<=",
            bar=0.60, num_seeds=len(plan.seeds), note="ours, then AdamW, by seed: " + "; ".join(notes),
        ),
        claim(
            "wall_time_worst_task", ours=ratios[worst], unit="of AdamW's time", rival_name="AdamW 1e-3", op="<=",
            bar=1.0, num_seeds=len(plan.seeds), note=f"worst: {worst}",
        ),
    ]  # fmt: skip


def race(name: str, seed: int) -> tuple[dict[str, float], ...]:
    """Seconds and steps of ours and AdamW to the target; ours doubled when it is missed."""
    runs = [Run(TASKS[name], OPTIMIZERS[who], seed) for who in ("ours", "AdamW 1e-3")]
    while not all(run.over for run in runs):
        for run in runs:
            if not run.over:
                run.advance()
    price = [2.0 if runs[0].hit is None else 1.0, 1.0]
    return tuple(
        {"wall_s": times * run.wall_s, "cpu_s": times * run.cpu_s, "step": times * run.step}
        for times, run in zip(price, runs, strict=True)
    )


#: What is measured together -> the claims that come of it.
PARTS: dict[Callable[..., Claims], tuple[str, ...]] = {
    plain_cost: ("step_cost",),
    known_length_cost: ("step_cost_known_length",),
    low_precision_cost: ("step_cost_bf16_state", "state_copies"),
    compiled_cost: ("step_cost_not_compiled", "step_cost_compiled"),
    small_cost: ("step_cost_small_tensors",),
    steps: ("steps_to_target", "steps_tuning_tasks", "steps_report_only_tasks", *(f"steps_against_{p}" for p in PEERS)),
    final: ("final_metric",),
    rates: ("steps_from_1e-5", "steps_from_1e-1"),
    unseen: ("unseen_tasks", "unseen_worst_task"),
    wall: ("wall_time", "wall_time_worst_task"),
    eigenbases_cost: ("step_cost_eigenbases",),
}
CLAIMS = tuple(name for names in PARTS.values() for name in names)


def main() -> int:
    args = options(__doc__, CLAIMS, quick="One seed, no final metric, the same bars.").parse_args()
    torch.set_num_threads(1)
    plan = Plan((0,) if args.quick else (0, 1, 2), args.quick)
    claims: Claims = []
    code = 0
    try:
        for part, names in PARTS.items():
            if args.only in (None, *names):
                claims += [each_claim for each_claim in part(plan) if args.only in (None, each_claim["claim"])]
                measured = {each_claim["claim"] for each_claim in claims}
                left_out = [name for name in CLAIMS if name not in measured]
                code = finish("optimizers", claims, not_run=left_out)
    except DeepseekError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return code


if __name__ == "__main__":
    sys.exit(main())
