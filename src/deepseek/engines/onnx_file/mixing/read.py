"""The graph of an ONNX file as far as its operators are followed: nodes, shapes of inputs, small constants.

    model = read_model(path.read_bytes())
    model.graph.nodes[0].operator

It needs no library: a server may have neither onnx nor the memory for its objects. ValueError for bytes that are no
message. Source of the field numbers: onnx.proto3 of ONNX 1.23.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from deepseek.engines.onnx_file.contents import MAX_DEPTH
from deepseek.engines.onnx_file.mixing.sizes import known
from deepseek.engines.onnx_file.mixing.tensor import Numbering, Tensor, contents
from deepseek.engines.onnx_file.proto import Value, fields, message, text

MAX_NUMBERS = 256  # of a constant whose contents are followed
_DTYPES = {1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "u1", 11: "<f8", 12: "<u4", 13: "<u8"}
_WHOLE = (6, 7)  # int32 and int64, of which places are
_EXTERNAL = 1  # TensorProto.DataLocation
_SIGN, _WRAP = 1 << 63, 1 << 64
Dim = int | str | None


@dataclass(frozen=True, slots=True)
class Reference:
    """An attribute of a function's node: the value of that name where the function is called."""

    name: str


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in the order in which they run."""

    nodes: tuple[Node, ...]
    inputs: tuple[tuple[str, tuple[Dim, ...]], ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, Tensor]

    def names(self) -> set[str]:
        """Every name that is used in it, and in the graphs in it."""
        found = set(self.outputs)
        for node in self.nodes:
            found.update(node.inputs)
            for graph in node.graphs:
                found |= graph.names()
        return found


Found = int | float | str | Tensor | Graph | Reference | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One operation."""

    operator: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Found]

    @property
    def graphs(self) -> list[Graph]:
        return [found for found in self.attributes.values() if isinstance(found, Graph)]


@dataclass(frozen=True, slots=True)
class Function:
    """An operator that the file itself defines."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    defaults: Mapping[str, Found]
    versions: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Model:
    """What a file holds. `versions`: of the operator sets, by domain; "ai.onnx" stands as ""."""

    graph: Graph
    versions: Mapping[str, int]
    functions: Mapping[tuple[str, str], Function] = field(default_factory=dict)


def read_model(data: bytes) -> Model:
    """The model of a file's bytes."""
    graph, versions = Graph((), (), (), {}), dict[str, int]()
    functions: dict[tuple[str, str], Function] = {}
    for number, value in fields(memoryview(data)):
        if number == 7:
            graph = _graph(message(value), 0)
        elif number == 8:
            _read_version(message(value), versions)
        elif number == 25:
            key, function = _function(message(value))
            functions[key] = function
    return Model(graph, versions, functions)


def _plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _read_version(data: memoryview, versions: dict[str, int]) -> None:
    domain, version = "", 1
    for number, value in fields(data):
        if number == 1:
            domain = text(value)
        elif number == 2:
            version = _whole(value)
    versions[_plain(domain)] = version


def _graph(data: memoryview, depth: int) -> Graph:
    if depth > MAX_DEPTH:
        raise ValueError("its graphs are nested too deeply")
    nodes, inputs, outputs = [], list[tuple[str, tuple[Dim, ...]]](), []
    constants: dict[str, Tensor] = {}
    for number, value in fields(data):
        if number == 1:
            nodes.append(_node(message(value), depth))
        elif number == 5:
            name, tensor = _tensor(message(value))
            constants[name] = tensor
        elif number == 11:
            inputs.append(_end(message(value)))
        elif number == 12:
            outputs.append(_end(message(value))[0])
        elif number == 15:
            name, tensor = _sparse(message(value))
            constants[name] = tensor
    return Graph(tuple(nodes), tuple(inputs), tuple(outputs), constants)


def _function(data: memoryview) -> tuple[tuple[str, str], Function]:
    name = domain = ""
    inputs, outputs, nodes = [], [], []
    defaults, versions = dict[str, Found](), dict[str, int]()
    for number, value in fields(data):
        if number == 1:
            name = text(value)
        elif number == 4:
            inputs.append(text(value))
        elif number == 5:
            outputs.append(text(value))
        elif number == 7:
            nodes.append(_node(message(value), 0))
        elif number == 9:
            _read_version(message(value), versions)
        elif number == 10:
            domain = text(value)
        elif number == 11:
            key, default = _attribute(message(value), 0)
            defaults[key] = default
    return (_plain(domain), name), Function(tuple(inputs), tuple(outputs), tuple(nodes), defaults, versions)


def _node(data: memoryview, depth: int) -> Node:
    operator = domain = ""
    inputs, outputs = [], []
    attributes: dict[str, Found] = {}
    for number, value in fields(data):
        if number == 1:
            inputs.append(text(value))
        elif number == 2:
            outputs.append(text(value))
        elif number == 4:
            operator = text(value)
        elif number == 5:
            name, found = _attribute(message(value), depth)
            attributes[name] = found
        elif number == 7:
            domain = text(value)
    return Node(operator, _plain(domain), tuple(inputs), tuple(outputs), attributes)


