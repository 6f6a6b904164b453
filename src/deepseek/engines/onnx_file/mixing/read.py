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

from deepseek.engines.onnx_file.contents import MAX_GRAPH_DEPTH
from deepseek.engines.onnx_file.mixing.sizes import known_size
from deepseek.engines.onnx_file.mixing.tensor import RowIndices, TracedTensor, stored_tensor
from deepseek.engines.onnx_file.proto import FieldValue, field_bytes, field_text, iterate_fields

MAX_NUMBERS = 256  # of a constant whose contents are followed
_DTYPES = {1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "u1", 11: "<f8", 12: "<u4", 13: "<u8"}
_INTEGER_TYPES = (6, 7)  # int32 and int64, of which indices are
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
    constants: Mapping[str, TracedTensor]

    def names(self) -> set[str]:
        """Every name that is used in the graph, and in the graphs within it."""
        names = set(self.outputs)
        for node in self.nodes:
            names.update(node.inputs)
            for graph in node.graphs:
                names |= graph.names()
        return names


AttributeValue = (
    int | float | str | TracedTensor | Graph | Reference | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]
)


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of a graph."""

    operator: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, AttributeValue]

    @property
    def graphs(self) -> list[Graph]:
        return [value for value in self.attributes.values() if isinstance(value, Graph)]


@dataclass(frozen=True, slots=True)
class Function:
    """An operator that the file itself defines."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    defaults: Mapping[str, AttributeValue]
    versions: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Model:
    """A whole file. `versions`: of the operator sets, by domain; "ai.onnx" stands as ""."""

    graph: Graph
    versions: Mapping[str, int]
    functions: Mapping[tuple[str, str], Function] = field(default_factory=dict)


def read_model(data: bytes) -> Model:
    """Parse the bytes of a file. ValueError for what is no message."""
    graph, versions = Graph((), (), (), {}), dict[str, int]()
    functions: dict[tuple[str, str], Function] = {}
    for number, value in iterate_fields(memoryview(data)):
        if number == 7:
            graph = _read_graph(field_bytes(value), 0)
        elif number == 8:
            _read_version(field_bytes(value), versions)
        elif number == 25:
            key, function = _read_function(field_bytes(value))
            functions[key] = function
    return Model(graph, versions, functions)


def _normalize_domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _read_version(data: memoryview, versions: dict[str, int]) -> None:
    domain, version = "", 1
    for number, value in iterate_fields(data):
        if number == 1:
            domain = field_text(value)
        elif number == 2:
            version = _read_int(value)
    versions[_normalize_domain(domain)] = version


def _read_graph(data: memoryview, depth: int) -> Graph:
    if depth > MAX_GRAPH_DEPTH:
        raise ValueError("its graphs are nested too deeply")
    nodes, inputs, outputs = [], list[tuple[str, tuple[Dim, ...]]](), []
    constants: dict[str, TracedTensor] = {}
    for number, value in iterate_fields(data):
        if number == 1:
            nodes.append(_read_node(field_bytes(value), depth))
        elif number == 5:
            name, tensor = _read_tensor(field_bytes(value))
            constants[name] = tensor
        elif number == 11:
            inputs.append(_read_value_info(field_bytes(value)))
        elif number == 12:
            outputs.append(_read_value_info(field_bytes(value))[0])
        elif number == 15:
            name, tensor = _read_sparse(field_bytes(value))
            constants[name] = tensor
    return Graph(tuple(nodes), tuple(inputs), tuple(outputs), constants)


def _read_function(data: memoryview) -> tuple[tuple[str, str], Function]:
    name = domain = ""
    inputs, outputs, nodes = [], [], []
    defaults, versions = dict[str, AttributeValue](), dict[str, int]()
    for number, value in iterate_fields(data):
        if number == 1:
            name = field_text(value)
        elif number == 4:
            inputs.append(field_text(value))
        elif number == 5:
            outputs.append(field_text(value))
        elif number == 7:
            nodes.append(_read_node(field_bytes(value), 0))
        elif number == 9:
            _read_version(field_bytes(value), versions)
        elif number == 10:
            domain = field_text(value)
        elif number == 11:
            key, default = _read_attribute(field_bytes(value), 0)
            defaults[key] = default
    return (_normalize_domain(domain), name), Function(tuple(inputs), tuple(outputs), tuple(nodes), defaults, versions)


def _read_node(data: memoryview, depth: int) -> Node:
    operator = domain = ""
    inputs, outputs = [], []
    attributes: dict[str, AttributeValue] = {}
    for number, value in iterate_fields(data):
        if number == 1:
            inputs.append(field_text(value))
        elif number == 2:
            outputs.append(field_text(value))
        elif number == 4:
            operator = field_text(value)
        elif number == 5:
            name, attribute = _read_attribute(field_bytes(value), depth)
            attributes[name] = attribute
        elif number == 7:
            domain = field_text(value)
    return Node(operator, _normalize_domain(domain), tuple(inputs), tuple(outputs), attributes)


def _read_attribute(data: memoryview, depth: int) -> tuple[str, AttributeValue]:
    name, single = "", None
    lists: dict[int, list[AttributeValue]] = {}
    kind = 0
    for number, value in iterate_fields(data):
        if number == 1:
            name = field_text(value)
        elif number == 21:
            return name, Reference(field_text(value))
        elif number == 20:
            kind = _read_int(value)
        elif number in (7, 8, 9):
            lists.setdefault(number, []).extend(_read_list(number, value))
        elif number in _SINGLE_FIELDS:
            single = _read_single(number, value, depth)
    if single is not None:
        return name, single
    values = next(iter(lists.values()), [])
    if not values and kind < 6:  # what is 0 or "" may be left out
        absent: dict[int, AttributeValue] = {1: 0.0, 3: ""}
        return name, absent.get(kind, 0)
    return name, tuple(values)  # type: ignore[return-value]  # of one type, as a list of this kind is


