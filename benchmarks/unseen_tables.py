"""`ship` with its defaults beside five libraries with theirs, on tables that nobody chose settings by.

    python benchmarks/unseen_tables.py [--half dev|report] [--tables 20 | --tables pima,letter] [--budget 20] [--fresh]

125 public tables that packages carry (rivals/tables.py), 150 to 60,000 rows; a fourth is held out. Which half a table
belongs to is decided by the hash of its name: settings are chosen on the half for development, the half for the report
is for the figure alone. Ours gets 20 CPU seconds; CatBoost, LightGBM, HistGradientBoosting, a random forest and a
linear model have their defaults and the encoding that their documentation asks for, and all rows that ours has.

The loss is log loss, or root mean squared error; of all tables the geometric mean of the ratios. Every run is a line of
runs.jsonl in the cache, and is not run again: rivals' by table, ours by the source of the package too. A record is
written for the report half alone, and says how many of its tables were not run.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from fraud_features import cache_folder
from result import ROOT, claim, finish, options, print_claims
from run_cache import Line, Runs, source_digest

NAME = "unseen_tables"
EDITION = "1"  # raised when a rival, a table or the judge changes
PYTHON = ROOT / ".venv-tables" / "bin" / "python"
RIVALS = ("catboost", "lightgbm", "histgb", "forest", "linear")
BARS = {"catboost": 0.96, "histgb": 0.82, "lightgbm": 0.86, "best": 1.0}
BUDGET_S, LEAST, MOST = 20.0, 0.7, 1.1
MIN_COVERAGE, MAX_COVERAGE = 0.80, 0.97
QUICK_TABLES = 8
HANGS_S = 3_600


@dataclass(frozen=True)
class Listed:
    """A table as rivals/run_tables.py lists it."""

    name: str
    half: str
    task: str
    target: str


def listed() -> list[Listed]:
    """All tables, in an order by the hash of their names, so that the first so many are a sample of all."""
    command = [str(PYTHON), str(ROOT / "benchmarks/rivals/run_tables.py"), "--list"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    tables = [Listed(**json.loads(line)) for line in done.stdout.splitlines()]
    return sorted(tables, key=lambda table: hashlib.sha256(f"order {table.name}".encode()).digest())


def run_table(table: Listed, runs: Runs, *, digest: str, budget_s: float, fresh: bool) -> dict[str, Line]:
    """What every candidate did on a table, by its name: of a line that is there, else of a run."""
    keys = {name: {"table": table.name, "candidate": name, "edition": EDITION} for name in RIVALS}
    keys["ours"] = {
        "table": table.name,
        "candidate": "ours",
        "edition": EDITION,
        "source": digest,
        "budget_s": budget_s,
    }
    found = {name: None if fresh and name == "ours" else runs.find(key) for name, key in keys.items()}
    missing = [name for name in RIVALS if found[name] is None]
    if all(found.values()):
        return {name: line for name, line in found.items() if line is not None}
    with tempfile.TemporaryDirectory() as scratch:
        program = ROOT / "benchmarks/rivals/run_tables.py"
        words = [PYTHON, program, "--table", table.name, "--rivals", ",".join(missing), "--out", scratch]
        lines = run_program(words)
        shape = lines[0]
        for line in lines[1:-1]:
            found[line["candidate"]] = {**keys[line["candidate"]], **line, **shape, **lines[-1]}
            runs.add(found[line["candidate"]])  # type: ignore[arg-type]
        if found["ours"] is None:
            program = ROOT / "benchmarks/unseen_tables_ours.py"
            words = [sys.executable, program, "--folder", scratch, "--target", table.target, "--task", table.task]
            found["ours"] = {**keys["ours"], **run_program([*words, "--budget", budget_s])[-1], **shape}
            runs.add(found["ours"])
    return {name: line for name, line in found.items() if line is not None}


def run_program(words: Sequence[object]) -> list[Line]:
    """The JSON objects that a program prints. RuntimeError with the end of what it said where it fails."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, timeout=HANGS_S)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}:\n{done.stderr[-2_000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def show(table: Listed, found: dict[str, Line]) -> None:
    ours = found["ours"]
    ratios = "".join(f"{ours['loss'] / found[name]['loss']:>9.3f}" for name in RIVALS)
    best = min(found[name]["loss"] for name in RIVALS)
    print(
        f"{table.name:<22}{ours['num_train']:>7}{ours['loss']:>11.4g}{ours['loss'] / best:>8.3f}{ratios}"
        f"{ours['cpu_s']:>7.1f}{len(ours['trials']):>4}{ours['size_bytes'] / 1e6:>7.2f}  {ours['model']}",
        flush=True,
    )


