"""A small writer of ONNX graphs: nodes and constants with names that follow from their order, so that equal models give
equal bytes. No dates, no versions of this package. What is there already is not written again: members of an ensemble
share the preparation of their input.

    graph = OnnxGraphBuilder("features", num_features=3)
    graph.output("margin", graph.add("Cast", "features", to=DOUBLE), width=1)
    graph.to_bytes(ml_version=5)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deepseek.errors import InputError
from deepseek.extras import need

FLOAT: Final = 1  # onnx.TensorProto's numbers of types
INT64: Final = 7
DOUBLE: Final = 11

#: Read by onnxruntime 1.23 and later. 17 and 10 are the oldest that have every operator used here.
OPSET_VERSION: Final = 17
IR_VERSION: Final = 10
ML_DOMAIN: Final = "ai.onnx.ml"


class OnnxGraphBuilder:
    """Collects nodes, constants and outputs of a graph; values are known by their names."""

    def __init__(self, input_name: str, *, num_features: int) -> None:
        self._helper = need("onnx.helper", extra="tabular")
        self._numpy = need("onnx.numpy_helper", extra="tabular")
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._names_by_digest: dict[bytes, str] = {}  # digest of a node or constant without its name, and that name
        self._outputs: list[Any] = []
        self._functions: dict[tuple[str, str], Any] = {}
        self._num_embedded = 0
        self._versions = {"": OPSET_VERSION}  # of the operators, by domain
        self._ir_version = IR_VERSION
        self._input = self._helper.make_tensor_value_info(input_name, FLOAT, ["N", num_features])

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add one node with one result, unless there is an equal one; returns the name of the result."""
        node = self._helper.make_node(operator, inputs, [], domain=domain, **attributes)
        digest = _digest(node)
        if digest not in self._names_by_digest:
            node.name = self._names_by_digest[digest] = f"{operator}_{len(self._nodes)}"
            node.output.append(node.name)
            self._nodes.append(node)
        return self._names_by_digest[digest]

    def constant(self, array: NDArray[Any] | float) -> str:
        """Store an array (a bare number is float64), unless there is an equal one; returns its name."""
        tensor = self.tensor(np.asarray(array), "")
        digest = _digest(tensor)
        if digest not in self._names_by_digest:
            tensor.name = self._names_by_digest[digest] = f"constant_{len(self._constants)}"
            self._constants.append(tensor)
        return self._names_by_digest[digest]

    def tensor(self, array: NDArray[Any], name: str) -> Any:
        """Convert an array to the form that attributes take."""
        return self._numpy.from_array(np.array(array, order="C"), name)  # ascontiguousarray would make a number a row

    def function(self, domain: str, name: str, inputs: list[str], outputs: list[str], nodes: list[Any]) -> None:
        """Define an operator of one's own by standard ones, once; `add(name, ..., domain=domain)` calls it. A runtime
        that has a kernel for it may run that instead; every other one runs `nodes` (onnx.helper.make_node)."""
        opset = self._helper.make_opsetid("", OPSET_VERSION)
        definition = self._helper.make_function(domain, name, inputs, outputs, nodes, [opset])
        if self._functions.setdefault((domain, name), definition) != definition:
            raise InputError(
                f"two parts define the ONNX function {domain}.{name}, each in its own way",
                expected="one definition of a name",
                fix="give one of them another name or domain",
            )

    def embed(self, model: bytes, *inputs: str, output: int = 0) -> str:
        """Add a whole ONNX graph, which reads `inputs` in the order of its own; returns the name of one of its results.
        Operators of a newer version than ours raise the version of this graph."""
        onnx = need("onnx", extra="tabular")
        proto = onnx.compose.add_prefix(onnx.load_from_string(model), f"embedded_{self._num_embedded}_")
        self._num_embedded += 1
        inner = proto.graph
        for value, reader in zip(inputs, inner.input, strict=True):
            self._nodes.append(self._helper.make_node("Identity", [value], [reader.name]))
        self._nodes += inner.node
        self._constants += inner.initializer
        self._functions |= {(function.domain, function.name): function for function in proto.functions}
        for entry in proto.opset_import:
            domain = "" if entry.domain == "ai.onnx" else entry.domain
            self._versions[domain] = max(self._versions.get(domain, 0), entry.version)
        self._ir_version = max(self._ir_version, proto.ir_version)
        return str(inner.output[output].name)

    def body(
        self,
        name: str,
        nodes: Sequence[tuple[str, Sequence[str], str]],
        *,
        inputs: Mapping[str, tuple[int, tuple[int, ...]]],
        output: tuple[str, int, tuple[int, ...]],
        attributes: Mapping[str, Mapping[str, Any]],
    ) -> Any:
        """A graph that a node runs as its attribute (Scan, Loop). `nodes`: operator, inputs, name of the result; they
        may read constants of this graph. `inputs` and `output`: types and shapes. `attributes`: by operator."""
        node_protos = [
            self._helper.make_node(operator, read, [result], name=f"{name}_{result}", **attributes.get(operator, {}))
            for operator, read, result in nodes
        ]
        value = self._helper.make_tensor_value_info
        return self._helper.make_graph(
            node_protos, name, [value(key, *of) for key, of in inputs.items()], [value(*output)]
        )

    def output(self, name: str, value: str, *, width: int) -> None:
        """Give `value` to the caller as float32 (N, width) under `name`."""
        self._nodes.append(self._helper.make_node("Cast", [value], [name], name=f"to_{name}", to=FLOAT))
        self._outputs.append(self._helper.make_tensor_value_info(name, FLOAT, ["N", width]))

    def to_bytes(self, *, ml_version: int) -> bytes:
        """The serialized model."""
        graph = self._helper.make_graph(self._nodes, "deepseek", [self._input], self._outputs, self._constants)
        versions = dict.fromkeys((d for d, _ in self._functions), 1) | {ML_DOMAIN: ml_version} | self._versions
        model = self._helper.make_model(
            graph,
            functions=list(self._functions.values()),
            opset_imports=[self._helper.make_opsetid(domain, version) for domain, version in versions.items()],
            ir_version=self._ir_version,
            producer_name="deepseek",
            producer_version="",
        )
        data: bytes = model.SerializeToString(deterministic=True)
        return data


def _digest(message: Any) -> bytes:
    return hashlib.sha256(type(message).__name__.encode() + message.SerializeToString(deterministic=True)).digest()
