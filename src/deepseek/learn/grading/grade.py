"""Grades what a learner has made: a copy of the folder, in a process with an end, a line for each check.

    grade_folder(lab, Path("first_bundle"), seed).score         # 0 to 100
    make_data(lab, Path("first_bundle"), seed)                  # the learner's data

Nothing in the learner's folder is changed.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from deepseek.contracts import JsonObject
from deepseek.errors import CheckError, DeepseekError, InputError
from deepseek.learn.definition.lab import CheckTable, Lab
from deepseek.learn.definition.mistakes import COMMON_MISTAKES
from deepseek.learn.grading.records import CheckResult, Grade
from deepseek.learn.grading.runner import PATIENCE, child_environment, stop_group
from deepseek.look.words import Text

MAX_SUBMITTED_BYTES = 500 << 20
MAKE_S = 60.0
MAX_SEED = 2**31
TRACEBACK = "DEEPSEEK_TRACEBACK"
#: Of a folder, what is never graded.
IGNORED = ("__pycache__", ".venv", "venv", ".git", ".ipynb_checkpoints", "node_modules")


def make_data(lab: Lab, folder: Path, seed: int) -> tuple[str, ...]:
    """Write the learner's data of a lab into a folder; the names of its files."""
    with _scratch() as scratch:
        request = {"command": "make", "lab": str(lab.folder), "seed": seed, "target": str(folder.resolve())}
        try:
            lines = list(_run_child(lab, request, scratch, PATIENCE * MAKE_S))
        except _OutOfTimeError as error:
            raise _grader_error(lab, "making the data has not ended") from error
    return tuple(lines[0]["files"])


def grade_folder(
    lab: Lab,
    folder: Path,
    seed: int,
    *,
    fresh_seed: int | None = None,
    on_check: Callable[[CheckResult], None] | None = None,
) -> Grade:
    """Run the checks of a lab on a folder. `fresh_seed`: of inputs that the learner has not seen (None: by chance);
    `on_check` is called after each check; what it raises ends the grading. InputError for a folder that is too large to
    be copied."""
    chance = secrets.randbelow(MAX_SEED) if fresh_seed is None else fresh_seed
    results: list[CheckResult] = []
    changed: list[str] = []
    with _scratch() as scratch:
        copies = [scratch / name for name in ("submitted", "run")]
        for copy in copies:
            copy_submitted(folder, copy)
        request = {
            "command": "grade", "lab": str(lab.folder), "seed": seed, "target": str(copies[0]),
            "run_folder": str(copies[1]), "scratch": str(scratch), "fresh_seed": chance,
        }  # fmt: skip
        # What was not run has not passed. `on_check` may raise: the child is ended before its folder goes.
        child = _run_child(lab, request, scratch, PATIENCE * lab.table.seconds)
        with suppress(_OutOfTimeError), closing(child) as lines:
            for line in lines:
                if "changed_data" in line:
                    changed.append(str(line["changed_data"]))
                    continue
                results.append(read_result(lab, line))
                if on_check is not None:
                    on_check(results[-1])
    known = {result.id for result in results}
    results += [_not_run(lab, check) for check in lab.table.checks if check.id not in known]
    return Grade(lab.id, lab.digest, tuple(results), lab.table.pass_score, tuple(changed))


class _OutOfTimeError(Exception):
    """The process was ended at its limit."""


def read_result(lab: Lab, line: JsonObject) -> CheckResult:
    """A line of the child as a result, with the words of its mistake."""
    check = lab.check(line["check"])
    words: Text | None = None
    if "mistake" in line:
        template = lab.table.mistakes.get(line["mistake"]) or COMMON_MISTAKES[line["mistake"]]
        words = template.fill(line["values"])
    return CheckResult(
        check.id, check.title.text, check.weight, check.essential, words, line.get("mistake", ""), line["num_runs"],
        line["seconds"],
    )  # fmt: skip


def _not_run(lab: Lab, check: CheckTable) -> CheckResult:
    words = Text(
        f"it was not reached: the checks took longer than {PATIENCE * lab.table.seconds:g} seconds in all",
        f"未执行到：全部检查的用时超过 {PATIENCE * lab.table.seconds:g} 秒",
    )
    return CheckResult(check.id, check.title.text, check.weight, check.essential, words, "not_reached", 0, 0.0)


def copy_submitted(folder: Path, target: Path) -> None:
    """Copy a learner's folder, links as links. InputError when it is too large, or holds what cannot be copied."""
    total = 0
    for root, names, files in os.walk(folder):
        names[:] = [name for name in names if name not in IGNORED]
        total += sum(os.lstat(os.path.join(root, name)).st_size for name in files)  # noqa: PTH118  (of os.walk)
        if total > MAX_SUBMITTED_BYTES:
            raise InputError(
                f"{folder} holds more than {MAX_SUBMITTED_BYTES >> 20} MB", expected="what the lab asks for",
                fix="move what does not belong to the lab out of its folder",
            )  # fmt: skip
    try:
        shutil.copytree(folder, target, symlinks=True, ignore=shutil.ignore_patterns(*IGNORED))
    except (OSError, shutil.Error) as error:  # a pipe, a socket, a file without the right to read it
        raise InputError(
            f"{folder} cannot be copied: {str(error)[:200]}",
            expected="files that can be read",
            fix="take that file out",
        ) from error


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="deepseek-learn-", ignore_cleanup_errors=True) as name:
        yield Path(name).resolve()


def _run_child(lab: Lab, request: JsonObject, scratch: Path, limit_s: float) -> Generator[JsonObject]:
    """The lines of the child as they come. CheckError when it fails, which is a fault of the lab."""
    file = scratch / "grade.json"
    file.write_text(json.dumps(request), encoding="utf-8")
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", "deepseek.learn.grading.child", str(file), str(writer), str(os.getpid())],
            cwd=scratch,
            env=child_environment(scratch), stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
            pass_fds=[writer], start_new_session=True,
        )  # fmt: skip
        os.close(writer)
        is_late = threading.Event()
        timer = threading.Timer(limit_s, _end, (child, is_late))
        timer.start()
        try:
            with os.fdopen(reader, encoding="utf-8") as lines:
                for line in lines:
                    yield json.loads(line)
            code = child.wait()
        finally:
            timer.cancel()
            stop_group(child)
        if is_late.is_set():
            raise _OutOfTimeError
        if code:
            errors.seek(0)
            raise _grader_error(lab, errors.read().decode("utf-8", "replace"))


def _end(child: subprocess.Popen[bytes], is_late: threading.Event) -> None:
    is_late.set()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def _grader_error(lab: Lab, output: str) -> DeepseekError:
    """The grader itself has failed: not the learner's fault. The traceback is told only where it is asked for."""
    if os.environ.get(TRACEBACK) == "1":
        sys.stderr.write(output)
    last = output.strip().splitlines()[-1:] or ["it has ended without a word"]
    return CheckError(
        f"the checks of the lab {lab.id} have failed themselves, which is not your mistake: {last[0][:300]}",
        expected="checks that end", fix=f"set {TRACEBACK}=1 to see where, and tell whoever wrote the lab",
    )  # fmt: skip
