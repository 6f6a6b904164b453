"""What choosing by measurement needs, whatever is measured: a process of its own, the name of the machine, a clock.

    response = run_in_subprocess("deepseek.engines.text.tuning.gate", {"path": "..."})    # what that module wrote
    describe_machine("openvino")                                                          # what timings hold for

A process gives back what several engines take, and a library that crashes takes no server with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from deepseek import errors
from deepseek.contracts import JsonObject
from deepseek.engines.lifetime import end_with_parent
from deepseek.errors import DeepseekError

Rows = TypeVar("Rows")
MAX_CALLS = 50


@dataclass(frozen=True, slots=True)
class EngineMeasurement:
    """What was measured of one kind of engine: whether its answers pass, and if so how long its calls take."""

    kind: str  # "" for a reason why nothing was measured
    passes: bool
    says: str = ""  # why it does not pass, where its answers could not even be compared
    figures: Mapping[str, float | None] = field(default_factory=dict)  # name of a distance from the exact answers -> it
    seconds: Mapping[int, float] = field(default_factory=dict)  # rows of a call -> seconds that it takes

    @classmethod
    def from_dict(cls, document: JsonObject) -> EngineMeasurement:
        """Read what to_dict() gave. KeyError, TypeError, ValueError or AttributeError for anything else."""
        figures = dict(document)
        kind, passes, says = figures.pop("kind", ""), bool(figures.pop("passes")), figures.pop("says", "")
        seconds = {int(size): float(call_s) for size, call_s in figures.pop("seconds", {}).items()}
        return cls(str(kind), passes, str(says), figures, seconds)

    def to_dict(self) -> JsonObject:
        """A row of the table that a server logs."""
        document: JsonObject = {"kind": self.kind, "passes": self.passes} if self.kind else {"passes": self.passes}
        if self.says:
            return document | {"says": self.says}
        return document | dict(self.figures) | {"seconds": {str(size): call_s for size, call_s in self.seconds.items()}}


@dataclass(frozen=True, slots=True)
class LossyEngines:
    """The engines of a bundle that were measured on this machine and kept within a Tolerance."""

    engines: tuple[tuple[str, int], ...]  # kind, and from how many rows on; the first from 1
    int8: tuple[str, str] | None  # the graph's copy that some engine runs: its path and sha256
    table: tuple[EngineMeasurement, ...] = ()  # what was measured

    @classmethod
    def from_dict(cls, document: JsonObject) -> LossyEngines:
        """Read what to_dict() gave. KeyError, TypeError, ValueError or AttributeError for anything else."""
        copy, table = document["int8"], tuple(map(EngineMeasurement.from_dict, document["table"]))
        return cls(read_engines(document["engines"]), None if copy is None else (str(copy[0]), str(copy[1])), table)

    def to_dict(self) -> JsonObject:
        """For a file, or another process."""
        return {
            "engines": [list(engine) for engine in self.engines],
            "int8": None if self.int8 is None else list(self.int8),
            "table": [row.to_dict() for row in self.table],
        }


def read_engines(pairs: Sequence[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """[kind, first number of rows] pairs out of a JSON document. ValueError where none computes a single row."""
    engines = tuple((str(kind), int(size)) for kind, size in pairs)
    if not engines or engines[0][1] != 1:
        raise ValueError("no engine for one row")
    return engines


class MeasuringError(DeepseekError):
    """The process that measured has died, or wrote nothing that can be read."""


def run_in_subprocess(
    module: str, request: JsonObject, *, limit_s: float | None = None, python: Path | None = None,
    environment: Mapping[str, str] | None = None, stderr: Path | None = None,
) -> JsonObject:  # fmt: skip
    """Run `python -m module` with `request` as JSON on stdin and return the JSON that it writes to stdout. Another
    `python`, another `environment`, and a file for what it says on stderr, where they are given.

    An error that it reports as {"wrong": {...}} is raised here as the same class; MeasuringError when the process has
    died, or was killed after `limit_s`.
    """
    try:
        with contextlib.nullcontext() if stderr is None else stderr.open("wb") as messages:
            process = subprocess.run(
                [str(python or sys.executable), "-m", module, str(os.getpid())], env=environment, timeout=limit_s,
                input=json.dumps(request).encode(), stdout=subprocess.PIPE, stderr=messages, check=False,
            )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise MeasuringError(
            f"measuring did not end within {limit_s:.0f} s", expected="a model that answers", fix="serve a smaller one"
        ) from error
    try:
        response: JsonObject = json.loads(process.stdout)
    except ValueError:
        raise MeasuringError(
            f"measuring ended with {process.returncode}", expected="0", fix="see what it has written to stderr"
        ) from None
    if error_fields := response.get("wrong"):
        kind = getattr(errors, error_fields.pop("kind", ""), DeepseekError)
        raise kind(error_fields["message"], expected=error_fields["expected"], fix=error_fields["fix"])
    return response


def answer_stdin(handle: Callable[[JsonObject], Mapping[str, Any]]) -> None:
    """The process's side of run_in_subprocess(): read the request from stdin, write what `handle` returns, or its
    error, to stdout. It ends when its parent ends. What libraries print to stdout meanwhile goes to stderr."""
    end_with_parent(int(sys.argv[1]))
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        response = dict(handle(json.load(sys.stdin)))
    except DeepseekError as error:
        response = {"wrong": error.to_dict() | {"kind": type(error).__name__}}
    with open(stdout, "w", encoding="utf-8") as file:  # noqa: PTH123  (a descriptor)
        json.dump(response, file)


def describe_machine(*libraries: str) -> str:
    """The text by which timings are kept: the processor, GPUs, and the versions of the libraries that compute."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    versions = "".join(f", {library} {_installed_version(library)}" for library in libraries)
    gpu_text = "".join(f", GPU {name}" for name in _gpu_names())
    return f"{platform.machine()} {cpu or platform.processor()}{gpu_text}{versions}"


def _gpu_names() -> list[str]:
    """Names of NVIDIA's GPUs as the driver states them, in the order of their slots."""
    names = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        with contextlib.suppress(OSError):
            line = path.read_text(errors="replace").partition("\n")[0]
            names.append(line.partition(":")[2].strip())
    return names


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
