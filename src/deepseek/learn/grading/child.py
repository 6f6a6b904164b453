"""The process that grades: python -m deepseek.learn.grading.child REQUEST REPORT PID

It alone runs checks.py of a lab. REQUEST is JSON (ChildRequest), REPORT an open file descriptor to which it writes a
line of JSON for each check as it ends; it ends with the process PID that has started it. An error that is no Mistake is
one of the lab's, and ends the process.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

from deepseek.contracts import JsonObject
from deepseek.engines.lifetime import end_with_parent
from deepseek.errors import DeepseekError, InputError
from deepseek.learn.definition.lab import CHECKS, Lab, read_lab
from deepseek.learn.definition.mistakes import COMMON_MISTAKES
from deepseek.learn.grading.kit import DataFolder, Mistake, Work
from deepseek.learn.grading.runner import RunPlace

NUM_RUNS_OF_NOISY = 2  # before a check fails whose figure depends on chance
SEED_STEP = 7_919  # between the inputs of two runs
ENDLESS = "solution_endless"
SHARE_AFTER_ENDLESS = 0.1  # of the time of a call, for the checks behind one whose call has not ended


@dataclass(frozen=True, slots=True)
class ChildRequest:
    """What the process is to do."""

    command: Literal["make", "grade"]
    lab: str  # its folder
    seed: int  # of the learner for this lab
    target: str  # make: where to; grade: a copy of what was handed in
    run_folder: str = ""  # another copy, where code runs
    scratch: str = ""
    fresh_seed: int = 0
    seconds: float = 60.0


def main(request_path: str, descriptor: str, parent_pid: str) -> None:
    end_with_parent(int(parent_pid), by_kernel=False)  # a thread may have started it
    request = ChildRequest(**json.loads(Path(request_path).read_bytes()))
    lab = read_lab(Path(request.lab), COMMON_MISTAKES)
    module = load_checks(lab)
    out = int(descriptor)
    if request.command == "make":
        data = DataFolder(Path(request.target), request.seed)
        module.make(data)
        _write(out, {"files": sorted(data.files)})
        return
    truth = _restore_data(module, request, out)
    limit_s = lab.table.seconds
    for check in lab.table.checks:
        line = run_check(lab, module, request, check.id, truth, limit_s)
        if line.get("mistake") == ENDLESS:  # the learner waits for all of them
            limit_s = lab.table.seconds * SHARE_AFTER_ENDLESS
        _write(out, line)


def load_checks(lab: Lab) -> ModuleType:
    """checks.py of a lab, run."""
    spec = importlib.util.spec_from_file_location(f"checks_of_{lab.id}", lab.folder / CHECKS)
    if spec is None or spec.loader is None:
        raise InputError(f"{lab.folder / CHECKS} cannot be run", expected="Python", fix="mend it")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def run_check(
    lab: Lab, module: ModuleType, request: ChildRequest, name: str, truth: object, limit_s: float
) -> JsonObject:
    """What becomes of one check, as a line of the report; `limit_s`: of a processor, most that one call may take."""
    check, begin_s = lab.check(name), time.monotonic()
    place = RunPlace(Path(request.run_folder), Path(request.scratch), lab.table.memory_mb, limit_s)
    function = getattr(module, f"check_{name}")
    mistake, num_runs = None, 0
    for run in range(NUM_RUNS_OF_NOISY if check.noisy else 1):
        num_runs += 1
        work = Work(Path(request.target), place, request.seed, request.fresh_seed + SEED_STEP * run, truth)
        try:
            function(work)
            mistake = None
            break
        except Mistake as error:
            mistake = error
            if error.code == ENDLESS:  # no chance: it would be waited for twice
                break
        except DeepseekError as error:  # a bundle that takes other columns, an answer that is no number
            mistake = Mistake("unusable", problem=error.message)
    seconds = round(time.monotonic() - begin_s, 3)
    line: JsonObject = {"check": name, "num_runs": num_runs, "seconds": seconds}
    if mistake is not None:
        line |= {"mistake": mistake.code, "values": mistake.values}
    return line


def _restore_data(module: ModuleType, request: ChildRequest, out: int) -> object:
    """Make the learner's data again and put it over what was handed in; a file that differed is reported."""
    again = Path(request.scratch) / "data"
    again.mkdir()
    data = DataFolder(again, request.seed)
    truth: object = module.make(data)
    for name in data.files:
        content = (again / name).read_bytes()
        for folder in (Path(request.target), Path(request.run_folder)):
            path = folder / name
            if path.is_file() and _digest(path.read_bytes()) == _digest(content):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            if str(folder) == request.target:
                _write(out, {"changed_data": name})
    return truth


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(descriptor: int, line: JsonObject) -> None:
    os.write(descriptor, json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
