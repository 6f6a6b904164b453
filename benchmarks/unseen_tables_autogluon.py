"""`ship` with its defaults beside AutoGluon's presets, at equal CPU, on tables that nobody chose settings by.

    taskset -c 0 python benchmarks/unseen_tables_autogluon.py [--quick] [--only CLAIM] [--tables 15]

The first fifteen tables of the report half of unseen_tables.py, in the order of their hashes; ours, its parts and its
judge are of there. Ours has 20 CPU seconds, AutoGluon 20 seconds of the wall with one thread, which are its CPU seconds
on a core of its own; what it really took stands in the record. A preset that fitted no model in its time is said and
left out of the mean, for it has no loss.
"""

from __future__ import annotations

import sys
import tempfile

import numpy as np
from fraud_features import cache_folder
from result import ROOT, claim, finish, options
from run_cache import Line, Runs, source_digest
from unseen_tables import BUDGET_S, EDITION, NAME, PYTHON, Listed, listed, run_program, run_table

AUTOGLUON = ROOT / ".venv-autogluon" / "bin" / "python"
BARS = {"medium_quality": 0.95, "good_quality": 1.0}
MAX_SIZE = 0.1  # of good_quality's
NUM_TABLES, NUM_QUICK = 15, 3
CLAIMS = (*(f"loss over {preset}" for preset in BARS), "size over good_quality")


def run_preset(table: Listed, preset: str, runs: Runs) -> Line | None:
    """What a preset did on a table, of a line that is there, else of a run; None where it fitted no model in time."""
    key: Line = {"table": table.name, "candidate": f"autogluon {preset}", "edition": EDITION, "budget_s": BUDGET_S}
    known = runs.find(key)
    if known is None:
        with tempfile.TemporaryDirectory() as scratch:
            parts = [PYTHON, ROOT / "benchmarks/rivals/run_tables.py", "--table", table.name, "--rivals", ""]
            run_program([*parts, "--out", scratch])
            program = [AUTOGLUON, ROOT / "benchmarks/rivals/run_tables_autogluon.py", "--folder", scratch]
            words = ["--target", table.target, "--task", table.task, "--preset", preset, "--limit", BUDGET_S]
            try:
                known = {**key, **run_program([*program, *words])[-1]}
            except RuntimeError as error:
                if "No models" not in str(error) and "no models" not in str(error):
                    raise
                known = {**key, "loss": None}
            runs.add(known)
    return known if known["loss"] is not None else None


def main() -> int:
    parser = options(__doc__, CLAIMS, quick=f"{NUM_QUICK} tables instead of {NUM_TABLES}")
    parser.add_argument("--tables", type=int, default=NUM_TABLES, help="The first so many.")
    chosen = parser.parse_args()
    if not (PYTHON.exists() and AUTOGLUON.exists()):
        sys.exit("the rivals and tables are not installed: make bench-rivals")
    tables = [table for table in listed() if table.half == "report"][: NUM_QUICK if chosen.quick else chosen.tables]
    runs, digest = Runs(cache_folder(NAME) / "runs.jsonl"), source_digest()
    ratios: dict[str, list[float]] = {preset: [] for preset in BARS}
    sizes, took, shown, without = [], [], [], []
    for table in tables:
        ours = run_table(table, runs, digest=digest, budget_s=BUDGET_S, fresh=False)["ours"]
        words = [table.name]
        for preset in BARS:
            rival = run_preset(table, preset, runs)
            if rival is None:
                without.append(f"{table.name} {preset}")
                continue
            ratios[preset].append(ours["loss"] / rival["loss"])
            took.append(rival["cpu_s"])
            words.append(f"{ratios[preset][-1]:.3f}")
            if preset == "good_quality":
                sizes.append(ours["size_bytes"] / rival["size_bytes"])
        shown.append(" ".join(words))
        print(shown[-1], file=sys.stderr, flush=True)
    note = f"{len(tables)} tables; AutoGluon took {min(took):.0f} to {max(took):.0f} CPU s; no model in time: " + (
        ", ".join(without) or "none"
    )
    claims = [
        claim(
            f"loss over {preset}", ours=mean(ratios[preset]), rival=1.0, rival_name=f"AutoGluon {preset}",
            ratio=mean(ratios[preset]), unit="ratio of losses", op="<=", bar=bar, note=f"{note}. {'; '.join(shown)}",
        )
        for preset, bar in BARS.items()
    ]  # fmt: skip
    claims.append(
        claim(
            "size over good_quality",
            ours=mean(sizes),
            unit="share of its deployed size",
            op="<=",
            bar=MAX_SIZE,
            note=note,
        )
    )
    claims = [each for each in claims if chosen.only in (None, each["claim"])]
    not_run = [] if len(tables) == NUM_TABLES else [f"{NUM_TABLES - len(tables)} of {NUM_TABLES} tables"]
    return finish("unseen_tables_autogluon", claims, not_run=not_run)


def mean(ratios: list[float]) -> float:
    """The geometric one."""
    return float(np.exp(np.log(ratios).mean()))


if __name__ == "__main__":
    sys.exit(main())
