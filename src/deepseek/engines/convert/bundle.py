"""A model of another framework -> a bundle that is served without it.

    done = convert_model(Path("model.keras"), Path("rows.npz"), Path("out"))
    done.export, done.agreement.difference

Main path: look at the file -> rows -> the worker loads, answers and exports -> its graph is compared here once more,
and opened as a server opens it -> the bundle is written; where any of that fails, nothing is.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.bundle import EngineEntry, Input, Lineage, Manifest, Output, check_name, check_target, now, write_bundle
from deepseek.bundle.manifest import canonical_json
from deepseek.contracts import Arrays, JsonObject
from deepseek.engines.convert import worker
from deepseek.engines.convert.comparison import LIMIT, Agreement, compare_graph
from deepseek.engines.convert.interpreters import Interpreter, find_interpreter, missing_error
from deepseek.engines.convert.keras_file import check_keras_file
from deepseek.engines.convert.pt2_file import check_pt2_file
from deepseek.engines.convert.rows import ConversionRows, read_rows
from deepseek.engines.convert.saved_model import check_saved_model
from deepseek.engines.convert.source import Source, SourceKind
from deepseek.engines.measuring import MeasuringError, run_in_subprocess
from deepseek.engines.onnx_file import OnnxFile, open_file
from deepseek.engines.onnx_file.contents import examine_file
from deepseek.engines.onnx_file.operators import OperatorLibrary, operator_files
from deepseek.errors import CheckError, DeepseekError, InputError
from deepseek.files import cache_folder
from deepseek.version import __version__

PROCESS_LIMIT_S = 1_800.0
MESSAGES = "messages.txt"  # what a worker writes to stderr
REFERENCE = "onnxruntime"
#: Ways to load each kind, in the order in which they are tried.
LOADERS: dict[SourceKind, tuple[str, ...]] = {
    "keras": ("keras-torch", "keras-tensorflow"), "saved_model": ("saved-model",), "tflite": ("tflite",),
    "pt2": ("torch-export",), "onnx": ("onnx",),
}  # fmt: skip
Progress = Callable[[str, float], object]


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """How a model is converted."""

    python: Path | None = None  # another Python, which has TensorFlow
    signature: str | None = None  # of a SavedModel
    name: str | None = None  # of the bundle; its folder's where there is none
    overwrite: bool = False
    key: Path | None = None  # a private key that signs
    operators: Path | None = None  # a library for onnxruntime, which the bundle is to carry


@dataclass(frozen=True, slots=True)
class ConvertedModel:
    """The bundle that was written."""

    path: Path
    digest: str
    title: str  # of the framework
    export: str  # the way to the graph that agreed
    agreement: Agreement
    num_rows: int  # of the user's that were compared
    inputs: tuple[str, ...]  # described
    outputs: tuple[str, ...]
    size_bytes: int
    cpu_s: float
    wall_s: float


@dataclass(frozen=True, slots=True, eq=False)
class ExportedGraph:
    """A graph of which the worker says that it agrees, and what it is held to."""

    path: Path
    export: str
    attempts: tuple[JsonObject, ...]
    versions: dict[str, str]
    arrays: Arrays
    expected: Arrays


def convert_model(
    source: Path, data: Path, out: Path, options: ConvertOptions | None = None, *, progress: Progress | None = None
) -> ConvertedModel:
    """Write the bundle `out` of the model `source`, held to its own answers on the rows of `data`.

    InputError (MissingError, TooLargeError) names what is not converted; CheckError where no graph agrees; ExtraError
    where no Python has what loads it. Nothing is written then.
    """
    options, report = options or ConvertOptions(), progress or (lambda *_: None)
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    check_target(out, overwrite=options.overwrite, key=options.key)
    name = options.name or out.resolve().name
    check_name(name)
    model = Source.detect(source)
    loaders = find_loaders(model, options)
    library = _read_library(model, options)
    rows = read_rows(data)
    with tempfile.TemporaryDirectory(prefix="deepseek-convert-") as temporary:
        report(f"loading {model.title}", 0.05)
        exported = _export(model, loaders, rows, Path(temporary), options)
        report("comparing the answers", 0.7)
        agreement = compare_graph(exported.path, exported.arrays, exported.expected, rows.num_rows, library)
        if not agreement.holds:
            raise _disagreement(agreement.difference, agreement.num_different, agreement.num_compared)
        report("opening the graph", 0.8)
        file = open_file(exported.path, cache_folder() / "onnx", operators=library)
        manifest = _manifest(model, file, name, agreement, exported)
        files = {worker.GRAPH: exported.path.read_bytes(), **_documents(model, exported, agreement, rows)}
        if library is not None:
            graph = examine_file(exported.path, library)
            files |= operator_files(library, graph.custom_operators, are_defined=graph.defines_all)
        bundle = write_bundle(out, manifest, files, overwrite=options.overwrite, key=options.key)
    return ConvertedModel(
        bundle.path, bundle.digest, model.title, exported.export, agreement, rows.num_rows,
        tuple(f"{spec.name}: {spec.describe()}" for spec in file.signature.inputs),
        tuple(f"{spec.name}: {spec.describe()}" for spec in file.signature.outputs), bundle.size_bytes,
        time.process_time() - start_cpu_s, time.perf_counter() - start_s,
    )  # fmt: skip


def find_loaders(model: Source, options: ConvertOptions) -> tuple[str, ...]:
    """The ways to load a model, after what is known not to work was refused: before a framework sees it."""
    loaders = LOADERS[model.kind]
    if model.kind == "keras":
        takes_texts = check_keras_file(model.path).takes_texts
        loaders = tuple(each for each in loaders if not takes_texts or each == "keras-tensorflow")
    elif model.kind == "saved_model":
        check_saved_model(model.path, options.signature)
    elif model.kind == "pt2":
        check_pt2_file(model.path)
    if options.signature is not None and model.kind != "saved_model":
        raise InputError(
            f"a {model.title} file has no signatures", expected="--signature for a SavedModel alone", fix="leave it out"
        )
    return loaders


def _export(
    model: Source, loaders: tuple[str, ...], rows: ConversionRows, folder: Path, options: ConvertOptions
) -> ExportedGraph:
    """The first graph that agrees, by each loader that some Python here has. Else the error that says most."""
    interpreters = [
        interpreter for loader in loaders if (interpreter := find_interpreter(loader, options.python)) is not None
    ]
    if not interpreters:
        raise missing_error(loaders, options.python)
    attempts: list[JsonObject] = []
    problem: DeepseekError | None = None
    for interpreter in interpreters:
        place = folder / interpreter.loader
        place.mkdir()
        worker.write_rows(place / worker.ROWS, rows.arrays)
        try:
            response = _ask_worker(interpreter, model, rows, place, options)
        except InputError as error:
            problem = problem or error
            attempts.append({"export": interpreter.loader, "problem": error.message[:500]})
            continue
        attempts += response["attempts"]
        if (last := response["attempts"][-1]).get("num_different") == 0:
            return ExportedGraph(
                place / worker.GRAPH, last["export"], tuple(attempts), response["versions"],
                worker.read_arrays(place / worker.ARRAYS), worker.read_arrays(place / worker.EXPECTED),
            )  # fmt: skip
    raise _no_graph_error(attempts, problem)


def _ask_worker(
    interpreter: Interpreter, model: Source, rows: ConversionRows, folder: Path, options: ConvertOptions
) -> JsonObject:
    request: JsonObject = {
        "source": str(model.path.absolute()), "loader": interpreter.loader, "folder": str(folder),
        "num_rows": rows.num_rows, "is_table": rows.is_table,
        "options": _loader_options(model, options),
    }  # fmt: skip
    try:
        return run_in_subprocess(
            "deepseek.engines.convert.worker", request, limit_s=PROCESS_LIMIT_S, python=interpreter.python,
            environment=interpreter.environment(folder), stderr=folder / MESSAGES,
        )  # fmt: skip
    except MeasuringError as error:
        raise InputError(
            f"{model.title} has died over {model.path.name}, or did not end ({error.message}): {_last_words(folder)}",
            expected="a model that can be loaded, run and exported", fix="export it anew, or convert a smaller one",
        ) from error  # fmt: skip


def _loader_options(model: Source, options: ConvertOptions) -> JsonObject:
    if options.operators is not None:
        return {"operators": OperatorLibrary.read(options.operators).to_dict()}
    return {"signature": options.signature} if model.kind == "saved_model" else {}


def _read_library(model: Source, options: ConvertOptions) -> OperatorLibrary | None:
    """The library of operators that the bundle is to carry. InputError unless it goes with an ONNX file that has
    operators of one's own, and the bundle is signed."""
    if options.operators is None:
        return None
    library = OperatorLibrary.read(options.operators)
    if model.kind != "onnx" or not examine_file(model.path, library).custom_operators:
        raise InputError(
            f"{model.path} takes no operators from {options.operators.name}",
            expected="an ONNX file with operators of a domain of your own", fix="leave --operators out",
        )  # fmt: skip
    if options.key is None:
        raise InputError(
            "a bundle with operators holds machine code, and this one would be signed by nobody",
            expected="your private key", fix="deepseek keygen release-key, and give --key release-key",
        )  # fmt: skip
    return library


