"""BoTorch's and scikit-optimize's side of process.py, run in a venv of their own.

    .venv-process/bin/python benchmarks/rivals/process_rivals.py botorch|skopt PART SEED...

PART is a part of process.py: regret_NAME or pool_NAME. Prints one JSON object a seed: seed, and run as process.Run.
BoTorch is run as its own guide does it: a `SingleTaskGP` with its priors for each measured quantity, the log of the
expected improvement, 2 d + 2 first trials of Sobol (3 in a pool). scikit-optimize has no limits and no pools.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "src")]

import numpy as np  # noqa: E402
from process import NUM_TRIALS, Run, summarize  # noqa: E402
from process_tasks import TASKS, Pool, Task, read_pools  # noqa: E402

NUM_POOL_STARTS = 3


def run_botorch(task: Task, seed: int) -> Run:
    import torch
    from botorch.acquisition.analytic import LogConstrainedExpectedImprovement, LogExpectedImprovement
    from botorch.optim import optimize_acqf

    torch.manual_seed(seed)
    definition, start_s = task.definition, time.process_time()
    size, objective = definition.space.size, definition.objectives[0]
    bounds = torch.stack([torch.zeros(size), torch.ones(size)]).double()
    rows = torch.quasirandom.SobolEngine(size, scramble=True, seed=seed).draw(2 * size + 2).double()
    values: list[dict[str, float]] = []
    for number in range(NUM_TRIALS):
        if number >= len(rows):
            columns = [[-objective.sign * each[objective.name] for each in values]]
            columns += [[each.sign * one[each.name] for one in values] for each in definition.constraints]
            model = _fit_botorch(rows, columns)
            holding = [gain for gain, each in zip(columns[0], values, strict=True) if not definition.is_broken(each)]
            best = max(holding, default=min(columns[0]))
            if definition.constraints:
                limits = {k: (None, each.limit) for k, each in enumerate(definition.constraints, start=1)}
                target = LogConstrainedExpectedImprovement(model, best, 0, limits)
            else:
                target = LogExpectedImprovement(model, best)
            row, _ = optimize_acqf(target, bounds, q=1, num_restarts=4, raw_samples=256)
            rows = torch.cat([rows, row])
        values.append(task.measure(definition.space.decode(rows[number].numpy())))
    return summarize(definition, values, time.process_time() - start_s)


def search_pool_by_botorch(pool: Pool, seed: int, most: int) -> Run:
    import torch
    from botorch.acquisition.analytic import LogExpectedImprovement

    torch.manual_seed(seed)
    start_s, sign = time.process_time(), pool.definition.objectives[0].sign
    choices = torch.as_tensor(pool.definition.space.encode(pool.recipes)).double()
    tried = np.random.default_rng(seed).permutation(len(choices))[:NUM_POOL_STARTS].tolist()
    for number in range(most):
        if number >= len(tried):
            gains = (-sign * pool.values[tried]).tolist()
            target = LogExpectedImprovement(_fit_botorch(choices[tried], [gains]), max(gains))
            with torch.no_grad():
                promised = target(choices.unsqueeze(1))
            promised[tried] = -torch.inf
            tried.append(int(promised.argmax()))
        if tried[number] in pool.best_rows:
            break
    return Run(float(number + 1), 0, number + 1, time.process_time() - start_s)


def _fit_botorch(rows, columns):  # type: ignore[no-untyped-def]
    """A model of each column (n,) at rows (n, d)."""
    import torch
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import ModelListGP, SingleTaskGP
    from gpytorch.mlls import ExactMarginalLogLikelihood

    models = []
    for column in columns:
        model = SingleTaskGP(rows[: len(column)], torch.tensor(column).double().unsqueeze(1))
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        models.append(model)
    return models[0] if len(models) == 1 else ModelListGP(*models)


def run_skopt(task: Task, seed: int) -> Run:
    from skopt import gp_minimize

    definition, values, start_s = task.definition, [], time.process_time()
    objective = definition.objectives[0]

    def evaluate(settings: list[float]) -> float:
        recipe = {each.name: float(at) for each, at in zip(definition.parameters, settings, strict=True)}
        values.append(task.measure(recipe))
        return objective.sign * values[-1][objective.name]

    ranges = [(each.low, each.high) for each in definition.parameters]
    gp_minimize(evaluate, ranges, n_calls=NUM_TRIALS, random_state=seed)
    return summarize(definition, values, time.process_time() - start_s)


def main() -> None:
    warnings.simplefilter("ignore")
    who, part, *seeds = sys.argv[1:]
    name = part.split("_", 1)[1]
    run: Callable[[int], Run]
    if part.startswith("pool_"):
        pool = read_pools()[name]
        run = lambda seed: search_pool_by_botorch(pool, seed, len(pool.values))  # noqa: E731
    else:
        one = {"botorch": run_botorch, "skopt": run_skopt}[who]
        run = lambda seed: one(TASKS[name], seed)  # noqa: E731
    for seed in map(int, seeds):
        print(json.dumps({"seed": seed, "run": asdict(run(seed))}), flush=True)


if __name__ == "__main__":
    main()
