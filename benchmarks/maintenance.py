"""Remaining life of turbofan engines (C-MAPSS FD001) and early warning of bearings (FEMTO), against published figures.

    python benchmarks/maintenance.py [--seeds 5] [--develop] [--only fd001|lstm|femto|fleet] [--lives LIVES.parquet]
        [--leave-out fleet]

FD001: the 100 training engines teach, the 100 test engines are told at their last cycle, life capped at 125 on both
sides. A seed sets the folds of machines, the draws of trees and the starting weights of nets. The search tries trees
with their defaults, then tuned ones, then the LSTM with attention, which waits until as much was spent on trees.
Rival: XGBoost on the same windows of the sensors alone, as one would write it by hand. The LSTM alone: that candidate
with its defaults on the same rows, without a search. Choices were made by `--develop`, folds of the training engines;
nothing of it is recorded.

FEMTO: bearings by the logarithm of the vibration's root mean square on both axes (maintenance_bearings.py). The rule of
each is chosen on the others. Found: the first alarm is in the second half of the life.

Fleet: 2,000 machines with vibration through `deepseek stream` (maintenance_fleet.py).
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from maintenance_bearings import femto_claims
from maintenance_fleet import fleet_claims
from result import claim, finish, options

from deepseek.data import Table, read_table
from deepseek.features.machines.history import MachineColumns
from deepseek.features.machines.windows import block_names
from deepseek.recipes.maintenance.figures import phm_score
from deepseek.recipes.maintenance.intervals import fit_intervals
from deepseek.recipes.maintenance.run import MaintenanceOptions, PreparedRun, prepare_run
from deepseek.train.tabular.group_intervals import half_widths

DATA = Path(os.environ.get("DEEPSEEK_DATA", "../shared/data"))
CAP, LEVEL = 125.0, 0.9
NUM_TRIALS = 12  # what ten minutes of CPU are enough for
LSTM = "lstm_attention"
CLAIMS = ("fd001", "lstm", "femto", "fleet")


@dataclass(frozen=True)
class SeedFigures:
    """One seed on the test engines."""

    rmse: float
    score: float
    coverage: float


def with_life(table: Table, last: dict[int, float]) -> Table:
    """The table with `rul`; `last`: of a machine at its last cycle, 0 where it is not named."""
    unit, cycle = table.column("unit"), table.column("cycle")
    ends = {int(name): cycle[unit == name].max() + last.get(int(name), 0.0) for name in np.unique(unit)}
    left = np.array([ends[int(name)] for name in unit]) - cycle
    return Table({**table.columns, "rul": left}, {**table.types, "rul": "number"})


def prepare_fd001(*, develop: bool) -> PreparedRun:
    """The engines as window rows; for development a fifth of the training engines stand for those to test on."""
    folder = DATA / "cmapss-fd001"
    train = with_life(read_table(folder / "train_FD001.parquet"), {})
    test = None
    if not develop:
        left = read_table(folder / "RUL_FD001.csv")
        last = dict(zip(left.column("unit").astype(int).tolist(), left.column("rul").tolist(), strict=True))
        test = with_life(read_table(folder / "test_FD001.parquet"), last)
    columns = MachineColumns("unit", "cycle")
    return prepare_run(
        train, MaintenanceOptions(columns, Path("unused"), rul="rul", cap=CAP, test=test, trials=NUM_TRIALS)
    )


def measure_seed(prepared: PreparedRun, seed: int) -> SeedFigures:
    """Search, blend and intervals by this seed, on the rows to test on."""
    run = replace(prepared.run, options=replace(prepared.run.options, seed=seed))
    developed = run.develop()
    groups = fit_intervals(run, developed, prepared.definition, prepared.remaining, LEVEL)
    test = run.fit_data(run.data.test)
    value = np.clip(developed.model.score(test.features).output[:, 0].astype(np.float64), 0, CAP)
    width = half_widths(groups, value)
    inside = (np.maximum(value - width, 0) <= test.target) & (test.target <= np.minimum(value + width, CAP))
    print({part.name: round(part.weight, 3) for part in developed.model.parts}, groups, flush=True)
    return SeedFigures(rmse(value, test.target), 100 * phm_score(test.target, value) / len(value), float(inside.mean()))


def measure_lstm(prepared: PreparedRun, seed: int) -> float:
    """Root mean square error of the LSTM with attention alone."""
    run = prepared.run
    train, test = run.fit_data(run.data.development), run.fit_data(run.data.test)
    candidate = next(each for each in run.candidates if each.name == LSTM)
    fitted = candidate.fit(train, candidate.defaults(train), seed=seed)
    return rmse(np.clip(fitted.margin(test.features)[:, 0], 0, CAP), test.target)


def measure_rival(prepared: PreparedRun, seed: int = 0) -> tuple[float, float]:
    """XGBoost on the windows of the sensors alone: root mean square error and score."""
    import xgboost as xgb

    run = prepared.run
    names = run.preprocessor.feature_names
    course = set(block_names(prepared.definition))
    kept = [place for place, name in enumerate(names) if name not in course and not name.startswith("health")]
    train, test = run.fit_data(run.data.development), run.fit_data(run.data.test)
    settings = {"max_depth": 6, "eta": 0.05, "subsample": 0.7, "colsample_bytree": 0.5, "min_child_weight": 4,
                "nthread": 1, "seed": seed}  # fmt: skip
    rows = xgb.DMatrix(train.features[::2][:, kept], label=train.target[::2])
    value = np.clip(xgb.train(settings, rows, num_boost_round=250).predict(xgb.DMatrix(test.features[:, kept])), 0, CAP)
    return rmse(value, test.target), 100 * phm_score(test.target, value.astype(np.float64)) / len(value)


def rmse(value: Any, target: Any) -> float:
    return float(np.sqrt(np.mean((value - target) ** 2)))


def fd001_claims(seed_figures: list[SeedFigures], rival: tuple[float, float]) -> list[dict[str, Any]]:
    """The claims by the seeds that were run."""

    def mean(name: str) -> float:
        return float(np.mean([getattr(each, name) for each in seed_figures]))

    note = f"each seed: {', '.join(f'{each.rmse:.2f} / {each.score:.0f}' for each in seed_figures)}"
    coverage = mean("coverage")
    common: dict[str, Any] = {"num_seeds": len(seed_figures)}
    name = "XGBoost on windows"
    return [
        claim("fd001_rmse", ours=mean("rmse"), rival=rival[0], rival_name=name, unit="cycles, capped at 125", op="<=",
              bar=11.0, note=note, **common),
        claim("fd001_score", ours=mean("score"), rival=rival[1], rival_name=name, unit="PHM08 score", op="<=",
              bar=200.0, **common),
        claim("fd001_coverage_least", ours=coverage, unit="share inside 90 % intervals", op=">=", bar=0.87, **common),
        claim("fd001_coverage_most", ours=coverage, unit="share inside 90 % intervals", op="<=", bar=0.93, **common),
    ]  # fmt: skip


def lstm_claim(errors: list[float]) -> dict[str, Any]:
    """The claim by the seeds that were run."""
    note = f"each seed: {', '.join(f'{error:.2f}' for error in errors)}"
    return claim(
        "fd001_lstm_attention", ours=float(np.mean(errors)), unit="cycles, capped at 125", op="<=", bar=11.7, note=note,
        num_seeds=len(errors),
    )  # fmt: skip


def main() -> int:
    parser = options(__doc__, CLAIMS, quick="One seed instead of five.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--develop", action="store_true", help="Folds of the training engines alone; not recorded.")
    parser.add_argument("--lives", type=Path, help="Features of all bearings to their end, by maintenance_bearings.py.")
    parser.add_argument("--leave-out", action="append", default=[], choices=CLAIMS, help="Of what is run; recorded.")
    args = parser.parse_args()
    left_out = set(args.leave_out) | ({"fleet"} if args.quick or args.develop else set())
    parts = {args.only} if args.only else set(CLAIMS) - left_out
    others = [
        *(femto_claims(args.lives) if "femto" in parts else []), *(fleet_claims() if "fleet" in parts else []),
    ]  # fmt: skip
    not_run = sorted(set(CLAIMS) - parts)
    seeds = range(1 if args.quick else args.seeds)
    if not parts & {"fd001", "lstm"}:
        return finish("maintenance", others, not_run=not_run)
    prepared = prepare_fd001(develop=args.develop)
    rival = measure_rival(prepared) if "fd001" in parts else (0.0, 0.0)
    print(f"rival: {rival[0]:.2f} / {rival[1]:.0f}", flush=True)
    errors: list[float] = []
    seed_figures: list[SeedFigures] = []
    code = 0
    for part in sorted(parts & {"fd001", "lstm"}, reverse=True):  # the net alone takes a sixth of the time
        for seed in seeds:
            if part == "lstm":
                errors.append(measure_lstm(prepared, seed))
                others = [*others[: len(others) - (seed > 0)], lstm_claim(errors)]
                print(f"LSTM {errors[-1]:.2f}", flush=True)
            else:
                seed_figures.append(measure_seed(prepared, seed))
                print(seed_figures[-1], flush=True)
            if not args.develop:
                missing = [f"seeds {seed + 1} to {seeds[-1]} of {part}"] if seed < seeds[-1] else []
                claims = fd001_claims(seed_figures, rival) if seed_figures else []
                waiting = ["fd001"] if "fd001" in parts and not seed_figures else []
                code = finish("maintenance", [*claims, *others], not_run=[*not_run, *missing, *waiting])
    return code


if __name__ == "__main__":
    sys.exit(main())
