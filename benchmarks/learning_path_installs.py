"""Each lab of the learning path where only its own extras are installed: does the reference still get 100 points?

    python benchmarks/learning_path_installs.py [--quick] [--lab LAB] [--folder ENVIRONMENTS]

For each set of extras that labs name, a virtual environment with the wheel of this checkout and these extras, as a
learner's; in it the reference of each such lab is made and graded for one learner. Environments stay in --folder (some
GB) and serve again; without it they are made anew. No rival: courses elsewhere bring their own machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from result import ROOT, claim, finish, options

sys.path[:0] = [str(ROOT / "src")]

from deepseek.learn.definition.catalog import read_catalog  # noqa: E402

GRADED = "references graded 100 with the extras alone that their labs name"


def labs_by_extras(only: str | None) -> Mapping[tuple[str, ...], list[str]]:
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for lab in read_catalog(()).labs:
        if only in (None, lab.id):
            groups[tuple(sorted(lab.table.installs))].append(lab.id)
    return groups


def build_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def make_environment(folder: Path, wheel: Path, extras: tuple[str, ...]) -> Path:
    """The Python of an environment with the wheel and these extras; the package itself is always this checkout's."""
    place = folder / ("-".join(extras) or "base")
    python, is_made = place / "bin" / "python", place / "made"
    if not is_made.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"{wheel}[{','.join(extras)}]" if extras else str(wheel)], check=True)
        is_made.touch()
    return python


def grade(python: Path, lab: str) -> tuple[bool, str]:
    """Whether the reference got all points there, and else the last line that says why."""
    script = ROOT / "benchmarks" / "learning_path.py"
    command = [python, script, "--lab", lab, "--learners", "1", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error:" in line.casefold()]
        return False, (lines or done.stderr.splitlines() or ["no word"])[-1][:200]
    rows: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return all(row["is_right"] for row in rows if row["kind"] == "reference"), "fewer points"


def main() -> int:
    parser = options(__doc__, (GRADED,), quick="Labs without torch alone; nothing is recorded.")
    parser.add_argument("--lab", help="This lab alone; nothing is recorded.")
    parser.add_argument("--folder", type=Path, help="Where the environments lie.")
    arguments = parser.parse_args()
    groups = labs_by_extras(arguments.lab)
    if arguments.quick:
        groups = {extras: labs for extras, labs in groups.items() if not {"train", "keras-convert"} & set(extras)}
    failed, total = [], 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = (arguments.folder or Path(scratch) / "environments").resolve()
        wheel = build_wheel(Path(scratch))
        for extras, labs in groups.items():
            python = make_environment(folder, wheel, extras)
            for lab in labs:
                is_right, problem = grade(python, lab)
                print(f"{lab} ({', '.join(extras) or 'no extra'}): {'100 points' if is_right else problem}", flush=True)
                total += 1
                failed += [] if is_right else [f"{lab}: {problem}"]
    if arguments.lab or arguments.quick:
        return 3 if failed else 0
    note = f"{total} labs; " + ("; ".join(failed) or "none fails")
    graded = claim(GRADED, ours=1 - len(failed) / total, unit="share", op=">=", bar=1.0, note=note)
    return finish("learning_path_installs", [graded], not_run=[])


if __name__ == "__main__":
    sys.exit(main())
