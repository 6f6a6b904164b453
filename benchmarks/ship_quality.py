"""`ship` against HistGradientBoosting's defaults, AutoGluon medium_quality and FLAML: loss, size, budget.

    python benchmarks/ship_quality.py [--quick] [--only CLAIM] [--budget 40] [--datasets cancer,wine] [--fresh]

Six data sets. Every contender gets the same training and validation rows of five splits that were fixed beforehand, the
same budget in CPU seconds, a process of its own, one after the other in turn, and is judged on test rows that it never
saw. How to use the rows is its own affair: ours and FLAML make folds of them all; AutoGluon tunes on the validation
rows and is judged with and without a refit on all; HistGradientBoosting is
fitted on all, and on the training rows alone.

The loss is log loss, or root mean squared error; of a data set the mean over its splits; of all data sets the geometric
mean of the ratios. CPU seconds are those of the call that fits, what it imports late included, all threads and children
counted.
Rivals' runs are kept (see contest.py); the note says how many were. `--fresh` runs everything anew.

The split seeds were fixed before the settings were chosen, on tables that are in no contest (development.py).
Earlier choices had seen test rows of other splits of the same sets: docs/log.md says which.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from contest import AUTOGLUON, CONTENDERS, FLAML, HISTGB, OURS, Contender, Run, compete, total
from quality_data import DATASETS, SEEDS
from result import claim, print_claims, write_result

Plan = tuple[tuple[str, ...], tuple[int, ...], tuple[Contender, ...]]  # data sets, seeds, contenders
FULL: Plan = (tuple(DATASETS), SEEDS, (OURS, AUTOGLUON, FLAML, HISTGB))
QUICK: Plan = (("cancer", "wine", "concrete"), SEEDS[:1], (OURS, AUTOGLUON, HISTGB))
NUM_RESAMPLES = 400
Runs = dict[tuple[str, str], list[Run]]  # by contender and data set, in the order of the seeds


def run_all(datasets: Sequence[str], seeds: Sequence[int], names: Sequence[str], options: argparse.Namespace) -> Runs:
    """Every contender on every split, in turn."""
    print(f"{'data set':<12}{'seed':>5} {'who':<11}{'loss':>9}{'CPU s':>7}{'wall s':>7}{'MB':>8}  measures")
    runs: Runs = {}
    for dataset in datasets:
        for seed in seeds:
            for name in names:
                fresh = options.fresh or (name == OURS.name and options.fresh_ours)
                run = compete(CONTENDERS[name], dataset, seed, options.budget, fresh=fresh)
                runs.setdefault((name, dataset), []).append(run)
                show(run)
    return runs


def show(run: Run) -> None:
    facts = run.facts
    measures = ", ".join(f"{key} {value:.4f}" for key, value in run.measures().items())
    print(
        f"{run.dataset.name:<12}{run.seed:>5} {run.contender:<11}{run.loss():>9.4f}{facts['cpu_s']:>7.1f}"
        f"{facts['wall_s']:>7.1f}{facts.get('size_bytes', 0) / 1e6:>8.2f}  {measures}{' (kept)' if run.cached else ''}",
        flush=True,
    )


def predictions(run: Run, which: str = "") -> pd.DataFrame:
    """What a run predicted, or its further predictions of that name."""
    return run.others[which] if which else run.predictions


def mean_loss(runs: Sequence[Run], which: str = "") -> float:
    """The mean over the splits of a data set."""
    return float(np.mean([total(run.dataset.task, run.losses(predictions(run, which))) for run in runs]))


def resampled(
    ours: Sequence[Run], theirs: Sequence[Run], which: str = ""
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Mean losses (NUM_RESAMPLES,) of both with the test rows drawn anew, the same rows for both (paired bootstrap).

    Splits of one data set share rows, which this leaves out: its intervals are somewhat narrow. Where all splits have
    the same test rows they are drawn once for all.
    """
    rng = np.random.default_rng(0)
    task = ours[0].dataset.task
    losses = [np.stack([a.losses(), b.losses(predictions(b, which))]) for a, b in zip(ours, theirs, strict=True)]
    same = all(run.truth.equals(ours[0].truth) for run in ours)
    differences = np.empty((NUM_RESAMPLES, 2))
    for index in range(NUM_RESAMPLES):
        rows = rng.integers(losses[0].shape[1], size=losses[0].shape[1])
        drawn = [each[:, rows if same else rng.integers(each.shape[1], size=each.shape[1])] for each in losses]
        differences[index] = np.mean([total(task, each) for each in drawn], axis=0)
    return differences[:, 0], differences[:, 1]


