"""Process optimization: regret after 30 trials, pools of measured rows, and the safe mode on a simulated press.

    python benchmarks/process.py [--quick] [--only CLAIM]

Ours is what `deepseek recipe process ask` does, without the disk. The rival on functions and on the press is Optuna's
GP sampler with its defaults (and its constraints), run beside ours with the same seeds; on pools it is chance.
A pool's figure is the median number of rows tried until one of its top 1 % is met. The method was chosen on other
functions (sums of random bumps, Ackley, Levy, Rosenbrock, Styblinski-Tang), on presses with other coefficients, and on
pools with their goal reversed.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from process_tasks import PRESS_OPTIMUM, SAFE_PRESS, TASKS, Pool, Task, read_pools
from result import claim, finish, options

from deepseek.automl.study.definition import Definition
from deepseek.automl.study.press import POOR_RECIPE, Press
from deepseek.automl.study.propose import propose
from deepseek.automl.study.trials import Trial

NUM_TRIALS, NUM_SEEDS, NUM_POOL_SEEDS, NUM_OTHER_SEEDS, QUICK_SEEDS = 30, 20, 50, 10, 2
FIRST_SEED = 5_000
#: Of the ratio to Optuna's GP in the same run; of the regret itself.
REGRET_BARS = {"branin": (1.0, None), "disk": (1.0, None), "hartmann6": (None, 0.15), "press": (None, 0.15)}
POOL_BARS = {"crossed_barrel": 8.0, "agnp": 8.0}
NOT_HELD = 25.0  # regret of a run without any trial that holds
CPU_BAR_S = 4.0
RIVAL = "Optuna's GP sampler"


@dataclass(frozen=True, slots=True)
class Run:
    """One run: the trials in their order, and the CPU seconds of proposing."""

    values: list[dict[str, float]]
    cpu_s: float

    def num_broken(self, definition: Definition) -> int:
        return sum(definition.is_broken(each) for each in self.values)

    def best(self, definition: Definition) -> float:
        """The best loss of the trials that hold; infinite where none does."""
        objective = definition.objectives[0]
        return min(
            (objective.sign * each[objective.name] for each in self.values if not definition.is_broken(each)),
            default=np.inf,
        )


def run_ours(definition: Definition, measure: Callable[..., dict[str, float]], seed: int) -> Run:
    """NUM_TRIALS trials, one after the other."""
    definition, trials, start_s = replace(definition, seed=seed), [], time.process_time()
    for number in range(1, NUM_TRIALS + 1):
        [proposal] = propose(definition, trials)
        trials.append(Trial(number, proposal.recipe, "done", measure(proposal.recipe), chance=proposal.chance))
    return Run([dict(trial.values) for trial in trials], time.process_time() - start_s)


def run_optuna(
    definition: Definition, measure: Callable[..., dict[str, float]], seed: int, *, is_random: bool = False
) -> Run:
    """The same with Optuna: its GP sampler, or its random one."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    objective, values = definition.objectives[0], []

    def excesses(trial: optuna.trial.FrozenTrial) -> Sequence[float]:
        return trial.user_attrs["excesses"]

    def evaluate(trial: optuna.Trial) -> float:
        recipe = {each.name: trial.suggest_float(each.name, each.low, each.high) for each in definition.parameters}
        values.append(measure(recipe))
        trial.set_user_attr(
            "excesses", [each.sign * values[-1][each.name] - each.limit for each in definition.constraints]
        )
        return objective.sign * values[-1][objective.name]

    start_s = time.process_time()
    constraints = excesses if definition.constraints else None
    sampler = (
        optuna.samplers.RandomSampler(seed=seed)
        if is_random
        else optuna.samplers.GPSampler(seed=seed, constraints_func=constraints)
    )
    optuna.create_study(sampler=sampler).optimize(evaluate, n_trials=NUM_TRIALS)
    return Run(values, time.process_time() - start_s)


def regrets(task: Task, runs: Sequence[Run]) -> np.ndarray:
    """(num runs,): how far the best trial that holds is from the optimum."""
    sign = task.definition.objectives[0].sign
    losses = np.array([run.best(task.definition) for run in runs])
    return np.where(np.isfinite(losses), losses - sign * task.optimum, NOT_HELD)


def measure_regret(name: str, num_seeds: int) -> list[dict]:  # type: ignore[type-arg]
    """Ours and Optuna's GP alternately, seed by seed."""
    task = TASKS[name]
    ours, theirs = [], []
    for seed in range(FIRST_SEED, FIRST_SEED + num_seeds):
        ours.append(run_ours(task.definition, task.measure, seed))
        theirs.append(run_optuna(task.definition, task.measure, seed))
    own, rival = regrets(task, ours), regrets(task, theirs)
    ratio_bar, bar = REGRET_BARS[name]
    wins = int((own <= rival).sum())
    cpu = float(np.mean([run.cpu_s for run in ours])), float(np.mean([run.cpu_s for run in theirs]))
    note = (
        f"mean of {num_seeds} seeds (median {np.median(own):.4g}; {RIVAL} {np.median(rival):.4g}); no worse in {wins}; "
        f"CPU s a run {cpu[0]:.2f}, {cpu[1]:.2f}"
    )
    figures = {"ours": float(own.mean()), "rival": float(rival.mean()), "rival_name": RIVAL, "num_seeds": num_seeds}
    ratio = float(own.mean() / rival.mean()) if ratio_bar else None
    return [
        claim(f"regret_{name}", **figures, ratio=ratio, unit="regret", op="<=", bar=ratio_bar or bar, note=note),
        claim(f"cpu_{name}", ours=cpu[0], rival=cpu[1], rival_name=RIVAL, unit="CPU s", op="<=", bar=CPU_BAR_S,
              num_seeds=num_seeds),
    ]  # fmt: skip


