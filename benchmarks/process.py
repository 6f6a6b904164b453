"""Process optimization: regret after 30 trials, pools of measured rows, and the safe mode on a simulated press.

    python benchmarks/process.py [--quick] [--only CLAIM] [--runs FILE] [--seeds [PART=]N]...

Ours is what `deepseek recipe process ask` does, without the disk. The rival on functions and on the press is Optuna's
GP sampler with its defaults (and its constraints), run beside ours with the same seeds; on pools it is chance. A
pool's figure is the median number of rows tried until one of its top 1 % is met. The method was chosen on other
functions (sums of random bumps, Ackley, Levy, Rosenbrock, Styblinski-Tang, Hartmann-like ones with other centers), on
presses with other coefficients, and on pools with their goal reversed.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from process_tasks import PRESS_OPTIMUM, SAFE_PRESS, TASKS, Pool, Task, read_pools
from result import ROOT, claim, finish, options

from deepseek.automl.study.definition import Definition
from deepseek.automl.study.press import POOR_RECIPE, Press
from deepseek.automl.study.propose import propose
from deepseek.automl.study.trials import Trial

NUM_TRIALS, NUM_SEEDS, QUICK_SEEDS = 30, 20, 2
SEEDS_OF = {"pool_crossed_barrel": 50, "pool_agnp": 50, "pools_others": 10}
FIRST_SEED = 5_000
#: Of the ratio to Optuna's GP in the same run; of the regret itself.
REGRET_BARS = {"branin": (1.0, None), "disk": (1.0, None), "hartmann6": (None, 0.15), "press": (None, 0.15)}
POOL_BARS = {"crossed_barrel": 8.0, "agnp": 8.0}
NOT_HELD = 25.0  # regret of a run without any trial that holds
CPU_BAR_S = 4.0
RIVAL = "Optuna's GP sampler"
STUDY = ROOT / "src" / "deepseek" / "automl" / "study"
REPORTS = ("outlook.py",)  # what says what a study has reached, and proposes nothing


@dataclass(frozen=True, slots=True)
class Run:
    """One run: the best loss of the trials that hold (None: none holds), how many broke a limit, how many trials there
    were, and the CPU seconds of it."""

    loss: float | None
    num_broken: int
    num_trials: int
    cpu_s: float


def summarize(definition: Definition, values: Sequence[Mapping[str, float]], cpu_s: float) -> Run:
    """A run from what its trials measured."""
    objective = definition.objectives[0]
    losses = [objective.sign * each[objective.name] for each in values if not definition.is_broken(each)]
    return Run(min(losses, default=None), len(values) - len(losses), len(values), cpu_s)


class Runs:
    """Runs by what was run, by whom and with which seed; kept in a file of lines, so that a run that was cut off goes
    on behind them. Runs of other code than this are left out."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._runs, self._code = path, {}, _digest_code()
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                record = json.loads(line)
                if record["code"] == self._code:
                    self._runs[record["part"], record["who"], record["seed"]] = Run(**record["run"])

    def get(self, part: str, who: str, seed: int, run: Callable[[], Run]) -> Run:
        """The run from the file, or from `run`, which is then kept."""
        key = (part, who, seed)
        if key not in self._runs:
            self._runs[key] = run()
            if self._path is not None:
                with self._path.open("a") as file:
                    record = {"code": self._code, "part": part, "who": who, "seed": seed}
                    file.write(json.dumps({**record, "run": asdict(self._runs[key])}) + "\n")
        return self._runs[key]


def _digest_code() -> str:
    """Of what decides what a run of ours gives."""
    digest = hashlib.sha256()
    for file in [*sorted(STUDY.glob("*.py")), ROOT / "benchmarks" / "process_tasks.py"]:
        if file.name not in REPORTS:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def run_ours(definition: Definition, measure: Callable[..., dict[str, float]], seed: int) -> Run:
    """NUM_TRIALS trials, one after the other."""
    definition, trials, start_s = replace(definition, seed=seed), [], time.process_time()
    for number in range(1, NUM_TRIALS + 1):
        [proposal] = propose(definition, trials)
        trials.append(Trial(number, proposal.recipe, "done", measure(proposal.recipe), chance=proposal.chance))
    return summarize(definition, [trial.values for trial in trials], time.process_time() - start_s)


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
    return summarize(definition, values, time.process_time() - start_s)