def interval(values: np.ndarray[Any, Any]) -> str:
    """The middle 95 %."""
    low, high = np.quantile(values, [0.025, 0.975])
    return f"95 % interval {low:.4g} to {high:.4g}"


def mean_ratio(runs: Runs, datasets: Sequence[str], rival: str, which: str = "") -> float:
    """The geometric mean over the data sets of our loss by the rival's."""
    ratios = [mean_loss(runs[OURS.name, each]) / mean_loss(runs[rival, each], which) for each in datasets]
    return float(np.exp(np.mean(np.log(ratios))))


def loss_claims(runs: Runs, datasets: Sequence[str], rival: str, label: str, bar: float | None) -> list[dict[str, Any]]:
    """The ratio on every data set with the interval of the difference, and the geometric mean of all.

    A rival with two sets of predictions is judged by the one that is better for it over all data sets.
    """
    means = {which: mean_ratio(runs, datasets, rival, which) for which in ("", *runs[rival, datasets[0]][0].others)}
    which = max(means, key=lambda each: means[each])
    claims, draws = [], []
    for dataset in datasets:
        ours, theirs = runs[OURS.name, dataset], runs[rival, dataset]
        mine, others = mean_loss(ours), mean_loss(theirs, which)
        drawn = resampled(ours, theirs, which)
        draws.append(np.log(drawn[0] / drawn[1]))
        unit = "RMSE" if DATASETS[dataset].task == "regression" else "log loss"
        note = f"test difference {mine - others:+.4g}, {interval(drawn[0] - drawn[1])}"
        claims.append(
            claim(
                f"loss_vs_{rival}_{dataset}", ours=mine, rival=others, rival_name=label, ratio=mine / others,
                unit=unit, num_seeds=len(ours), note=note,
            )
        )  # fmt: skip
    note = f"{len(datasets)} data sets, {interval(np.exp(np.mean(draws, axis=0)))}; {kept_note(runs, rival)}"
    if len(means) > 1:
        note += "; " + ", ".join(f"{name or 'fitted on all rows'} {mean:.3f}" for name, mean in means.items())
    claims.append(
        claim(
            f"loss_vs_{rival}", ours=means[which], rival=1.0, rival_name=label, ratio=means[which],
            unit="geometric mean of loss ratios", op=None if bar is None else "<=", bar=bar,
            num_seeds=len(runs[rival, datasets[0]]), note=note,
        )
    )  # fmt: skip
    return claims


def kept_note(runs: Runs, rival: str) -> str:
    """How many of the rival's runs come from this run, and how much CPU it used."""
    many = [run for (name, _), runs_of_rival in runs.items() if name == rival for run in runs_of_rival]
    kept = sum(run.cached for run in many)
    dates = sorted(run.facts["date"][:10] for run in many)
    cpu = float(np.mean([run.facts["cpu_s"] for run in many]))
    when = "all of this run" if not kept else f"{kept} of {len(many)} kept from runs on {dates[0]} to {dates[-1]}"
    return f"its runs: {when}, {cpu:.1f} CPU s each"


def validation_claim(runs: Runs, datasets: Sequence[str]) -> dict[str, Any]:
    """Never below HistGradientBoosting on the rows that ours tunes on: the worst ratio over all runs."""
    ratios = {}
    for dataset in datasets:
        key = "rmse" if DATASETS[dataset].task == "regression" else "log_loss"
        for run in runs[OURS.name, dataset]:
            validation = run.facts["validation"]
            ratios[dataset, run.seed] = validation["metrics"][key]["value"] / validation["baseline"][key]["value"]
    worst = max(ratios, key=lambda each: ratios[each])
    mean = np.mean(list(ratios.values()))
    note = f"the worst of {len(ratios)} runs is {worst[0]}, seed {worst[1]}; mean ratio {mean:.3f}"
    return claim(
        "validation_vs_histgb", ours=ratios[worst], rival=1.0, rival_name="HistGradientBoosting", ratio=ratios[worst],
        unit="ratio of validation losses", op="<=", bar=1.0, num_seeds=len(runs[OURS.name, datasets[0]]), note=note,
    )  # fmt: skip