def _last_words(folder: Path) -> str:
    """The last line that a worker has written."""
    lines = (folder / MESSAGES).read_text("utf-8", errors="replace").split("\n")
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "it wrote nothing")


def _no_graph_error(attempts: list[JsonObject], problem: DeepseekError | None) -> DeepseekError:
    """Answers that differ before an export that failed, and that before a model that could not be loaded."""
    different = [each for each in attempts if each.get("num_different")]
    if different:
        closest = min(different, key=lambda each: (each["num_different"], each["max_difference"] or float("inf")))
        return _disagreement(closest["max_difference"], closest["num_different"], closest["num_compared"])
    failed = [each for each in attempts if "num_compared" not in each]
    if problem is not None and len(failed) == 1:
        return problem
    said = "; ".join(f"{each['export']}: {each['problem']}" for each in failed)
    return InputError(
        f"the model cannot be exported ({said[:900]})",
        expected="operators that have a form in ONNX",
        fix="replace the layer that is named, or export the model to ONNX where it was made",
    )


def _disagreement(difference: float | None, num_different: int, num_compared: int) -> CheckError:
    size = "shape or type" if difference is None else f"{difference:.2g} of the largest answer"
    return CheckError(
        f"the exported graph answers otherwise than the model on {num_different} of {num_compared} rows, by {size}",
        expected=f"differences of at most {LIMIT:g} on the rows of --data, and on others made of them",
        fix="nothing was written; look for what depends on the number of rows, or for operators of low precision",
    )