def _attribute(data: memoryview, depth: int) -> tuple[str, Found]:
    name, single = "", None
    lists: dict[int, list[Found]] = {}
    kind = 0
    for number, value in fields(data):
        if number == 1:
            name = text(value)
        elif number == 21:
            return name, Reference(text(value))
        elif number == 20:
            kind = _whole(value)
        elif number in (7, 8, 9):
            lists.setdefault(number, []).extend(_listed(number, value))
        elif number in _ONE:
            single = _single(number, value, depth)
    if single is not None:
        return name, single
    found = next(iter(lists.values()), [])
    if not found and kind < 6:  # what is 0 or "" may be left out
        absent: dict[int, Found] = {1: 0.0, 3: ""}
        return name, absent.get(kind, 0)
    return name, tuple(found)  # type: ignore[return-value]  # of one type, as a list of this kind is


_ONE = (2, 3, 4, 5, 6)


def _single(number: int, value: Value, depth: int) -> Found:
    if number == 2:
        return float(struct.unpack("<f", message(value))[0])
    if number == 3:
        return _whole(value)
    if number == 4:
        return bytes(message(value)).decode(errors="replace")
    return _tensor(message(value))[1] if number == 5 else _graph(message(value), depth + 1)


def _listed(number: int, value: Value) -> list[Found]:
    """Numbers of a list, which may be packed, or one text."""
    if number == 9:
        return [bytes(message(value)).decode(errors="replace")]
    if number == 7:
        return list(np.frombuffer(message(value), "<f4").tolist())
    return [_whole(value)] if isinstance(value, int) else list(_varints(value))


def _varints(data: memoryview) -> list[int]:
    """Packed whole numbers."""
    found, number, shift = [], 0, 0
    for byte in bytes(data):
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            found.append(_signed(number))
            number = shift = 0
    return found


def _whole(value: Value) -> int:
    if not isinstance(value, int):
        raise ValueError("a message stands where a number should")
    return _signed(value)


def _signed(number: int) -> int:
    number &= _WRAP - 1
    return number - _WRAP if number & _SIGN else number


def _end(data: memoryview) -> tuple[str, tuple[Dim, ...]]:
    """Name and shape of an input or output; ValueInfoProto."""
    name, dims = "", list[Dim]()
    for number, value in fields(data):
        if number == 1:
            name = text(value)
        elif number == 2:
            for kind, tensor in fields(message(value)):
                for part, shape in fields(message(tensor)) if kind == 1 else ():
                    if part == 2:
                        dims = [_dim(message(dim)) for at, dim in fields(message(shape)) if at == 1]
    return name, tuple(dims)


def _dim(data: memoryview) -> Dim:
    found: Dim = None
    for number, value in fields(data):
        if number == 1:
            found = _whole(value)
        elif number == 2:
            found = text(value)
    return found


def _sparse(data: memoryview) -> tuple[str, Tensor]:
    """Only its name and shape; the name is that of its values."""
    name, dims = "", list[int]()
    for number, value in fields(data):
        if number == 1:
            name = _tensor(message(value))[0]
        elif number == 3:
            dims.extend([_whole(value)] if isinstance(value, int) else _varints(value))
    return name, Tensor(None, tuple(map(known, dims)))


def _tensor(data: memoryview) -> tuple[str, Tensor]:
    """Name, shape, and the numbers where they are few and in this file."""
    name, dims, kind, is_external, raw = "", list[int](), 0, False, None
    typed: list[tuple[int, Value]] = []
    for number, value in fields(data):
        if number == 1:
            dims.extend([_whole(value)] if isinstance(value, int) else _varints(value))
        elif number == 2:
            kind = _whole(value)
        elif number in (4, 5, 7, 10, 11):
            typed.append((number, value))
        elif number == 8:
            name = text(value)
        elif number == 9:
            raw = message(value)
        elif number in (13, 14):
            is_external = is_external or number == 13 or value == _EXTERNAL
    shape, length = tuple(map(known, dims)), math.prod(dims)
    if is_external or kind not in _DTYPES:
        return name, Tensor(None, shape)
    if length > MAX_NUMBERS:
        return name, Tensor(None, shape, numbering=_places(raw, kind, length))
    numbers = _numbers(typed) if raw is None else np.frombuffer(raw, _DTYPES[kind]).tolist()
    if len(numbers) != length or not all(math.isfinite(number) for number in numbers):
        return name, Tensor(None, shape)
    return name, contents(shape, numbers)


def _places(raw: memoryview | None, kind: int, length: int) -> Numbering | None:
    """Below which the whole numbers of a longer tensor are, where none is below 0."""
    if raw is None or kind not in _WHOLE or len(raw) != length * np.dtype(_DTYPES[kind]).itemsize:
        return None
    numbers = np.frombuffer(raw, _DTYPES[kind])
    return Numbering(known(0), known(int(numbers.max()) + 1)) if numbers.min() >= 0 else None


def _numbers(typed: list[tuple[int, Value]]) -> list[float]:
    """Of fields that have a type."""
    found: list[float] = []
    for number, value in typed:
        if isinstance(value, int):
            found.append(_signed(value))
        elif number in (4, 10):
            found.extend(np.frombuffer(value, "<f4" if number == 4 else "<f8").tolist())
        else:
            found.extend(_varints(value))
    return found
