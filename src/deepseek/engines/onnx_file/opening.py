"""Opens an ONNX file for serving: examined here, tried and measured in a process of its own, once for a machine.

    file = open_file(Path("model.onnx"), Path("~/.cache/deepseek/onnx"))
    file.signature, file.engines, file.table      # names and shapes, engine by rows, the figures of each engine

What was measured is kept by the digest of the file with its weights, the machine, and the libraries that compute. Where
the folder for that cannot be written to, it is measured at each start.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from deepseek.bundle.place import exclusive_writer
from deepseek.contracts import JsonObject
from deepseek.engines.first_run import current_limits
from deepseek.engines.measuring import (
    EngineMeasurement,
    MeasuringError,
    describe_machine,
    read_engines,
    run_in_subprocess,
)
from deepseek.engines.onnx_file.contents import GraphContents, examine_file
from deepseek.engines.onnx_file.operators import OperatorLibrary
from deepseek.engines.onnx_file.probed_range import ProbedRange
from deepseek.engines.onnx_file.rows import RowsFile
from deepseek.engines.onnx_file.signature import Signature
from deepseek.errors import DeepseekError, IntegrityError
from deepseek.files import atomic_file

if TYPE_CHECKING:
    from deepseek.engines.onnx_file.engine import GraphSpec
    from deepseek.engines.tolerance import Tolerance

BUDGET_S = 2.0  # of timing, beside opening
PROCESS_LIMIT_S = 300.0  # that opening and timing may take
LOCK_WAIT_S = 1_000.0  # for another front end that measures the same
#: Part of what a record is kept by: what another version has measured is not used again.
VERSION = 4
REFERENCE = "onnxruntime"


@dataclass(frozen=True, slots=True)
class FileMeasurement:
    """What was measured of a file on this machine: kept in the cache, and passed on by the process that measured."""

    signature: Signature
    engines: tuple[tuple[str, int], ...]  # kind, and from how many rows on
    probed: ProbedRange  # within which inputs others than the reference compute
    table: tuple[EngineMeasurement, ...]
    mixed: str = ""  # the operator by which rows may change each other's answers, where one keeps requests apart
    int8: tuple[str, str] | None = None  # the copy of the graph in int8 that some engine runs: its path and digest

    @classmethod
    def from_dict(cls, document: JsonObject) -> FileMeasurement:
        """Read what to_dict() gave. KeyError, TypeError, ValueError or AttributeError for anything else."""
        copy = document.get("int8")
        return cls(
            Signature.from_dict(document["signature"]), read_engines(document["engines"]),
            ProbedRange.from_dict(document["tried"]), tuple(map(EngineMeasurement.from_dict, document["table"])),
            str(document["mixed"]), None if copy is None else (str(copy[0]), str(copy[1])),
        )  # fmt: skip

    def to_dict(self) -> JsonObject:
        """For the cache, or another process."""
        document: JsonObject = {
            "signature": self.signature.to_dict(),
            "engines": [list(engine) for engine in self.engines],
            "tried": self.probed.to_dict(),
            "table": [row.to_dict() for row in self.table],
            "mixed": self.mixed,
        }
        return document if self.int8 is None else document | {"int8": list(self.int8)}


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A file that can be served: its path and digest, and what was measured of it."""

    path: Path
    digest: str
    measured: FileMeasurement
    is_random: bool = False  # whether the same inputs may get other answers
    operators: OperatorLibrary | None = None  # that it is computed with

    @property
    def signature(self) -> Signature:
        return self.measured.signature

    @property
    def engines(self) -> tuple[tuple[str, int], ...]:
        return self.measured.engines

    @property
    def table(self) -> tuple[EngineMeasurement, ...]:
        return self.measured.table

    @property
    def int8(self) -> tuple[str, str] | None:
        return self.measured.int8

    @property
    def mixed(self) -> str:
        return self.measured.mixed

    def with_engine(self, kind: str) -> OnnxFile:
        """The same file, computed by one kind of engine whatever was measured."""
        return replace(self, measured=replace(self.measured, engines=((kind, 1),)))

    def spec(self) -> GraphSpec:
        """What GraphEngines.open takes, in this process or another."""
        return {
            "path": str(self.path),
            "digest": self.digest,
            "signature": self.signature.to_dict(),
            "engines": list(self.engines),
            "tried": self.measured.probed.to_dict(),
            "int8": self.int8,
            "operators": None if self.operators is None else self.operators.to_dict(),
        }


