"""What choosing by measurement needs, whatever is measured: a process of its own, the name of the machine, a clock.

    found = run_in_subprocess("deepseek.engines.text.tuning.gate", {"path": "..."})        # what its main() wrote to
    stdout
    machine("openvino")                                                      # what timings hold for

A process gives back what several engines take, and a library that crashes takes no server with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from deepseek import errors
from deepseek.engines.lifetime import end_with_parent
from deepseek.errors import DeepseekError

Rows = TypeVar("Rows")
MAX_CALLS = 50


class MeasuringError(DeepseekError):
    """The process that measured has died, or said nothing that can be read."""


def run_in_subprocess(module: str, asked: Mapping[str, Any], *, limit_s: float | None = None) -> Any:
    """What `python -m module` answers on stdout to `asked`, both JSON. {"wrong": {...}} is raised as the error that it
    was there; MeasuringError when the process has died, or was killed after `limit_s`."""
    try:
        ran = subprocess.run(
            [sys.executable, "-m", module, str(os.getpid())],
            input=json.dumps(asked).encode(), stdout=subprocess.PIPE, timeout=limit_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise MeasuringError(
            f"measuring did not end within {limit_s:.0f} s", expected="a model that answers", fix="serve a smaller one"
        ) from error
    try:
        found = json.loads(ran.stdout)
    except ValueError:
        raise MeasuringError(
            f"measuring ended with {ran.returncode}", expected="0", fix="see what it has written to stderr"
        ) from None
    if wrong := found.get("wrong"):
        kind = getattr(errors, wrong.pop("kind", ""), DeepseekError)
        raise kind(wrong["message"], expected=wrong["expected"], fix=wrong["fix"])
    return found


def answer_stdin(work: Callable[[Any], Mapping[str, Any]]) -> None:
    """The other end, which ends with the one that asks: the question from stdin, what `work` makes of it, or what went
    wrong, to stdout. What libraries print there meanwhile goes to stderr."""
    end_with_parent(int(sys.argv[1]))
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        found = dict(work(json.load(sys.stdin)))
    except DeepseekError as error:
        found = {"wrong": error.to_dict() | {"kind": type(error).__name__}}
    with open(stdout, "w", encoding="utf-8") as file:  # noqa: PTH123  (a descriptor)
        json.dump(found, file)


def describe_machine(*libraries: str) -> str:
    """What a timing holds for: the processor, GPUs, and the libraries that compute."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    shown = "".join(f", {library} {_installed_version(library)}" for library in libraries)
    gpus = "".join(f", GPU {found}" for found in _gpu_names())
    return f"{platform.machine()} {cpu or platform.processor()}{gpus}{shown}"


def _gpu_names() -> list[str]:
    """What NVIDIA's driver says of each, in the order of their places."""
    found = []
    for place in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        with contextlib.suppress(OSError):
            first = place.read_text(errors="replace").partition("\n")[0]
            found.append(first.partition(":")[2].strip())
    return found


def _installed_version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"


def lower_quartile_s(
    rows_of: Callable[[int], Rows], run: Callable[[Rows], object], limit_s: float, clock: Callable[[], float]
) -> float:
    """Lower quartile of the seconds of up to MAX_CALLS calls within `limit_s`, at least 2, after one that warms up.

    Each call gets other rows than the one before: `rows_of(0)`, `rows_of(1)`, ... A processor learns by heart which way
    32 rows go through 100 trees: asked the same ones again, onnxruntime takes 1.1 us a row, and with new ones, as they
    come to a server, 3.6 us.
    """
    run(rows_of(0))
    seconds: list[float] = []
    started_s = perf_counter()
    for number in range(1, MAX_CALLS + 1):
        rows = rows_of(number)
        call_s = clock()
        run(rows)
        seconds.append(clock() - call_s)
        if perf_counter() - started_s > limit_s and number >= 2:
            break
    return sorted(seconds)[len(seconds) // 4]