def measure_pool(pool: Pool, num_seeds: int) -> tuple[float, float]:
    """Medians over the seeds: rows tried until the top 1 % is met, by us and by chance. Ours is not followed beyond
    twice that of chance."""
    good, num_rows = pool.best_rows, len(pool.values)
    by_chance = float(np.median([
        min(np.random.default_rng(seed).permutation(num_rows)[list(good)]) + 1 for seed in range(2_001)
    ]))  # fmt: skip
    places = {tuple(recipe.values()): row for row, recipe in enumerate(pool.recipes)}
    objective, counts = pool.definition.objectives[0].name, []
    for seed in range(FIRST_SEED, FIRST_SEED + num_seeds):
        definition, trials = replace(pool.definition, seed=seed), []
        while len(trials) < 2 * by_chance:
            [proposal] = propose(definition, trials, pool=pool.recipes)
            row = places[tuple(proposal.recipe.values())]
            values = {objective: float(pool.values[row])}
            trials.append(Trial(len(trials) + 1, proposal.recipe, "done", values))
            if row in good:
                break
        counts.append(len(trials))
    return float(np.median(counts)), by_chance


def measure_pools(name: str, num_seeds: int) -> list[dict]:  # type: ignore[type-arg]
    """A pool with a bar, or all others together."""
    pools = read_pools()
    if name != "pools_others":
        ours, chance = measure_pool(pools[name.removeprefix("pool_")], num_seeds)
        bar = POOL_BARS[name.removeprefix("pool_")]
        return [claim(name, ours=ours, rival=chance, rival_name="random", unit="rows tried", op="<=", bar=bar,
                      num_seeds=num_seeds)]  # fmt: skip
    medians = {each: measure_pool(pool, num_seeds) for each, pool in pools.items() if each not in POOL_BARS}
    worse = [each for each, (ours, chance) in medians.items() if ours > chance]
    note = ", ".join(f"{each} {ours:g} against {chance:g}" for each, (ours, chance) in medians.items())
    return [claim(name, ours=len(worse), unit="tables worse than random", op="<=", bar=0, num_seeds=num_seeds,
                  note=f"medians of rows tried: {note}")]  # fmt: skip


def measure_safe(num_seeds: int) -> list[dict]:  # type: ignore[type-arg]
    """The safe mode from a poor recipe; Optuna's GP and its random sampler beside it."""
    press, start = Press(), Press().measure(POOR_RECIPE)["material_yield"]
    seeds = range(FIRST_SEED, FIRST_SEED + num_seeds)
    runs = {
        "ours": [run_ours(SAFE_PRESS, press.measure, seed) for seed in seeds],
        RIVAL: [run_optuna(SAFE_PRESS, press.measure, seed) for seed in seeds],
        "random": [run_optuna(SAFE_PRESS, press.measure, seed, is_random=True) for seed in seeds],
    }
    broken = {each: np.array([run.num_broken(SAFE_PRESS) / NUM_TRIALS for run in runs[each]]) for each in runs}
    gain = {
        each: np.array([max(0.0, -run.best(SAFE_PRESS) / start - 1) for run in runs[each]]) for each in runs
    }  # a run in which nothing holds gains nothing
    note = (
        f"random: {100 * broken['random'].mean():.1f} % broken, gain {100 * gain['random'].mean():.1f} %; the optimum "
        f"would gain {100 * (PRESS_OPTIMUM / start - 1):.1f} %; CPU s a run "
        f"{np.mean([run.cpu_s for run in runs['ours']]):.2f}"
    )
    shared = {"rival_name": RIVAL, "num_seeds": num_seeds, "unit": "% of trials", "op": "<="}
    return [
        claim("safe_broken", ours=100 * broken["ours"].mean(), rival=100 * broken[RIVAL].mean(), bar=5.0, note=note,
              **shared),
        claim("safe_broken_worst", ours=100 * broken["ours"].max(), rival=100 * broken[RIVAL].max(), bar=10.0,
              **shared),
        claim("safe_gain", ours=100 * gain["ours"].mean(), rival=100 * gain[RIVAL].mean(), rival_name=RIVAL,
              num_seeds=num_seeds, unit="% of material", op=">=", bar=8.2),
    ]  # fmt: skip


PARTS = (*(f"regret_{name}" for name in TASKS), *(f"pool_{name}" for name in POOL_BARS), "safe", "pools_others")


def main() -> int:
    arguments = options(__doc__, PARTS, quick=f"{QUICK_SEEDS} seeds; the other pools are left out").parse_args()
    parts = [arguments.only] if arguments.only else [part for part in PARTS if not arguments.quick or part != PARTS[-1]]
    claims: list[dict] = []  # type: ignore[type-arg]
    status = 0
    for index, part in enumerate(parts):
        if part == "safe":
            claims += measure_safe(QUICK_SEEDS if arguments.quick else NUM_SEEDS)
        elif part.startswith("regret_"):
            claims += measure_regret(part.removeprefix("regret_"), QUICK_SEEDS if arguments.quick else NUM_SEEDS)
        else:
            num_seeds = NUM_OTHER_SEEDS if part == PARTS[-1] else NUM_POOL_SEEDS
            claims += measure_pools(part, QUICK_SEEDS if arguments.quick else num_seeds)
        status = finish("process", claims, not_run=[each for each in PARTS if each not in parts[: index + 1]])
    return status


if __name__ == "__main__":
    sys.exit(main())
