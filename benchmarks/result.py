"""benchmarks/results/NAME.json: what a benchmark found, on which commit, with which versions, on which machine.

A claim is a dict: claim, ours, rival, rival_name, ratio, unit, op ("<=" or ">="), bar, holds, num_seeds, note. `bar`
speaks of `ratio` where there is one, else of `ours`; a claim without a bar has op and bar None and holds None: it is
shown, not judged. One that was measured again by itself (--only) has `measured`: commit, date, machine and command.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = (
    "deepseek", "numpy", "scikit-learn", "xgboost-cpu", "xgboost", "torch", "optuna", "onnxruntime", "skl2onnx",
    "duckdb", "pyarrow", "starlette",
    "uvicorn", "httptools", "uvloop", "fastapi", "pydantic", "openvino", "nncf", "torchvision",
    "torch-pruning", "captum", "shap", "transformers",
)  # fmt: skip
FIELDS = ("claim", "ours", "rival", "rival_name", "ratio", "unit", "op", "bar", "holds", "num_seeds", "note")


def claim(
    name: str,
    *,
    ours: float,
    unit: str,
    op: str | None = None,
    bar: float | None = None,
    rival: float | None = None,
    rival_name: str = "",
    ratio: float | None = None,
    num_seeds: int = 1,
    note: str = "",
) -> dict[str, Any]:
    """One claim, judged.

    >>> claim("size", ours=2.0, rival=30.0, ratio=15.0, unit="MB", op=">=", bar=10.0)["holds"]
    True
    """
    judged = ours if ratio is None else ratio
    holds = None
    if bar is not None:
        holds = bool(judged <= bar if op == "<=" else judged >= bar)
    return {
        "claim": name, "ours": ours, "rival": rival, "rival_name": rival_name, "ratio": ratio, "unit": unit, "op": op,
        "bar": bar, "holds": holds, "num_seeds": num_seeds, "note": note,
    }  # fmt: skip


def write_result(
    name: str,
    claims: Sequence[Mapping[str, Any]],
    command: str,
    *,
    not_run: Sequence[str] = (),
    versions: Mapping[str, str] | None = None,
    folder: Path = RESULTS,
) -> Path:
    """Write NAME.json. `not_run` lists what was left out of this run; `versions` adds those of the rivals."""
    for each in claims:
        missing = [field for field in FIELDS if field not in each]
        if missing:
            raise ValueError(f"claim {each.get('claim')!r} of {name} lacks {', '.join(missing)}")
    record = {
        "name": name,
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "machine": machine(),
        "versions": {**installed(PACKAGES), "python": platform.python_version(), **(versions or {})},
        "claims": [dict(each) for each in claims],
        "not_run": list(not_run),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return path


def options(doc: str | None, claims: Iterable[str], *, quick: str) -> argparse.ArgumentParser:
    """--quick and --only, for a script whose docstring is `doc`; `quick` says what it leaves out."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--only", choices=list(claims), help="One claim.")
    return parser


def finish(name: str, claims: Sequence[Mapping[str, Any]], *, not_run: Sequence[str], folder: Path = RESULTS) -> int:
    """Print the claims and write NAME.json of the command that runs. A long script calls it after each part: what is
    cut off keeps what it found. A run with --only takes the place of its claims in a record of more; with --quick, too,
    it leaves that record as it is. The status to exit with: 3 when a bar is missed; a claim without one misses none."""
    print_claims(claims)
    command = " ".join(["python", *(Path(word).name if Path(word).is_absolute() else word for word in sys.argv)])
    if not ("--only" in sys.argv and recorded_claims(name, folder) - {each["claim"] for each in claims}):
        write_result(name, claims, command, not_run=not_run, folder=folder)
    elif "--quick" in sys.argv:
        print(f"not recorded: {name}.json has more claims, of a longer run")
    else:
        replace_claims(name, claims, command, folder=folder)
    return 3 if any(each["holds"] is False for each in claims) else 0


def replace_claims(
    name: str, claims: Sequence[Mapping[str, Any]], command: str, *, folder: Path = RESULTS
) -> None:  # fmt: skip
    """Put these claims into NAME.json, each with "measured": the commit, date, machine and command that it is of."""
    path = folder / f"{name}.json"
    record = json.loads(path.read_text())
    date = datetime.now(UTC).isoformat(timespec="seconds")
    measured = {"commit": commit(), "date": date, "machine": machine(), "command": command}
    fresh = {each["claim"]: {**each, "measured": measured} for each in claims}
    record["claims"] = [fresh.pop(each["claim"], each) for each in record["claims"]] + list(fresh.values())
    record["not_run"] = [each for each in record["not_run"] if each not in {one["claim"] for one in claims}]
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def recorded_claims(name: str, folder: Path = RESULTS) -> set[str]:
    """The names of the claims of NAME.json; none where there is no such record."""
    try:
        return {each["claim"] for each in json.loads((folder / f"{name}.json").read_text())["claims"]}
    except (OSError, ValueError):
        return set()


def found_before(name: str, folder: Path = RESULTS) -> list[dict[str, Any]]:
    """The claims of NAME.json, when it was measured on this very commit, clean, and on this machine: a run that was cut
    off goes on behind them."""
    try:
        record = json.loads((folder / f"{name}.json").read_text())
    except (OSError, ValueError):
        return []
    same = record["commit"] == commit() and "-dirty" not in record["commit"] and record["machine"] == machine()
    return [each for each in record["claims"] if "measured" not in each] if same else []


def commit() -> str:
    """The commit that was measured, with -dirty when tracked or new files differ from it; "unknown" outside git."""
    head = _git("rev-parse", "HEAD")
    if not head:
        return "unknown"
    changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/results", ":!docs/benchmarks.md")
    return head + ("-dirty" if changed else "")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def machine() -> dict[str, Any]:
    """The processor by name, and how many cores this process may use."""
    names = [line.split(":", 1)[1].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": names[0] if names else platform.processor(), "num_cores": num_cores}


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those packages that are installed here."""
    versions = {}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def print_claims(claims: Sequence[Mapping[str, Any]]) -> None:
    """The claims as lines on stdout."""
    print(f"\n{'claim':<44}{'ours':>10}{'rival':>10}{'ratio':>9}{'bar':>11}  holds")
    for each in claims:
        bar = "" if each["bar"] is None else f"{each['op']} {each['bar']:g}"
        holds = {True: "yes", False: "NO", None: "-"}[each["holds"]]
        numbers = "".join(
            f"{'' if each[name] is None else format(each[name], '.4g'):>{width}}"
            for name, width in (("ours", 10), ("rival", 10), ("ratio", 9))
        )
        print(f"{each['claim']:<44}{numbers}{bar:>11}  {holds:<5}{each['rival_name']}")
        if each["note"]:
            print(f"    {each['note']}")