def size_claims(runs: Runs, datasets: Sequence[str]) -> list[dict[str, Any]]:
    """How many times smaller the bundle is than AutoGluon's folder: on each data set, and of all together."""

    def sizes(name: str, dataset: str, key: str = "size_bytes") -> float:
        return float(np.mean([run.facts[key] for run in runs[name, dataset]])) / 1e6

    claims = []
    for names, label in [
        *(((each,), f"size_vs_autogluon_{each}") for each in datasets),
        (tuple(datasets), "size_vs_autogluon"),
    ]:
        mine = sum(sizes(OURS.name, each) for each in names)
        theirs = sum(sizes(AUTOGLUON.name, each) for each in names)
        deployed = sum(sizes(AUTOGLUON.name, each, "deployed_bytes") for each in names)
        note = f"its clone_for_deployment has {deployed:.2f} MB"
        claims.append(
            claim(
                label, ours=mine, rival=theirs, rival_name="AutoGluon's folder", ratio=theirs / mine, unit="MB",
                op=">=", bar=10.0, num_seeds=len(runs[OURS.name, names[0]]), note=note,
            )
        )  # fmt: skip
    return claims


def budget_claim(runs: Runs, budget_s: float) -> dict[str, Any]:
    """The largest share of the budget that one of our runs used."""
    used = [
        run.facts["cpu_s"] / budget_s
        for (name, _), runs_of_ours in runs.items()
        if name == OURS.name
        for run in runs_of_ours
    ]
    note = f"the largest of {len(used)} runs of {budget_s:g} CPU s; mean {np.mean(used):.2f}"
    return claim(
        "budget_cpu", ours=max(used), unit="share of the budget", op="<=", bar=1.05, num_seeds=len(used), note=note
    )


def make_claims(runs: Runs, datasets: Sequence[str], names: Sequence[str], budget_s: float) -> list[dict[str, Any]]:
    claims = [validation_claim(runs, datasets), budget_claim(runs, budget_s)]
    claims += loss_claims(runs, datasets, HISTGB.name, "HistGradientBoosting", None)
    if AUTOGLUON.name in names:
        claims += loss_claims(runs, datasets, AUTOGLUON.name, "AutoGluon medium_quality", 1.0)
        claims += size_claims(runs, datasets)
    if FLAML.name in names:
        claims += loss_claims(runs, datasets, FLAML.name, "FLAML", None)
    return claims


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three data sets, one split, without FLAML; the same bars")
    parser.add_argument("--only", default="", help="claims whose name has this in it")
    parser.add_argument("--budget", type=float, default=40.0, help="CPU seconds of one fit")
    parser.add_argument("--datasets", help="names with commas between; nothing is recorded")
    parser.add_argument("--seeds", help="numbers with commas between; nothing is recorded")
    parser.add_argument("--fresh", action="store_true", help="run everybody anew")
    parser.add_argument("--fresh-ours", action="store_true", help="run ours anew, whether its source changed or not")
    return parser.parse_args()


def main() -> int:
    options = read_options()
    datasets, seeds, contenders = QUICK if options.quick else FULL
    if options.datasets:
        datasets = tuple(options.datasets.split(","))
    if options.seeds:
        seeds = tuple(int(seed) for seed in options.seeds.split(","))
    names = [each.name for each in contenders if each.ready]
    runs = run_all(datasets, seeds, names, options)
    claims = [each for each in make_claims(runs, datasets, names, options.budget) if options.only in each["claim"]]
    print_claims(claims)
    not_run = [f"data set {each}" for each in DATASETS if each not in datasets]
    not_run += [f"split seed {each}" for each in SEEDS if each not in seeds]
    not_run += [f"rival {each}" for each in CONTENDERS if each not in names]
    if not_run:
        print("\nnot run:", ", ".join(not_run), "" if AUTOGLUON.ready else "(make bench-rivals sets the rivals up)")
    if not (options.datasets or options.seeds):
        versions = {
            f"{package} ({name})": version
            for (name, _), many in runs.items()
            if name != OURS.name
            for package, version in many[0].facts["versions"].items()
        }
        write_result("ship_quality", claims, " ".join(["python", *sys.argv]), not_run=not_run, versions=versions)
    return 3 if any(each["holds"] is False for each in claims) else 0


if __name__ == "__main__":
    sys.exit(main())