def open_file(
    path: Path,
    cache: Path | None = None,
    *,
    tolerance: Tolerance | None = None,
    rows: RowsFile | None = None,
    operators: OperatorLibrary | None = None,
) -> OnnxFile:
    """Open the file at `path`: out of `cache` where it was measured before, else measured in a process of its own.

    `tolerance` lets lossy engines be measured, too, on `rows` where they are given; a graph with a library of
    `operators` is computed by onnxruntime alone. Errors are those of contents.examine_file() and tune.measure_file().
    """
    path = path.absolute()
    contents = examine_file(path, operators)
    digest = contents.digest
    limits = None if tolerance is None else asdict(tolerance)
    libraries = describe_machine("onnxruntime", "onnxruntime-gpu", "openvino", "onnx")
    key = [VERSION, digest, libraries, limits, rows and rows.digest, *([operators.sha256] if operators else [])]
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    with contextlib.ExitStack() as stack:
        cache_file = None
        if cache is not None:
            with contextlib.suppress(OSError):
                if (cached := _read_cached(cache / f"{name}.json", path, contents, operators)) is not None:
                    return cached
                cache.mkdir(parents=True, exist_ok=True)
                cache_file = cache / f"{name}.json"
                # side by side, measurements would slow each other down
                stack.enter_context(exclusive_writer(cache_file, LOCK_WAIT_S))
        if cache_file is not None and (cached := _read_cached(cache_file, path, contents, operators)) is not None:
            return cached
        int8_file = cache_file and cache_file.with_suffix(".int8.onnx")
        measured = _measure_in_subprocess(path, limits, rows, int8_file, operators)
        if examine_file(path, operators).digest != digest:
            raise IntegrityError(
                f"{path} was changed while it was opened", expected="a file that is whole", fix="start again"
            )
        if cache_file is not None:
            with contextlib.suppress(OSError), atomic_file(cache_file) as part:
                part.write_text(json.dumps(measured.to_dict()))
    return OnnxFile(path, digest, measured, contents.is_random, operators)


def _measure_in_subprocess(
    path: Path, limits: Mapping[str, float] | None, rows: RowsFile | None, int8_file: Path | None,
    operators: OperatorLibrary | None,
) -> FileMeasurement:  # fmt: skip
    """Run tune.measure_file() in another process; where that dies, once more for the reference alone."""
    request: JsonObject = {"path": str(path), "limits": limits, "budget_s": BUDGET_S, "only": ""}
    request |= {"rows": rows and [str(rows.path), rows.digest], "int8_file": int8_file and str(int8_file)}
    request["first_run"] = current_limits().to_dict()
    request["operators"] = operators and operators.to_dict()
    module = "deepseek.engines.onnx_file.tune"
    try:
        record = run_in_subprocess(module, request, limit_s=PROCESS_LIMIT_S)
    except MeasuringError:  # an engine took the process with it: the reference alone
        try:
            record = run_in_subprocess(module, request | {"only": REFERENCE}, limit_s=PROCESS_LIMIT_S)
        except MeasuringError as error:
            raise IntegrityError(
                f"{path} cannot be opened: {error.message}",
                expected="a graph on which onnxruntime neither crashes nor hangs",
                fix="export it again, or take an unharmed copy; one that is too large for the memory needs more of it",
            ) from error
    return FileMeasurement.from_dict(record)


def _read_cached(
    cache_file: Path, path: Path, contents: GraphContents, operators: OperatorLibrary | None
) -> OnnxFile | None:
    """What was measured before; None when there is nothing, or the copy in int8 is gone or changed."""
    try:
        measured = FileMeasurement.from_dict(json.loads(cache_file.read_bytes()))
        if measured.int8 is not None and examine_file(Path(measured.int8[0])).digest != measured.int8[1]:
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, DeepseekError):
        return None
    return OnnxFile(path, contents.digest, measured, contents.is_random, operators)
