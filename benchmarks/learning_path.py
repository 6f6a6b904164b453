"""The labs of the learning path: references, wrong solutions and copied answers, graded, with the CPU time of each.

    python benchmarks/learning_path.py [--quick] [--only CLAIM] [--workers 4] [--rows FOLDER]

No rival: courses elsewhere grade a quiz in the cloud. Three learners for the references, the first of them for wrong
solutions and copied answers. Solutions stand in tests/learn/solutions. CPU seconds are of the grading and all that it
starts; the reference's own work (training, shipping) counts to the whole path. A run that was cut off goes on where
its rows lie (--rows), and the record says of how many labs they are of an earlier run.
"""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from result import ROOT, claim, finish, options

sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from deepseek.learn.definition.catalog import read_catalog  # noqa: E402
from deepseek.learn.grading.grade import grade_folder  # noqa: E402
from deepseek.learn.learner.place import Learner, lab_seed  # noqa: E402
from deepseek.learn.learner.workspace import begin_lab  # noqa: E402
from learn.solutions.tools import solutions_of  # noqa: E402

LEARNERS = tuple(Learner(digits * 32) for digits in "1a7")
REFERENCES, WRONG, PREPARED = "references graded 100", "wrong solutions refused by name", "wrong solutions prepared"
COPIED, PATH = "another learner's answers refused", "CPU minutes of the whole path"
MEDIAN, LONGEST = "CPU seconds of a check, median", "CPU seconds of a check, longest"
CLAIMS = (REFERENCES, WRONG, PREPARED, COPIED, PATH, MEDIAN, LONGEST)


@dataclass(frozen=True)
class Graded:
    """One grading."""

    lab: str
    kind: str  # reference, wrong or copied
    name: str
    is_right: bool  # 100 points, refused with the mistake, not passed
    cpu_s: float  # of the grading
    work_cpu_s: float  # of what was done before it