_SINGLE_FIELDS = (2, 3, 4, 5, 6)


def _read_single(number: int, value: FieldValue, depth: int) -> AttributeValue:
    if number == 2:
        return float(struct.unpack("<f", field_bytes(value))[0])
    if number == 3:
        return _read_int(value)
    if number == 4:
        return bytes(field_bytes(value)).decode(errors="replace")
    return _read_tensor(field_bytes(value))[1] if number == 5 else _read_graph(field_bytes(value), depth + 1)


def _read_list(number: int, value: FieldValue) -> list[AttributeValue]:
    """The numbers of a list, which may be packed, or one text."""
    if number == 9:
        return [bytes(field_bytes(value)).decode(errors="replace")]
    if number == 7:
        return list(np.frombuffer(field_bytes(value), "<f4").tolist())
    return [_read_int(value)] if isinstance(value, int) else list(_read_varints(value))


def _read_varints(data: memoryview) -> list[int]:
    """Packed whole numbers."""
    numbers, number, shift = [], 0, 0
    for byte in bytes(data):
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            numbers.append(_to_signed(number))
            number = shift = 0
    return numbers


def _read_int(value: FieldValue) -> int:
    if not isinstance(value, int):
        raise ValueError("a message stands where a number should")
    return _to_signed(value)


def _to_signed(number: int) -> int:
    number &= _WRAP - 1
    return number - _WRAP if number & _SIGN else number


def _read_value_info(data: memoryview) -> tuple[str, tuple[Dim, ...]]:
    """Name and shape of an input or output; ValueInfoProto."""
    name, dims = "", list[Dim]()
    for number, value in iterate_fields(data):
        if number == 1:
            name = field_text(value)
        elif number == 2:
            for kind, tensor in iterate_fields(field_bytes(value)):
                for part, shape in iterate_fields(field_bytes(tensor)) if kind == 1 else ():
                    if part == 2:
                        dims = [
                            _read_dim(field_bytes(dim))
                            for field_number, dim in iterate_fields(field_bytes(shape))
                            if field_number == 1
                        ]
    return name, tuple(dims)


def _read_dim(data: memoryview) -> Dim:
    size: Dim = None
    for number, value in iterate_fields(data):
        if number == 1:
            size = _read_int(value)
        elif number == 2:
            size = field_text(value)
    return size


def _read_sparse(data: memoryview) -> tuple[str, TracedTensor]:
    """Name and shape of a sparse tensor; the name is that of its values."""
    name, dims = "", list[int]()
    for number, value in iterate_fields(data):
        if number == 1:
            name = _read_tensor(field_bytes(value))[0]
        elif number == 3:
            dims.extend([_read_int(value)] if isinstance(value, int) else _read_varints(value))
    return name, TracedTensor(None, tuple(map(known_size, dims)))


def _read_tensor(data: memoryview) -> tuple[str, TracedTensor]:
    """Name, shape, and the numbers where they are few and in this file."""
    name, dims, kind, is_external, raw = "", list[int](), 0, False, None
    typed: list[tuple[int, FieldValue]] = []
    for number, value in iterate_fields(data):
        if number == 1:
            dims.extend([_read_int(value)] if isinstance(value, int) else _read_varints(value))
        elif number == 2:
            kind = _read_int(value)
        elif number in (4, 5, 7, 10, 11):
            typed.append((number, value))
        elif number == 8:
            name = field_text(value)
        elif number == 9:
            raw = field_bytes(value)
        elif number in (13, 14):
            is_external = is_external or number == 13 or value == _EXTERNAL
    shape, length = tuple(map(known_size, dims)), math.prod(dims)
    if is_external or kind not in _DTYPES:
        return name, TracedTensor(None, shape)
    if length > MAX_NUMBERS:
        return name, TracedTensor(None, shape, numbering=_index_limit(raw, kind, length))
    numbers = _typed_numbers(typed) if raw is None else np.frombuffer(raw, _DTYPES[kind]).tolist()
    if len(numbers) != length or not all(math.isfinite(number) for number in numbers):
        return name, TracedTensor(None, shape)
    return name, stored_tensor(shape, numbers)


def _index_limit(raw: memoryview | None, kind: int, length: int) -> RowIndices | None:
    """The indices of a longer whole-number tensor, by the limit below which they are; None where one is below 0."""
    if raw is None or kind not in _INTEGER_TYPES or len(raw) != length * np.dtype(_DTYPES[kind]).itemsize:
        return None
    numbers = np.frombuffer(raw, _DTYPES[kind])
    return RowIndices(known_size(0), known_size(int(numbers.max()) + 1)) if numbers.min() >= 0 else None


def _typed_numbers(typed: list[tuple[int, FieldValue]]) -> list[float]:
    """The numbers of the fields that have a type of their own."""
    numbers: list[float] = []
    for number, value in typed:
        if isinstance(value, int):
            numbers.append(_to_signed(value))
        elif number in (4, 10):
            numbers.extend(np.frombuffer(value, "<f4" if number == 4 else "<f8").tolist())
        else:
            numbers.extend(_read_varints(value))
    return numbers
