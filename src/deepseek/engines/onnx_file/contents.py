"""What an ONNX file holds, before anything runs it: its operators, the files that it refers to, its digest.

    contents = examine(Path("model.onnx"))      # refuses operators of others, and files outside of its folder

Source of the field numbers: onnx.proto3 of ONNX 1.19 (ModelProto, GraphProto, NodeProto, AttributeProto, TensorProto).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from deepseek.engines.onnx_file.proto import FieldValue, field_bytes, field_text, iterate_fields
from deepseek.errors import InputError, IntegrityError, MissingError
from deepseek.files import read_bounded

if TYPE_CHECKING:
    from deepseek.engines.onnx_file.operators import OperatorLibrary

MAX_GRAPH_BYTES = 2**31  # no message of protocol buffers is longer; weights may stand in files beside it
#: The standard, and what every build of onnxruntime has besides.
STANDARD_DOMAINS = frozenset(["", "ai.onnx", "ai.onnx.ml", "com.microsoft"])
#: Operators that draw numbers. A Dropout may have been left in its training mode.
RANDOM_OPERATORS = frozenset(
    [
        "Bernoulli", "BiasDropout", "BitmaskBiasDropout", "BitmaskDropout", "Dropout", "Multinomial", "RandomNormal",
        "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Sampling",
    ]
)  # fmt: skip
MAX_GRAPH_DEPTH = 32  # of graphs in the nodes of graphs
_READ_BYTES = 1 << 20
_EXPORT_AGAIN = "export it again, or take an unharmed copy"
_EXTERNAL = 1  # TensorProto.DataLocation


@dataclass(slots=True)
class GraphContents:
    """What decides whether a file is run: its operators, the files that it refers to, its digest."""

    digest: str = ""
    has_graph: bool = False
    operators: set[tuple[str, str]] = field(default_factory=set)  # domain and name
    functions: set[tuple[str, str]] = field(default_factory=set)  # operators that the file itself defines
    locations: set[str] = field(default_factory=set)  # of weights in other files

    @property
    def custom_operators(self) -> frozenset[tuple[str, str]]:
        """Domain and name of those that are not of the standard, whether or not the file itself defines them."""
        return frozenset(operator for operator in self.operators if operator[0] not in STANDARD_DOMAINS)

    @property
    def defines_all(self) -> bool:
        """Whether the file itself defines each of these by standard ones."""
        return self.custom_operators <= self.functions

    @property
    def is_random(self) -> bool:
        """Whether an operator may draw numbers, so that the same inputs get other answers."""
        return any(name in RANDOM_OPERATORS for _, name in self.operators)


def examine_file(path: Path, operators: OperatorLibrary | None = None) -> GraphContents:
    """Read the parts of an ONNX file that decide whether it is run; `operators`: a library that brings more of them.
    MissingError, TooLargeError, IntegrityError (no ONNX, or cut) or InputError (what is not run here): all of them
    name the file."""
    data = read_bounded(path, MAX_GRAPH_BYTES, what="an ONNX file", smaller="save its weights as external data")
    contents = GraphContents()
    try:
        _read_model(memoryview(data), contents)
    except ValueError as error:
        raise IntegrityError(
            f"{path} is no ONNX file, or not whole: {error}", expected="what an exporter wrote", fix=_EXPORT_AGAIN
        ) from error
    if not contents.has_graph:
        raise IntegrityError(f"{path} holds no graph", expected="an ONNX model", fix=_EXPORT_AGAIN)
    unknown = contents.custom_operators - contents.functions
    if operators is not None:
        unknown = frozenset(operator for operator in unknown if not operators.provides(operator))
    if unknown:
        named = ", ".join(f"{domain}.{name}"[:100] for domain, name in sorted(unknown)[:5])
        raise InputError(
            f"{path} uses operators that are not of the standard: {named}",
            expected="operators of ONNX and ONNX-ML, or functions that the file itself defines",
            fix="export the model without them, or convert it with the library that has them (--operators)",
        )
    digest = hashlib.sha256(data)
    for location in sorted(contents.locations):
        digest.update(f"\0{location}\0".encode() + _file_digest(_external_data_path(path, location)))
    contents.digest = f"sha256:{digest.hexdigest()}"
    return contents


def _external_data_path(path: Path, location: str) -> Path:
    """The path of a file of external data. InputError unless it lies in the folder of the model, whatever links lead
    there."""
    parts = PurePosixPath(location)
    folder = path.parent.resolve()
    unsafe = not location or "\0" in location or "\\" in location or parts.is_absolute() or ".." in parts.parts
    target = folder if unsafe else (folder / location).resolve()
    if unsafe or not target.is_relative_to(folder):
        raise InputError(
            f"{path} refers to weights in {location[:200]!r}, which is outside of its folder",
            expected=f"files in {folder}",
            fix="save the model with its weights beside it",
        )
    if not target.is_file():
        raise MissingError(
            f"{path} refers to weights in {location[:200]!r}, which is not there",
            expected=f"that file in {folder}",
            fix="copy the files of weights together with the model",
        )
    return target


def _file_digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_READ_BYTES):
                digest.update(piece)
    except OSError as error:
        raise MissingError(
            f"{path} cannot be read: {error.strerror}", expected="a file of weights", fix=_EXPORT_AGAIN
        ) from error
    return digest.digest()


def _read_model(data: memoryview, contents: GraphContents) -> None:
    for number, value in iterate_fields(data):
        if number == 7:
            contents.has_graph = True
            _read_graph(field_bytes(value), contents, 0)
        elif number == 25:
            _read_function(field_bytes(value), contents)


def _read_function(data: memoryview, contents: GraphContents) -> None:
    name = domain = ""
    for number, value in iterate_fields(data):
        if number == 1:
            name = field_text(value)
        elif number == 10:
            domain = field_text(value)
        elif number == 7:
            _read_node(field_bytes(value), contents, 0)
        elif number == 11:
            _read_attribute(field_bytes(value), contents, 0)
    contents.functions.add((domain, name))


def _read_graph(data: memoryview, contents: GraphContents, depth: int) -> None:
    if depth > MAX_GRAPH_DEPTH:
        raise ValueError("its graphs are nested too deeply")
    for number, value in iterate_fields(data):
        if number == 1:
            _read_node(field_bytes(value), contents, depth)
        elif number == 5:
            _read_tensor(field_bytes(value), contents)
        elif number == 15:
            _read_sparse(value, contents)


def _read_node(data: memoryview, contents: GraphContents, depth: int) -> None:
    name = domain = ""
    for number, value in iterate_fields(data):
        if number == 4:
            name = field_text(value)
        elif number == 7:
            domain = field_text(value)
        elif number == 5:
            _read_attribute(field_bytes(value), contents, depth)
    contents.operators.add((domain, name))


def _read_attribute(data: memoryview, contents: GraphContents, depth: int) -> None:
    for number, value in iterate_fields(data):
        if number in (5, 10):
            _read_tensor(field_bytes(value), contents)
        elif number in (6, 11):
            _read_graph(field_bytes(value), contents, depth + 1)
        elif number in (22, 23):
            _read_sparse(value, contents)


def _read_sparse(value: FieldValue, contents: GraphContents) -> None:
    for number, part in iterate_fields(field_bytes(value)):
        if number in (1, 2):
            _read_tensor(field_bytes(part), contents)


def _read_tensor(data: memoryview, contents: GraphContents) -> None:
    is_external, location = False, None
    for number, value in iterate_fields(data):
        if number == 14:
            is_external = value == _EXTERNAL
        elif number == 13:
            entry = {key: field_text(part) for key, part in iterate_fields(field_bytes(value))}
            if entry.get(1) == "location":
                location = entry.get(2, "")
    if is_external or location is not None:  # whoever reads it may go by either
        contents.locations.add(location or "")
