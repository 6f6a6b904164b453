"""The gate before lossy precisions: measured once for a machine, a model and a tolerance, kept beside other caches.

gate = PrecisionGate(Tolerance(min_cosine=0.98), texts=None, cache=Path("~/.cache/deepseek/lossy"))
choice = gate.choose(TextModel.open("./all-MiniLM"))            # seconds the first time, in a process of its own
TextEngine.from_options("./all-MiniLM", choice.options)         # options can be sent to another process
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepseek.bundle.place import exclusive_writer
from deepseek.contracts import JsonObject
from deepseek.engines.measuring import answer_stdin, describe_machine, run_in_subprocess
from deepseek.engines.text.serve.calibrate import SAMPLE_TEXTS
from deepseek.engines.text.serve.engine import TextEngineOptions
from deepseek.engines.text.serve.model import TextModel
from deepseek.engines.text.serve.quantize import ranges_from_bytes, ranges_to_bytes
from deepseek.engines.text.tuning.tune import choose_precision
from deepseek.engines.tolerance import Tolerance
from deepseek.errors import InputError, IntegrityError, MissingError, TooLargeError
from deepseek.files import atomic_file

if TYPE_CHECKING:
    from deepseek.engines.onnx_file.rows import RowsFile

MAX_TEXTS = 1_000
MAX_TEXTS_BYTES = 4 * 2**20
TIMING_BUDGET_S = 10.0  # of timing, beside opening and calibrating
LOCK_WAIT_S = 600.0  # for another front end that measures the same
#: What an option of --lossy is called, and the field that it sets.
TOLERANCE_FIELDS = {"cosine": "min_cosine", "difference": "max_difference", "agreement": "min_agreement"}
_EXPECTED = "cosine=0.99,difference=0.1,agreement=0.99, or some of these"


@dataclass(frozen=True, slots=True)
class GateResult:
    """The precision that the gate has let pass."""

    options: TextEngineOptions  # to open an engine with
    table: list[JsonObject]  # the figures of each precision that was measured, as PrecisionChoice.to_dict() has them


@dataclass(frozen=True, slots=True)
class PrecisionGate:
    """What a user has allowed. `texts` should be like those that will be asked; without any, built-in ones stand in.
    `rows`: the same for models of tables and tensors, where no stand-ins are as good."""

    tolerance: Tolerance | None  # None: only exact engines may take the place of OpenVINO in float32
    texts: Sequence[str] | None
    cache: Path
    rows: RowsFile | None = None

    def choose(self, model: TextModel) -> GateResult:
        """The fastest precision that passes; measured when the cache does not know it. Errors as tune.choose()."""
        texts = list(self.texts or built_in_texts())
        machine = describe_machine("openvino", "torch", "transformers")
        key = json.dumps([model.digest, machine, _tolerance_fields(self.tolerance), texts], sort_keys=True)
        path = self.cache / hashlib.sha256(key.encode()).hexdigest()
        if (result := _read_cached(path)) is not None:
            return result
        try:
            self.cache.mkdir(parents=True, exist_ok=True)
            with exclusive_writer(path, LOCK_WAIT_S):  # side by side, measurements would slow each other down
                result = _read_cached(path)
                if result is None:
                    _measure_in_process(model.path, texts, self.tolerance, path)
                    result = _read_cached(path)
        except OSError as error:
            raise InputError(
                f"{self.cache} cannot be written to: {error.strerror}",
                expected="a folder for what was measured",
                fix="set XDG_CACHE_HOME to a folder that can be written to",
            ) from error
        if result is None:
            raise IntegrityError(f"{path} was taken away", expected="a cache of our own", fix="start the server again")
        return result


def parse_tolerance(text: str) -> Tolerance:
    """The tolerance that the words of a command line state.

    >>> parse_tolerance("cosine=0.98,difference=0.05").min_cosine
    0.98
    """
    limits: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = (word.strip() for word in part.partition("="))
        try:
            limits[TOLERANCE_FIELDS[name]] = float(number)
        except (KeyError, ValueError) as error:
            raise InputError(
                f"{part[:60]!r} states no tolerance", expected=_EXPECTED, fix="write it as in the example"
            ) from error
    return Tolerance(**limits)


def read_texts(path: Path) -> list[str]:
    """The lines of a file that are not empty. MissingError for no file; TooLargeError for too many lines; InputError
    for none, and for bytes that are no UTF-8."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TEXTS_BYTES + 1)
    except OSError as error:
        raise MissingError(
            f"{path} cannot be read: {error.strerror}", expected="a file with a text on each line", fix="check the path"
        ) from error
    try:
        texts = [line for line in data.decode().splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8", expected="a text on each line", fix="save it as UTF-8") from error
    if len(data) > MAX_TEXTS_BYTES or len(texts) > MAX_TEXTS:
        raise TooLargeError(
            f"{path} has too many texts", expected=f"at most {MAX_TEXTS} lines", fix="take a sample of them"
        )
    if not texts:
        raise InputError(f"{path} holds no text", expected="a text on each line", fix="some hundred are best")
    return texts


def built_in_texts() -> list[str]:
    """Texts of one to six sentences: enough to compare on, few enough for a start of some seconds.

    >>> len(built_in_texts())
    96
    """
    count = len(SAMPLE_TEXTS)
    return [
        " ".join(SAMPLE_TEXTS[(start + 5 * step) % count] for step in range(length))
        for length in (1, 2, 3, 6)
        for start in range(count)
    ]


def _read_cached(path: Path) -> GateResult | None:
    """The result of an earlier measurement; None when there is none, or when it is not whole."""
    try:
        choice = json.loads(path.with_suffix(".json").read_bytes())
        table = list(choice["table"])
        options: TextEngineOptions = {"precision": choice["precision"]}
        if options["precision"] == "int8":
            options["ranges"] = path.with_suffix(".safetensors").read_bytes()
            ranges_from_bytes(options["ranges"])
    except (OSError, ValueError, KeyError, TypeError, IntegrityError):
        return None
    return GateResult(options, table)


def _tolerance_fields(tolerance: Tolerance | None) -> dict[str, float] | None:
    return None if tolerance is None else asdict(tolerance)


def _measure_in_process(model: Path, texts: Sequence[str], tolerance: Tolerance | None, path: Path) -> None:
    """Measure in a process of its own, whose end frees the memory of four engines, and write the choice to `path`."""
    job = {"path": str(model), "texts": texts, "tolerance": _tolerance_fields(tolerance), "place": str(path)}
    run_in_subprocess("deepseek.engines.text.tuning.gate", job)


def _write_choice(job: JsonObject) -> JsonObject:
    """The other end of _measure_in_process()."""
    path = Path(job["place"])
    tolerance = None if job["tolerance"] is None else Tolerance(**job["tolerance"])
    choice = choose_precision(job["path"], job["texts"], tolerance, budget_s=TIMING_BUDGET_S)
    if choice.ranges is not None:
        with atomic_file(path.with_suffix(".safetensors")) as part:
            part.write_bytes(ranges_to_bytes(choice.ranges))
    with atomic_file(path.with_suffix(".json")) as part:
        part.write_text(json.dumps(choice.to_dict()))
    return {}


if __name__ == "__main__":
    answer_stdin(_write_choice)
