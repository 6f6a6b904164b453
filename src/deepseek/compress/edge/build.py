"""Compiles a program, runs it on rows and measures it: outputs, RAM, cold start, latency, size.

with built(files, program, extra) as made:
    ran = run(made, inputs, program)
    ran.outputs, ran.p50_s, ran.most_bytes
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.compress.edge import ctext
from deepseek.compress.edge.program import Program
from deepseek.contracts import Float32
from deepseek.errors import CheckError, ExtraError

NUM_COLD_STARTS = 5  # of which the fastest counts: a start is slowed by others and never sped up
TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came out of one run over N rows."""

    outputs: Float32  # (N, O)
    chosen: NDArray[np.int32]  # (N,)
    p50_s: float
    p99_s: float
    most_bytes: int  # of RAM that the process held at once


def find_compiler() -> str:
    """A C compiler. ExtraError when there is none."""
    wanted = [os.environ.get("CC", ""), "gcc", "cc", "clang"]
    found = next((path for name in wanted if name and (path := shutil.which(name))), None)
    if found is None or shutil.which("make") is None:
        raise ExtraError(
            "there is no C compiler, so the program cannot be held to the model",
            expected="make and one of gcc, cc, clang", fix="apt-get install gcc make",
        )  # fmt: skip
    return found


@contextmanager
def compile_program(folder: Path) -> Iterator[Path]:
    """A copy of `folder` in which the example (model) and the measuring program (measure) are compiled by its own
    Makefile. CheckError, with the compiler's words, when that fails."""
    cc = find_compiler()
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary) / "made"
        shutil.copytree(folder, made, symlinks=True)
        _run_make(made, cc)
        (made / "model").rename(made / "example")
        main = made / "main.c"
        kept = main.read_text("utf-8")
        main.write_text(ctext.read_source("measure.c"), encoding="utf-8")
        _run_make(made, cc)
        (made / "model").rename(made / "measure")
        main.write_text(kept, encoding="utf-8")
        (made / "example").rename(made / "model")
        yield made


def _run_make(folder: Path, cc: str) -> None:
    done = subprocess.run(
        ["make", "-s", f"CC={cc}"], cwd=folder, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
    )
    if done.returncode:
        raise CheckError(
            f"the program does not compile: {done.stderr[-2000:]}", expected="no warning under -Wall -Wextra -pedantic",
            fix="report it as a bug of the export",
        )  # fmt: skip


def run_program(folder: Path, inputs: NDArray[Any], program: Program) -> RunResult:
    """Every row through `measure` in `folder`. CheckError when it fails."""
    done = _run_measure(folder, inputs, program)
    width = program.num_outputs
    kind = np.dtype([("outputs", "<f4", (width,)), ("chosen", "<i4")])
    found = np.frombuffer(done.stdout, kind)
    said = json.loads(done.stderr.splitlines()[-1])
    return RunResult(
        found["outputs"].copy(), found["chosen"].copy(), said["p50_ns"] / 1e9, said["p99_ns"] / 1e9,
        said["most_kb"] * 1024,
    )  # fmt: skip


def cold_start_s(folder: Path, inputs: NDArray[Any], program: Program) -> float:
    """Seconds from starting the process to its end after one row."""
    took = []
    for _ in range(NUM_COLD_STARTS):
        start_s = time.perf_counter()
        _run_measure(folder, inputs[:1], program)
        took.append(time.perf_counter() - start_s)
    return min(took)


def stripped_bytes(folder: Path) -> int:
    """The size of the compiled example without its symbols."""
    path = folder / "model"
    tool = shutil.which("strip")
    if tool is None:
        return path.stat().st_size
    small = folder / "stripped"
    subprocess.run([tool, "-o", str(small), str(path)], check=True, timeout=TIMEOUT_S)
    return small.stat().st_size


def _run_measure(folder: Path, inputs: NDArray[Any], program: Program) -> subprocess.CompletedProcess[bytes]:
    data = np.ascontiguousarray(inputs, "<f8" if program.number == "double" else "<f4").tobytes()
    done = subprocess.run(["./measure"], cwd=folder, input=data, capture_output=True, check=False, timeout=TIMEOUT_S)
    if done.returncode:
        raise CheckError(
            f"the program ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}",
            expected="0", fix="report it as a bug of the export",
        )  # fmt: skip
    return done
