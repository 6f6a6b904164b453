"""A SavedModel before TensorFlow sees it: its operators and signatures, read out of saved_model.pb.

    contents = check_saved_model(Path("saved_model"))      # InputError by name for what is not converted
    contents.signatures                                    # ("serving_default", ...)

A SavedModel is a program. One that reads or writes files, or calls Python, is never loaded. Source of the field
numbers: saved_model.proto, meta_graph.proto, graph.proto, function.proto, node_def.proto, saved_object_graph.proto and
struct.proto of TensorFlow 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path

from deepseek.engines.convert.source import SAVED_MODEL_FILE
from deepseek.engines.onnx_file.proto import field_bytes, field_text, iterate_fields
from deepseek.errors import InputError
from deepseek.files import read_bounded

MAX_GRAPH_BYTES = 2**31
WEIGHTS_INDEX = "variables/variables.index"
#: TensorFlow would read these instead of, or beside, the file that is checked here.
OTHER_GRAPHS = ("saved_model.cpb", "saved_model.pbtxt")
#: Operators of saving and restoring: TensorFlow writes them into every folder, and no signature needs them.
SAVE_OPERATORS = frozenset(["MergeV2Checkpoints", "Restore", "RestoreV2", "Save", "SaveSlices", "SaveV2"])
#: Operators that call Python, or reach for files or other machines; those of saving and restoring are TensorFlow's own.
UNSAFE_OPERATORS = {
    **dict.fromkeys(["PyFunc", "PyFuncStateless", "EagerPyFunc"], "calls Python"),
    **dict.fromkeys(
        ["ReadFile", "WriteFile", "MatchingFiles", "TextFileReader", "TextLineReader", "TextLineReaderV2",
         "WholeFileReader", "WholeFileReaderV2", "TFRecordReader", "TFRecordReaderV2", "FixedLengthRecordReader",
         "TextLineDataset", "TFRecordDataset", "FixedLengthRecordDataset", "LoadDataset", "SaveDataset",
         "InitializeTableFromTextFile", "PrintV2", "FileSystemSetConfiguration"],
        "reads or writes files",
    ),
    **dict.fromkeys(["RpcCall", "RpcClient", "RpcServer", "DataServiceDataset", "DataServiceDatasetV2", "Send", "Recv"],
                    "reaches other machines"),
}  # fmt: skip
RAGGED_SPEC = 3  # TypeSpecProto.RAGGED_TENSOR_SPEC
#: Fields of a StructuredValue: a type's description; lists and tuples; dictionaries and named tuples, each with the
#: field of its pairs.
SPEC_FIELD, SEQUENCE_FIELDS, PAIRS_FIELDS = 34, (51, 52), {53: 1, 54: 2}
MAX_NESTED = 20  # of a structure of inputs


@dataclass(slots=True)
class SavedModelContents:
    """What saved_model.pb holds."""

    operators: set[str] = field(default_factory=set)
    signatures: set[str] = field(default_factory=set)
    takes_ragged: bool = False  # a function of it does; its signature would show the parts of such a tensor


def check_saved_model(folder: Path, signature: str | None = None) -> SavedModelContents:
    """InputError for an operator that is not run here, no such signature, or weights that are missing."""
    for other in OTHER_GRAPHS:
        if (folder / other).exists():
            raise InputError(
                f"{folder} holds a second graph in {other}", expected=f"{SAVED_MODEL_FILE} alone", fix="export it anew"
            )
    path = folder / SAVED_MODEL_FILE
    data = read_bounded(path, MAX_GRAPH_BYTES, what="a SavedModel", smaller="export it with fewer functions")
    contents = SavedModelContents()
    try:
        for number, value in iterate_fields(memoryview(data)):
            if number == 2:
                _read_meta_graph(field_bytes(value), contents)
    except ValueError as error:
        raise InputError(
            f"{path} is not whole: {error}", expected="what TensorFlow wrote", fix="take an unharmed copy"
        ) from error
    _check_operators(folder, contents)
    serving = sorted(contents.signatures - {"__saved_model_init_op"})
    if not serving or (signature is not None and signature not in serving):
        named = "no signature" if signature is None else f"no signature {signature[:60]!r}"
        raise InputError(
            f"{folder} has {named}", expected=f"one of {', '.join(serving)}" if serving else "a signature to serve",
            fix="name it with --signature" if serving else "export it with model.export(FOLDER)",
        )  # fmt: skip
    if "VarHandleOp" in contents.operators and not (folder / WEIGHTS_INDEX).is_file():
        raise InputError(
            f"{folder} holds no weights: {WEIGHTS_INDEX} is missing", expected="a whole SavedModel",
            fix="copy the folder whole, or export it anew",
        )  # fmt: skip
    return contents


def _check_operators(folder: Path, contents: SavedModelContents) -> None:
    check_operators(str(folder), contents.operators)
    if contents.takes_ragged:
        raise InputError(
            f"{folder} takes ragged tensors", expected="dense tensors",
            fix="pad the sequences before they come to the model, and export it with dense inputs alone",
        )  # fmt: skip
    if "InitializeTableFromTextFileV2" in contents.operators and not (folder / "assets").is_dir():
        raise InputError(
            f"{folder} reads a vocabulary that is not in it", expected="its file in the folder assets",
            fix="copy the folder whole, or export it anew",
        )  # fmt: skip


def check_operators(what: str, operators: Set[str]) -> None:
    """InputError for the first operator that does more than compute. `what`: the model, in words."""
    for operator in sorted(operators):
        if operator in UNSAFE_OPERATORS:
            raise InputError(
                f"{what} {UNSAFE_OPERATORS[operator]} in its operator {operator}, which is never run",
                expected="operators that only compute", fix="export the model without it",
            )  # fmt: skip
        if operator.startswith("Ragged"):
            raise InputError(
                f"{what} works on ragged tensors in its operator {operator}", expected="dense tensors",
                fix="pad the sequences before they come to the model",
            )  # fmt: skip


def check_signature_operators(what: str, operators: Set[str]) -> None:
    """The same for the operators of one signature, which saves and restores nothing either."""
    check_operators(what, operators)
    for operator in sorted(operators & SAVE_OPERATORS):
        raise InputError(
            f"{what} reads or writes files in its operator {operator}, which is never run",
            expected="operators that only compute", fix="export the model without it",
        )  # fmt: skip


def _read_meta_graph(data: memoryview, contents: SavedModelContents) -> None:
    for number, value in iterate_fields(data):
        if number == 2:
            contents.operators.update(_operators(field_bytes(value)))
        elif number == 5:
            for key, part in iterate_fields(field_bytes(value)):
                if key == 1:
                    contents.signatures.add(field_text(part))
        elif number == 7:
            contents.takes_ragged |= any(map(_is_ragged, _input_structures(field_bytes(value))))


def _input_structures(objects: memoryview) -> Iterator[memoryview]:
    """What each function of a SavedObjectGraph takes, a StructuredValue."""
    for number, value in iterate_fields(objects):
        if number == 2:
            for key, function in iterate_fields(field_bytes(value)):
                if key == 2:
                    for part, structure in iterate_fields(field_bytes(function)):
                        if part == 3:
                            yield field_bytes(structure)


def _is_ragged(structure: memoryview, depth: int = 0) -> bool:
    """Whether a ragged tensor is within a StructuredValue."""
    for number, value in iterate_fields(structure):
        if number == SPEC_FIELD and (1, RAGGED_SPEC) in iterate_fields(field_bytes(value)):
            return True
    return depth < MAX_NESTED and any(_is_ragged(each, depth + 1) for each in _values_within(structure))


def _values_within(structure: memoryview) -> Iterator[memoryview]:
    """The StructuredValues of a list, tuple, dictionary or named tuple."""
    for number, value in iterate_fields(structure):
        if number in SEQUENCE_FIELDS:
            yield from (field_bytes(each) for part, each in iterate_fields(field_bytes(value)) if part == 1)
        elif number in PAIRS_FIELDS:
            pairs = (pair for part, pair in iterate_fields(field_bytes(value)) if part == PAIRS_FIELDS[number])
            for pair in pairs:
                yield from (field_bytes(each) for part, each in iterate_fields(field_bytes(pair)) if part == 2)


def _operators(graph: memoryview) -> Iterator[str]:
    """Operators of a GraphDef and of its functions."""
    for number, value in iterate_fields(graph):
        if number == 1:
            yield _operator_of(field_bytes(value))
        elif number == 2:
            for key, function in iterate_fields(field_bytes(value)):
                if key == 1:
                    for part, node in iterate_fields(field_bytes(function)):
                        if part == 3:
                            yield _operator_of(field_bytes(node))


def _operator_of(node: memoryview) -> str:
    return next((field_text(value) for number, value in iterate_fields(node) if number == 2), "")