def claims_of(tables: Sequence[Listed], every: Sequence[dict[str, Line]], budget_s: float) -> list[Line]:
    """The claims of these tables."""
    note = f"{len(tables)} tables, {budget_s:g} CPU s each; geometric mean of the ratios"
    ratios = {name: np.array([found["ours"]["loss"] / found[name]["loss"] for found in every]) for name in RIVALS}
    best = np.max([ratios[name] for name in RIVALS], axis=0)
    claims = []
    for name, values in {**ratios, "best": best}.items():
        wins = f"; ours is better on {int((values < 1).sum())}"
        bar = BARS.get(name)
        words = "the best of the five on each table" if name == "best" else f"{name}, its defaults"
        claims.append(
            claim(
                f"loss over {name}", ours=float(np.exp(np.log(values).mean())), rival=1.0, rival_name=words,
                ratio=float(np.exp(np.log(values).mean())), unit="ratio of losses", op="<=" if bar else None, bar=bar,
                note=note + wins,
            )
        )  # fmt: skip
    worst = int(best.argmax())
    claims.append(
        claim("worst table", ours=float(best[worst]), unit="ratio to the best of the five", op="<=", bar=1.15,
              note=f"{tables[worst].name}; {int((best <= 1.15).sum())} of {len(best)} are within the bar")
    )  # fmt: skip
    return [*claims, *_coverage_claims(every), *_calibration_claims(every), *_budget_claims(tables, every, budget_s)]


def _coverage_claims(every: Sequence[dict[str, Line]]) -> list[Line]:
    rows = [(found["ours"]["coverage"], found["ours"]["num_test"]) for found in every if "coverage" in found["ours"]]
    if not rows:
        return []
    fifths = np.array([each for each, _ in rows])
    within = (fifths >= MIN_COVERAGE) & (fifths <= MAX_COVERAGE)
    note = f"{len(rows)} tables of values; lowest fifth {fifths.min():.2f}, highest {fifths.max():.2f}"
    return [
        claim("fifths of the prediction within 80 to 97 %", ours=float(within.mean()), unit="share of the fifths",
              op=">=", bar=1.0, note=note),
        claim("coverage of all rows", ours=float(fifths.mean()), unit="share", note="90 % asked"),
    ]  # fmt: skip


def _calibration_claims(every: Sequence[dict[str, Line]]) -> list[Line]:
    classes = [found for found in every if "ece" in found["ours"]]
    if not classes:
        return []
    errors = {name: float(np.mean([found[name]["ece"] for found in classes])) for name in ("ours", *RIVALS)}
    best = min(RIVALS, key=errors.__getitem__)
    return [
        claim("error of calibration", ours=errors["ours"], rival=errors[best], rival_name=f"{best}, the best of five",
              ratio=errors["ours"] / errors[best], unit="mean ECE, ten bins", note=f"{len(classes)} tables of classes")
    ]  # fmt: skip


def _budget_claims(tables: Sequence[Listed], every: Sequence[dict[str, Line]], budget_s: float) -> list[Line]:
    shares = np.array([found["ours"]["cpu_s"] for found in every]) / budget_s
    low, high = int(shares.argmin()), int(shares.argmax())
    within = f"; {int(((shares >= LEAST) & (shares <= MOST)).sum())} of {len(shares)} are within both"
    return [
        claim("budget used, least", ours=float(shares[low]), unit="share of the budget", op=">=", bar=LEAST,
              note=tables[low].name + within),
        claim("budget used, most", ours=float(shares[high]), unit="share of the budget", op="<=", bar=MOST,
              note=tables[high].name),
    ]  # fmt: skip


def main() -> int:
    parser = options(__doc__, (), quick=f"The first {QUICK_TABLES} tables of the half; nothing is recorded.")
    parser.add_argument("--half", choices=("dev", "report"), default="report")
    parser.add_argument("--tables", help="The first so many of the half, or names with commas between; all by default.")
    parser.add_argument("--budget", type=float, default=BUDGET_S, help="CPU seconds.")
    parser.add_argument("--fresh", action="store_true", help="Run ours anew on these tables.")
    chosen = parser.parse_args()
    if not PYTHON.exists():
        sys.exit("the rivals and tables are not installed: make bench-rivals")
    of_half = [table for table in listed() if table.half == chosen.half]
    tables = of_half[:QUICK_TABLES] if chosen.quick else of_half
    if chosen.tables and chosen.tables.isdigit():
        tables = of_half[: int(chosen.tables)]
    elif chosen.tables:
        tables = [table for table in of_half if table.name in chosen.tables.split(",")]
    runs, digest = Runs(cache_folder(NAME) / "runs.jsonl"), source_digest()
    print(f"{'table':<22}{'rows':>7}{'loss':>11}{'best':>8}" + "".join(f"{name:>9}" for name in RIVALS)
          + f"{'CPU s':>7}{'':>4}{'MB':>7}  model")  # fmt: skip
    every = []
    for table in tables:
        every.append(run_table(table, runs, digest=digest, budget_s=chosen.budget, fresh=chosen.fresh))
        show(table, every[-1])
    claims = claims_of(tables, every, chosen.budget)
    if chosen.half == "report" and not chosen.quick and chosen.budget == BUDGET_S:
        left = len(of_half) - len(tables)
        return finish(NAME, claims, not_run=[f"{left} of {len(of_half)} tables of the report half"] if left else [])
    print_claims(claims)
    return 0


if __name__ == "__main__":
    sys.exit(main())