def regrets(task: Task, runs: Sequence[Run]) -> np.ndarray:
    """(num runs,): how far the best trial that holds is from the optimum."""
    sign = task.definition.objectives[0].sign
    return np.array([NOT_HELD if run.loss is None else run.loss - sign * task.optimum for run in runs])


def measure_regret(name: str, seeds: range, runs: Runs) -> list[dict]:  # type: ignore[type-arg]
    """Ours and Optuna's GP alternately, seed by seed."""
    task, part = TASKS[name], f"regret_{name}"
    ours, theirs = [], []
    for seed in seeds:
        ours.append(runs.get(part, "ours", seed, partial(run_ours, task.definition, task.measure, seed)))
        theirs.append(runs.get(part, RIVAL, seed, partial(run_optuna, task.definition, task.measure, seed)))
    own, rival = regrets(task, ours), regrets(task, theirs)
    ratio_bar, bar = REGRET_BARS[name]
    wins = int((own <= rival).sum())
    cpu = float(np.mean([run.cpu_s for run in ours])), float(np.mean([run.cpu_s for run in theirs]))
    note = (
        f"mean of {len(seeds)} seeds (median {np.median(own):.4g}; rival {np.median(rival):.4g}); no worse in {wins}; "
        f"CPU s a run {cpu[0]:.2f}, {cpu[1]:.2f}"
    )
    figures = {"ours": float(own.mean()), "rival": float(rival.mean()), "rival_name": RIVAL, "num_seeds": len(seeds)}
    ratio = float(own.mean() / rival.mean()) if ratio_bar else None
    return [
        claim(f"regret_{name}", **figures, ratio=ratio, unit="regret", op="<=", bar=ratio_bar or bar, note=note),
        claim(f"cpu_{name}", ours=cpu[0], rival=cpu[1], rival_name=RIVAL, unit="CPU s", op="<=", bar=CPU_BAR_S,
              num_seeds=len(seeds)),
    ]  # fmt: skip


def search_pool(pool: Pool, seed: int, most: int) -> Run:
    """Until one of the top 1 % is met, or `most` rows are tried. The loss is how many rows were tried."""
    places = {tuple(recipe.values()): row for row, recipe in enumerate(pool.recipes)}
    definition, trials, start_s = replace(pool.definition, seed=seed), [], time.process_time()
    while len(trials) < most:
        [proposal] = propose(definition, trials, pool=pool.recipes)
        row = places[tuple(proposal.recipe.values())]
        values = {definition.objectives[0].name: float(pool.values[row])}
        trials.append(Trial(len(trials) + 1, proposal.recipe, "done", values))
        if row in pool.best_rows:
            break
    return Run(float(len(trials)), 0, len(trials), time.process_time() - start_s)


def counts_of(runs: Sequence[Run]) -> np.ndarray:
    """(num runs,): rows tried."""
    return np.array([run.num_trials for run in runs])


def measure_pool(pool: Pool, seeds: range, runs: Runs) -> tuple[np.ndarray, float]:
    """Rows tried until the top 1 % is met, by us (num seeds,) and by chance (a median). Ours is not followed beyond
    twice that of chance."""
    good, num_rows = sorted(pool.best_rows), len(pool.values)
    by_chance = float(np.median([
        min(np.random.default_rng(seed).permutation(num_rows)[good]) + 1 for seed in range(2_001)
    ]))  # fmt: skip
    most = int(2 * by_chance)
    searches = [runs.get(pool.name, "ours", seed, partial(search_pool, pool, seed, most)) for seed in seeds]
    return counts_of(searches), by_chance


def measure_pools(name: str, seeds: range, runs: Runs) -> list[dict]:  # type: ignore[type-arg]
    """A pool with a bar, or all others together."""
    pools = read_pools()
    if name != "pools_others":
        counts, chance = measure_pool(pools[name.removeprefix("pool_")], seeds, runs)
        bar = POOL_BARS[name.removeprefix("pool_")]
        return [
            claim(name, ours=float(np.median(counts)), rival=chance, rival_name="random", unit="rows tried", op="<=",
                  bar=bar, num_seeds=len(seeds), note=f"median; mean {counts.mean():.1f}"),
        ]  # fmt: skip
    medians = {}
    for each, pool in pools.items():
        if each not in POOL_BARS:
            counts, chance = measure_pool(pool, seeds, runs)
            medians[each] = float(np.median(counts)), chance
    worse = [each for each, (ours, chance) in medians.items() if ours > chance]
    note = ", ".join(f"{each} {ours:g} against {chance:g}" for each, (ours, chance) in medians.items())
    return [claim(name, ours=len(worse), unit="tables worse than random", op="<=", bar=0, num_seeds=len(seeds),
                  note=f"medians of rows tried: {note}")]  # fmt: skip


