"""Opens an ONNX file for serving: looked at here, tried and measured in a process of its own, once for a machine.

    found = open_file(Path("model.onnx"), Path("~/.cache/deepseek/onnx"))
    found.signature, found.engines, found.table      # names and shapes, engine by rows, the figures of each engine

What was found is kept by the digest of the file with its weights, the machine, and the libraries that compute. Where
the folder for that cannot be written to, it is measured at each start.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepseek.bundle.place import exclusive_writer
from deepseek.engines.first_run import current_limits
from deepseek.engines.measuring import MeasuringError, describe_machine, run_in_subprocess
from deepseek.engines.onnx_file.contents import GraphContents, examine_file
from deepseek.engines.onnx_file.probed_range import ProbedRange
from deepseek.engines.onnx_file.rows import RowsFile
from deepseek.engines.onnx_file.signature import Signature
from deepseek.errors import DeepseekError, IntegrityError
from deepseek.files import atomic_file

if TYPE_CHECKING:
    from deepseek.engines.tolerance import Tolerance

BUDGET_S = 2.0  # of timing, beside opening
PROCESS_LIMIT_S = 300.0  # that opening and timing may take
LOCK_WAIT_S = 1_000.0  # for another front end that measures the same
#: Part of what a record is kept by: what another version has found is not used again.
VERSION = 4
REFERENCE = "onnxruntime"


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A file that can be served."""

    path: Path
    digest: str
    signature: Signature
    engines: tuple[tuple[str, int], ...]  # kind, and from how many rows on
    tried: ProbedRange  # within which inputs others than the reference compute
    table: tuple[Mapping[str, Any], ...] = ()  # what was measured
    int8: tuple[str, str] | None = None  # the copy of the graph in int8 that some engine runs: its path and digest
    is_random: bool = False  # whether the same inputs may get other answers
    mixed: str = ""  # the operator by which rows may change each other's answers, where one keeps requests apart

    def spec(self) -> dict[str, Any]:
        """What GraphEngines.open takes, in plain values."""
        return {
            "path": str(self.path),
            "digest": self.digest,
            "signature": self.signature.to_dict(),
            "engines": [list(engine) for engine in self.engines],
            "tried": self.tried.to_dict(),
            "int8": None if self.int8 is None else list(self.int8),
        }


def open_file(
    path: Path, cache: Path | None = None, *, tolerance: Tolerance | None = None, rows: RowsFile | None = None
) -> OnnxFile:
    """Errors as those of contents.examine() and tune.open_first(). `tolerance` lets lossy engines be measured, too, on
    `rows` where they are given."""
    path = path.absolute()
    contents = examine_file(path)
    digest = contents.digest
    limits = None if tolerance is None else asdict(tolerance)
    libraries = describe_machine("onnxruntime", "onnxruntime-gpu", "openvino", "onnx")
    key = [VERSION, digest, libraries, limits, rows and rows.digest]
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    with contextlib.ExitStack() as stack:
        cache_file = None
        if cache is not None:
            with contextlib.suppress(OSError):
                if (cached := _read_cached(cache / f"{name}.json", path, contents)) is not None:
                    return cached
                cache.mkdir(parents=True, exist_ok=True)
                cache_file = cache / f"{name}.json"
                stack.enter_context(
                    exclusive_writer(cache_file, LOCK_WAIT_S)
                )  # side by side, measurements would slow each other down
        if cache_file is not None and (cached := _read_cached(cache_file, path, contents)) is not None:
            return cached
        record = _measure_in_subprocess(path, limits, rows, cache_file and cache_file.with_suffix(".int8.onnx"))
        if examine_file(path).digest != digest:
            raise IntegrityError(
                f"{path} was changed while it was opened", expected="a file that is whole", fix="start again"
            )
        if cache_file is not None:
            with contextlib.suppress(OSError), atomic_file(cache_file) as part:
                part.write_text(json.dumps(record))
    return _file_from_record(record, path, contents)


def _measure_in_subprocess(
    path: Path, limits: Mapping[str, Any] | None, rows: RowsFile | None, int8_file: Path | None
) -> dict[str, Any]:
    request: dict[str, Any] = {"path": str(path), "limits": limits, "budget_s": BUDGET_S, "only": ""}
    request |= {"rows": rows and [str(rows.path), rows.digest], "int8_file": int8_file and str(int8_file)}
    request["first_run"] = current_limits().to_dict()
    module = "deepseek.engines.onnx_file.tune"
    try:
        record: dict[str, Any] = run_in_subprocess(module, request, limit_s=PROCESS_LIMIT_S)
    except MeasuringError:  # an engine took the process with it: the reference alone
        try:
            record = run_in_subprocess(module, request | {"only": REFERENCE}, limit_s=PROCESS_LIMIT_S)
        except MeasuringError as error:
            raise IntegrityError(
                f"{path} cannot be opened: {error.message}",
                expected="a graph on which onnxruntime neither crashes nor hangs",
                fix="export it again, or take an unharmed copy; one that is too large for the memory needs more of it",
            ) from error
    return record


def _read_cached(cache_file: Path, path: Path, contents: GraphContents) -> OnnxFile | None:
    """What was found before; None when there is nothing, or not all of it."""
    try:
        return _file_from_record(json.loads(cache_file.read_bytes()), path, contents)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, DeepseekError):
        return None


def _file_from_record(record: Mapping[str, Any], path: Path, contents: GraphContents) -> OnnxFile:
    engines = tuple((str(kind), int(size)) for kind, size in record["engines"])
    if not engines or engines[0][1] != 1:
        raise ValueError("no engine for one row")
    signature, tried = Signature.from_dict(record["signature"]), ProbedRange.from_dict(record["tried"])
    int8 = None
    if (copy := record.get("int8")) is not None:
        int8 = (str(copy[0]), str(copy[1]))
        if examine_file(Path(int8[0])).digest != int8[1]:
            raise ValueError("the copy in int8 was changed")
    table = tuple(record["table"])
    mixed = str(record["mixed"])
    return OnnxFile(path, contents.digest, signature, engines, tried, table, int8, contents.is_random, mixed)