def _manifest(model: Source, file: OnnxFile, name: str, agreement: Agreement, exported: ExportedGraph) -> Manifest:
    signature = file.signature
    return Manifest(
        name=name, version="1", created=now(), task="tensors", target=signature.outputs[0].name,
        inputs=tuple(Input(spec.name, "tensor", spec.dtype, _sizes(spec.shape[1:])) for spec in signature.inputs),
        outputs=tuple(Output(spec.name, spec.dtype, _sizes(spec.shape[1:])) for spec in signature.outputs),
        engines=(EngineEntry(REFERENCE, worker.GRAPH, agreement.difference, agreement.num_compared),),
        lineage=Lineage(
            parent=model.digest(), config={"source": model.kind, "export": exported.export},
            versions={"deepseek": __version__, **exported.versions},
        ),
    )  # fmt: skip


def _documents(model: Source, exported: ExportedGraph, agreement: Agreement, rows: ConversionRows) -> dict[str, bytes]:
    parity: JsonObject = {
        "source": {"kind": model.kind, "file": model.path.name, "versions": exported.versions},
        "export": exported.export, "attempts": list(exported.attempts), "num_rows": rows.num_rows,
        "num_probes": agreement.num_compared - rows.num_rows, **agreement.to_dict(),
    }  # fmt: skip
    return {"evidence/parity.json": canonical_json(parity)}


def _sizes(shape: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(dim if isinstance(dim, int) else -1 for dim in shape)