def measure_safe(seeds: range, runs: Runs) -> list[dict]:  # type: ignore[type-arg]
    """The safe mode from a poor recipe; Optuna's GP and its random sampler beside it."""
    measure, start = Press().measure, Press().measure(POOR_RECIPE)["material_yield"]
    free = TASKS["press"].definition
    by = {
        "ours": [runs.get("safe", "ours", seed, partial(run_ours, SAFE_PRESS, measure, seed)) for seed in seeds],
        RIVAL: [runs.get("regret_press", RIVAL, seed, partial(run_optuna, free, measure, seed)) for seed in seeds],
        "random": [
            runs.get("safe", "random", seed, partial(run_optuna, free, measure, seed, is_random=True)) for seed in seeds
        ],
    }
    broken = {who: np.array([100 * run.num_broken / run.num_trials for run in each]) for who, each in by.items()}
    gain = {  # a run in which nothing holds gains nothing
        who: np.array([0.0 if run.loss is None else max(0.0, 100 * (-run.loss / start - 1)) for run in each])
        for who, each in by.items()
    }
    note = (
        f"random: {broken['random'].mean():.1f} % broken, gain {gain['random'].mean():.1f} %; the optimum would gain "
        f"{100 * (PRESS_OPTIMUM / start - 1):.1f} %; CPU s a run {np.mean([run.cpu_s for run in by['ours']]):.2f}"
    )
    shared = {"rival_name": RIVAL, "num_seeds": len(seeds), "unit": "% of trials", "op": "<="}
    return [
        claim("safe_broken", ours=broken["ours"].mean(), rival=broken[RIVAL].mean(), bar=5.0, note=note, **shared),
        claim("safe_broken_worst", ours=broken["ours"].max(), rival=broken[RIVAL].max(), bar=10.0, **shared),
        claim("safe_gain", ours=gain["ours"].mean(), rival=gain[RIVAL].mean(), rival_name=RIVAL,
              num_seeds=len(seeds), unit="% of material", op=">=", bar=8.2),
    ]  # fmt: skip


def shown_only(judged: dict, num_asked: int) -> dict:  # type: ignore[type-arg]
    """A claim of fewer seeds than its bar is for: it is shown with the bar in its note, and not judged."""
    words = f"{judged['num_seeds']} of {num_asked} seeds, so not judged by its bar, {judged['op']} {judged['bar']:g}"
    note = f"{judged['note']}; {words}" if judged["note"] else words
    return {**judged, "op": None, "bar": None, "holds": None, "note": note}


PARTS = (*(f"regret_{name}" for name in TASKS), *(f"pool_{name}" for name in POOL_BARS), "safe", "pools_others")


def main() -> int:
    parser = options(__doc__, PARTS, quick=f"{QUICK_SEEDS} seeds; the other pools are left out")
    parser.add_argument("--runs", type=Path, help="Keep each run in this file, and go on behind those that are there.")
    words = "At most so many, of a part; 0: it is left out. Its claims are then not judged."
    parser.add_argument("--seeds", action="append", default=[], metavar="[PART=]N", help=words)
    arguments = parser.parse_args()
    most = dict(each.rpartition("=")[::2] for each in arguments.seeds)
    parts = [arguments.only] if arguments.only else [part for part in PARTS if not arguments.quick or part != PARTS[-1]]
    runs, claims, status, done = Runs(arguments.runs), [], 0, set()
    for part in parts:
        asked = QUICK_SEEDS if arguments.quick else SEEDS_OF.get(part, NUM_SEEDS)
        num = min(asked, int(most.get(part, most.get("", asked))))
        if not num:
            continue
        seeds = range(FIRST_SEED, FIRST_SEED + num)
        if part == "safe":
            measured = measure_safe(seeds, runs)
        elif part.startswith("regret_"):
            measured = measure_regret(part.removeprefix("regret_"), seeds, runs)
        else:
            measured = measure_pools(part, seeds, runs)
        claims += measured if num == asked else [shown_only(each, asked) for each in measured]
        done.add(part)
        status = finish("process", claims, not_run=[each for each in PARTS if each not in done])
    return status


if __name__ == "__main__":
    sys.exit(main())
