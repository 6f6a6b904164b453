"""Compiles a generated program, runs it on rows and measures outputs, RAM, cold start, latency and size.

with compile_program(folder) as build_folder:
    result = run_program(build_folder, inputs, program)
    result.outputs, result.p50_s, result.peak_bytes
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

NUM_COLD_STARTS = 5  # the fastest counts: other load on the machine slows a start and never speeds it up
TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class RunResult:
    """Outputs, classes, latencies and memory of one run over N rows."""

    outputs: Float32  # (N, O)
    classes: NDArray[np.int32]  # (N,)
    p50_s: float
    p99_s: float
    peak_bytes: int  # peak RAM of the process


def find_compiler() -> str:
    """Path of a C compiler: $CC, gcc, cc or clang. ExtraError when there is none, or no make."""
    candidates = [os.environ.get("CC", ""), "gcc", "cc", "clang"]
    compiler_path = next((path for name in candidates if name and (path := shutil.which(name))), None)
    if compiler_path is None or shutil.which("make") is None:
        raise ExtraError(
            "there is no C compiler, so the program cannot be held to the model",
            expected="make and one of gcc, cc, clang", fix="apt-get install gcc make",
        )  # fmt: skip
    return compiler_path


@contextmanager
def compile_program(folder: Path) -> Iterator[Path]:
    """A temporary copy of `folder` in which its Makefile has compiled the example (model) and the measuring program
    (measure). CheckError, with the compiler's message, when that fails."""
    cc = find_compiler()
    with tempfile.TemporaryDirectory() as temporary:
        build_folder = Path(temporary) / "made"
        shutil.copytree(folder, build_folder, symlinks=True)
        _run_make(build_folder, cc)
        (build_folder / "model").rename(build_folder / "example")
        main = build_folder / "main.c"
        example_main = main.read_text("utf-8")
        main.write_text(ctext.read_source("measure.c"), encoding="utf-8")
        _run_make(build_folder, cc)
        (build_folder / "model").rename(build_folder / "measure")
        main.write_text(example_main, encoding="utf-8")
        (build_folder / "example").rename(build_folder / "model")
        yield build_folder


def _run_make(folder: Path, cc: str) -> None:
    process = subprocess.run(
        ["make", "-s", f"CC={cc}"], cwd=folder, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
    )
    if process.returncode:
        raise CheckError(
            f"the program does not compile: {process.stderr[-2000:]}",
            expected="no warning under -Wall -Wextra -pedantic",
            fix="report it as a bug of the export",
        )  # fmt: skip


def run_program(folder: Path, inputs: NDArray[Any], program: Program) -> RunResult:
    """Run every row through `measure` in `folder`. CheckError when the program fails."""
    process = _run_measure(folder, inputs, program)
    width = program.num_outputs
    record_dtype = np.dtype([("outputs", "<f4", (width,)), ("chosen", "<i4")])
    records = np.frombuffer(process.stdout, record_dtype)
    timing = json.loads(process.stderr.splitlines()[-1])
    return RunResult(
        records["outputs"].copy(), records["chosen"].copy(), timing["p50_ns"] / 1e9, timing["p99_ns"] / 1e9,
        timing["most_kb"] * 1024,
    )  # fmt: skip


def cold_start_s(folder: Path, inputs: NDArray[Any], program: Program) -> float:
    """Seconds from the start of the process to its end after one row, the fastest of NUM_COLD_STARTS."""
    durations_s = []
    for _ in range(NUM_COLD_STARTS):
        start_s = time.perf_counter()
        _run_measure(folder, inputs[:1], program)
        durations_s.append(time.perf_counter() - start_s)
    return min(durations_s)


def stripped_bytes(folder: Path) -> int:
    """Bytes of the compiled example without its symbols."""
    path = folder / "model"
    tool = shutil.which("strip")
    if tool is None:
        return path.stat().st_size
    small = folder / "stripped"
    subprocess.run([tool, "-o", str(small), str(path)], check=True, timeout=TIMEOUT_S)
    return small.stat().st_size


def _run_measure(folder: Path, inputs: NDArray[Any], program: Program) -> subprocess.CompletedProcess[bytes]:
    data = np.ascontiguousarray(inputs, "<f8" if program.number == "double" else "<f4").tobytes()
    process = subprocess.run(["./measure"], cwd=folder, input=data, capture_output=True, check=False, timeout=TIMEOUT_S)
    if process.returncode:
        raise CheckError(
            f"the program ended with {process.returncode}: {process.stderr.decode(errors='replace')[-500:]}",
            expected="0", fix="report it as a bug of the export",
        )  # fmt: skip
    return process