def cpu_s() -> float:
    """Of this process's children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def grade_lab(name: str, num_learners: int, *, grades_wrong: bool) -> list[Graded]:
    """All gradings of one lab, with or without those of wrong solutions."""
    lab, solutions, rows = read_catalog(()).lab(name), solutions_of(name), []
    with tempfile.TemporaryDirectory() as base:
        for number, learner in enumerate(LEARNERS[:num_learners]):
            folder, seed = Path(base) / str(number), lab_seed(learner.id, lab.data_seed_name)
            begin_s = cpu_s()
            begin_lab(lab, folder, learner, seed)
            solutions.reference(folder)
            work_s, begin_s = cpu_s() - begin_s, cpu_s()
            grade = grade_folder(lab, folder, seed, fresh_seed=number)
            rows.append(Graded(name, "reference", str(number), grade.score == 100, cpu_s() - begin_s, work_s))
        seed = lab_seed(LEARNERS[0].id, lab.data_seed_name)
        for wrong, code in solutions.WRONG.items() if grades_wrong else ():
            folder = Path(base) / wrong
            shutil.copytree(Path(base) / "0", folder)
            getattr(solutions, wrong)(folder)
            begin_s = cpu_s()
            grade = grade_folder(lab, folder, seed, fresh_seed=3)
            is_right = code in [check.code for check in grade.checks] and grade.score < 100
            rows.append(Graded(name, "wrong", wrong, is_right, cpu_s() - begin_s, 0.0))
        other = lab_seed(LEARNERS[1].id, lab.data_seed_name)
        folder = Path(base) / "copied"
        begin_lab(lab, folder, LEARNERS[1], other)
        for item in lab.table.submits:
            source, target = Path(base) / "0" / item, folder / item
            shutil.copytree(source, target, dirs_exist_ok=True) if source.is_dir() else shutil.copyfile(source, target)
        begin_s = cpu_s()
        grade = grade_folder(lab, folder, other, fresh_seed=3)
        rows.append(Graded(name, "copied", "", not grade.is_passed, cpu_s() - begin_s, 0.0))
    return rows


def rows_file(rows_folder: Path, name: str, num_learners: int, *, grades_wrong: bool) -> Path:
    """Where the rows of one lab are kept."""
    return rows_folder / f"{name}-{num_learners}{'-wrong' if grades_wrong else ''}.json"


def describe_kept(files: list[Path]) -> str:
    """What a note says of rows that earlier runs have left; empty without any."""
    if not files:
        return ""
    times = sorted(file.stat().st_mtime for file in files)
    oldest, newest = (f"{datetime.fromtimestamp(each, UTC):%Y-%m-%d %H:%M}" for each in (times[0], times[-1]))
    return f"; rows of {len(files)} labs are of earlier runs and commits ({oldest} to {newest} UTC)"


def grade_in_process(name: str, num_learners: int, rows_folder: Path | None, *, grades_wrong: bool) -> list[Graded]:
    """As grade_lab(), in a process of its own, so that its CPU time is its own. Rows of such a run that lie in
    `rows_folder` are taken from there."""
    kept = None if rows_folder is None else rows_file(rows_folder, name, num_learners, grades_wrong=grades_wrong)
    if kept is not None and kept.is_file():
        return [Graded(**row) for row in json.loads(kept.read_text("utf-8"))]
    command = [sys.executable, __file__, "--lab", name, "--learners", str(num_learners)]
    if not grades_wrong:
        command.append("--quick")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    print(f"{name}: done", flush=True)
    rows = json.loads(done.stdout.splitlines()[-1])
    if kept is not None:
        kept.write_text(json.dumps(rows), encoding="utf-8")
    return [Graded(**row) for row in rows]


def judge_rows(rows: list[Graded], num_learners: int, kept: str = "") -> list[dict[str, Any]]:
    """The claims; `kept` is said of each that was measured."""
    kinds = {kind: [row for row in rows if row.kind == kind] for kind in ("reference", "wrong", "copied")}
    failed = {kind: [f"{row.lab} {row.name}" for row in each if not row.is_right] for kind, each in kinds.items()}
    first = [row for row in kinds["reference"] if row.name == "0"]
    checks = [row.cpu_s for row in first]
    whole_min = sum(row.cpu_s + row.work_cpu_s for row in first) / 60
    labs, measured = f"{len(first)} labs", f"{len(first)} labs{kept}"

    def share(kind: str) -> float:
        return 1 - len(failed[kind]) / len(kinds[kind])

    def note(kind: str) -> str:
        return f"{len(kinds[kind])} gradings of {measured}" + (
            f"; failed: {', '.join(failed[kind])}" if failed[kind] else ""
        )

    longest = max(first, key=lambda row: row.cpu_s)
    claims = [
        claim(REFERENCES, ours=share("reference"), unit="share", op=">=", bar=1.0, num_seeds=num_learners,
              note=f"{note('reference')}, {num_learners} of {len(LEARNERS)} learners"),
        claim(PREPARED, ours=sum(len(solutions_of(row.lab).WRONG) for row in first), unit="solutions", op=">=", bar=90,
              note=f"of {labs}"),
        claim(COPIED, ours=share("copied"), unit="share", op=">=", bar=1.0, note=note("copied")),
        claim(PATH, ours=whole_min, unit="CPU min", op="<=", bar=60, note=f"references made and graded, of {measured}"),
        claim(MEDIAN, ours=statistics.median(checks), unit="CPU s", op="<=", bar=10, note=measured),
        claim(LONGEST, ours=longest.cpu_s, unit="CPU s", op="<=", bar=120,
              note=longest.lab + kept),
    ]  # fmt: skip
    if kinds["wrong"]:
        claims.insert(1, claim(WRONG, ours=share("wrong"), unit="share", op=">=", bar=1.0, note=note("wrong")))
    return claims


def main() -> int:
    parser = options(__doc__, CLAIMS, quick="One learner, and no wrong solutions.")
    parser.add_argument("--workers", type=int, default=2, help="Labs at a time.")
    parser.add_argument("--lab", help="Grade one lab and print the rows as JSON.")
    parser.add_argument("--learners", type=int, default=len(LEARNERS), help="With --lab.")
    parser.add_argument("--rows", type=Path, help="Keep the rows of each lab there, and take those that lie there.")
    arguments = parser.parse_args()
    if arguments.lab:
        rows = grade_lab(arguments.lab, arguments.learners, grades_wrong=not arguments.quick)
        print(json.dumps([asdict(row) for row in rows]))
        return 0
    num_learners, rows_folder = 1 if arguments.quick else len(LEARNERS), arguments.rows
    if rows_folder is not None:
        rows_folder.mkdir(parents=True, exist_ok=True)
    grade = partial(
        grade_in_process, num_learners=num_learners, rows_folder=rows_folder, grades_wrong=not arguments.quick
    )
    names = [lab.id for lab in read_catalog(()).labs]
    kept = ""
    if rows_folder is not None:
        files = [rows_file(rows_folder, name, num_learners, grades_wrong=not arguments.quick) for name in names]
        kept = describe_kept([file for file in files if file.is_file()])  # before this run adds its own
    with ThreadPoolExecutor(arguments.workers) as pool:
        rows = [row for each in pool.map(grade, names) for row in each]
    claims = [each for each in judge_rows(rows, num_learners, kept) if arguments.only in (None, each["claim"])]
    return finish("learning_path", claims, not_run=["two learners", WRONG] if arguments.quick else [])


if __name__ == "__main__":
    sys.exit(main())
