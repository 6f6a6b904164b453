"""Follows the rows through a graph, node by node.

why_mixed(Path("model.onnx"))          # "ReduceMax 'peak': it goes over the rows", or "" when rows stay apart
draws_numbers(Path("model.onnx"))      # whether the same inputs get other answers
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepseek.engines.onnx_file.contents import MAX_GRAPH_BYTES, MAX_GRAPH_DEPTH, RANDOM_OPERATORS
from deepseek.engines.onnx_file.mixing import (
    classical,
    elementwise,
    fused,
    indexing,
    layout,
    product,
    reduction,
    sequence,
)
from deepseek.engines.onnx_file.mixing.read import Function, Graph, Model, Node, Reference, read_model
from deepseek.engines.onnx_file.mixing.sizes import NUM_ROWS, ONE, Size, known_size, named_size, unknown_size
from deepseek.engines.onnx_file.mixing.tensor import MixesError, NodeCall, Rule, TracedTensor, require
from deepseek.files import read_bounded

_STANDARD = (elementwise, layout, indexing, reduction, product, sequence)
RULES: Mapping[str, Mapping[str, Rule]] = {
    "": {name: rule for module in _STANDARD for name, rule in module.RULES.items()},
    "ai.onnx.ml": classical.RULES,
    "com.microsoft": fused.RULES,
}
#: Operators whose rules take a tensor that counts the rows.
_ROW_COUNT_OPERATORS = frozenset(elementwise.RULES) - {"OneHot"} | frozenset(
    [
        "Concat", "Expand", "Gather", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Tile", "Transpose",
        "Unsqueeze", "Upsample",
    ]
)  # fmt: skip

#: Operators whose rules take a tensor along whose axis all rows come several times.
_REPEATED_ROWS_OPERATORS = frozenset(elementwise.ELEMENTWISE_OPERATORS) | frozenset(
    [
        "Dropout", "Gemm", "LayerNormalization", "LogSoftmax", "MatMul", "Reshape", "Shape", "Softmax", "Squeeze",
        "Transpose", "Unsqueeze",
    ]
)  # fmt: skip
#: Operators whose rules take the index of a row as a number.
_ROW_INDEX_OPERATORS = frozenset(elementwise.ELEMENTWISE_OPERATORS) | frozenset(
    [
        "Concat", "Expand", "Gather", "GatherND", "Reshape", "Shape", "Squeeze", "Transpose", "Unsqueeze",
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scope:
    """What a node's names mean: the tensors by name, and the versions of the operators."""

    model: Model
    versions: Mapping[str, int]
    tensors: dict[str, TracedTensor]
    depth: int = 0
    arguments: Mapping[str, object] | None = None  # attributes of the function's call

    def tensor(self, name: str) -> TracedTensor | None:
        """The tensor of that name; None for an input that is left out."""
        if not name:
            return None
        if name not in self.tensors:
            raise MixesError(f"{name!r} is not defined")
        return self.tensors[name]


def why_mixed(path: Path) -> str:
    """Why rows of several requests must not be computed in one call; "" when they may. All inputs have their rows along
    the first axis. ValueError for what is no ONNX file; contents.examine() refuses it with words."""
    model = read_model(
        read_bounded(path, MAX_GRAPH_BYTES, what="an ONNX file", smaller="save its weights as external data")
    )
    try:
        scope = Scope(model, model.versions, _graph_inputs(model.graph))
        for name, tensor in zip(model.graph.outputs, _trace_graph(model.graph, scope), strict=True):
            require(
                tensor.axis == 0 and tensor.sizes[0] == NUM_ROWS, f"the output {name!r} has not one place for each row"
            )
            require(not tensor.numbers_rows, f"the output {name!r} numbers the rows")
    except (MixesError, ArithmeticError, ValueError, IndexError, RecursionError) as error:
        return str(error) or type(error).__name__
    return ""


def draws_numbers(path: Path) -> bool:
    """Whether the same inputs get other answers: a random operator, or a Dropout that is not known to be outside of
    training. Errors as those of why_mixed()."""
    data = read_bounded(path, MAX_GRAPH_BYTES, what="an ONNX file", smaller="save its weights as external data")
    model = read_model(data)
    bodies = [model.graph, *(Graph(function.nodes, (), (), {}) for function in model.functions.values())]
    return any(_graph_draws_numbers(graph, model.versions.get("", 1), {}) for graph in bodies)


def _graph_draws_numbers(graph: Graph, version: int, outer: Mapping[str, TracedTensor]) -> bool:
    constants = {**outer, **graph.constants}
    for node in graph.nodes:
        value = node.attributes.get("value")
        if node.operator == "Constant" and node.outputs and isinstance(value, TracedTensor):
            constants[node.outputs[0]] = value
        if any(_graph_draws_numbers(inner, version, constants) for inner in node.graphs):
            return True
        if node.operator in RANDOM_OPERATORS and (
            node.operator != "Dropout" or _is_in_training(node, version, constants)
        ):
            return True
    return False


def _is_in_training(dropout: Node, version: int, constants: Mapping[str, TracedTensor]) -> bool:
    """Whether a Dropout may be in its training mode, which was an attribute before opset 7 and is an input now."""
    if version < 7:
        return not dropout.attributes.get("is_test")
    if len(dropout.inputs) < 3 or not dropout.inputs[2]:
        return False
    mode = constants.get(dropout.inputs[2])
    return mode is None or mode.whole_values() != [0]


def _graph_inputs(graph: Graph) -> dict[str, TracedTensor]:
    """The inputs of a graph by name. Free axes of one name are of one size; a name that the rows have, too, means
    something else elsewhere."""
    tensors = {}
    for name, dims in graph.inputs:
        if name not in graph.constants:
            sizes = [
                known_size(dim) if isinstance(dim, int) else named_size(dim) if dim else unknown_size()
                for dim in dims[1:]
            ]
            tensors[name] = TracedTensor(0, (NUM_ROWS, *sizes)) if dims else TracedTensor(0, (NUM_ROWS,))
    return tensors


def _trace_graph(graph: Graph, scope: Scope) -> list[TracedTensor]:
    """Follow the rows through a graph, whose inputs are in the scope; returns its outputs."""
    scope.tensors.update(graph.constants)
    for node in graph.nodes:
        try:
            outputs = _trace_node(node, scope)
        except MixesError as error:
            words = str(error)
            label = f"{node.operator} {node.outputs[0] if node.outputs else ''!r}"
            raise MixesError(words if ": " in words else f"{label}: {words}") from error
        scope.tensors.update((name, tensor) for name, tensor in zip(node.outputs, outputs, strict=False) if name)
    return [tensor for name in graph.outputs if (tensor := scope.tensor(name)) is not None]


def _trace_node(node: Node, scope: Scope) -> Sequence[TracedTensor]:
    inputs = tuple(scope.tensor(name) for name in node.inputs)
    attributes = {
        name: (scope.arguments or {}).get(value.name) if isinstance(value, Reference) else value
        for name, value in node.attributes.items()
    }
    if (function := scope.model.functions.get((node.domain, node.operator))) is not None:
        return _trace_function(node.domain, function, inputs, attributes, scope)
    require(node.operator not in RANDOM_OPERATORS or node.operator == "Dropout", "it draws numbers")
    if node.operator == "If" and not node.domain:
        return _trace_if(node, inputs, scope)
    if node.operator == "Scan" and not node.domain and any(tensor is not None and tensor.has_rows for tensor in inputs):
        return _trace_scan(node, inputs, scope)
    captured = [scope.tensors[name] for graph in node.graphs for name in graph.names() if name in scope.tensors]
    used = [*(tensor for tensor in inputs if tensor is not None), *captured]
    is_alike = not any(tensor.has_rows or tensor.counts_rows for tensor in used)
    rule = RULES.get(node.domain, {}).get(node.operator)
    if rule is None or node.graphs:
        require(is_alike, "it has no rule")
        return [TracedTensor(None, None)] * len(node.outputs)
    plain = {name: value for name, value in attributes.items() if _is_plain(value)}
    call = NodeCall(node.operator, scope.versions.get(node.domain, 1), inputs, _num_named_outputs(node), plain)  # type: ignore[arg-type]
    if is_alike and node.operator != "Dropout":
        return _trace_row_independent(rule, call, len(node.outputs))
    is_numbered = any(tensor.numbers_rows for tensor in used)
    require(
        not is_numbered or (not node.domain and node.operator in _ROW_INDEX_OPERATORS),
        "it computes with the place of a row",
    )
    is_repeated = any(tensor.outer != ONE for tensor in used)
    require(
        not is_repeated or (not node.domain and node.operator in _REPEATED_ROWS_OPERATORS),
        "its rows come by several times",
    )
    counted = any(tensor.counts_rows for tensor in used)
    require(
        not counted or (not node.domain and node.operator in _ROW_COUNT_OPERATORS),
        "it computes with the number of rows",
    )
    return _to_sequence(rule(call))


def _to_sequence(result: TracedTensor | Sequence[TracedTensor]) -> Sequence[TracedTensor]:
    return (result,) if isinstance(result, TracedTensor) else result


def _trace_row_independent(rule: Rule, call: NodeCall, num_outputs: int) -> Sequence[TracedTensor]:
    """The outputs of a node that no row changes; the rule may know their shapes."""
    try:
        outputs = _to_sequence(rule(call))
    except (MixesError, ArithmeticError, ValueError, IndexError):
        outputs = ()
    bare = [tensor for tensor in outputs if not tensor.has_rows]
    return [*bare, *[TracedTensor(None, None)] * (num_outputs - len(bare))][:num_outputs]


def _is_plain(value: object) -> bool:
    return isinstance(value, (int, float, str, tuple, TracedTensor)) and not isinstance(value, Graph)


def _num_named_outputs(node: Node) -> int:
    """The number of outputs up to the last that is named."""
    return max((index for index, name in enumerate(node.outputs, 1) if name), default=0)


def _trace_function(
    domain: str,
    function: Function,
    inputs: Sequence[TracedTensor | None],
    attributes: Mapping[str, object],
    scope: Scope,
) -> Sequence[TracedTensor]:
    """Follow the rows through the body of a function, in the place of its call."""
    require(domain not in RULES, "the file defines an operator of the standard anew")
    require(scope.depth < MAX_GRAPH_DEPTH, "its functions are nested too deeply")
    tensors = {name: tensor for name, tensor in zip(function.inputs, inputs, strict=False) if tensor is not None}
    graph = Graph(function.nodes, (), function.outputs, {})
    values = {**function.defaults, **attributes}
    return _trace_graph(graph, Scope(scope.model, function.versions, tensors, scope.depth + 1, values))


def _trace_if(node: Node, inputs: Sequence[TracedTensor | None], scope: Scope) -> Sequence[TracedTensor]:
    """Follow an If: the branch that is taken for whatever rows come, or both, when neither mixes and both give the same
    axes."""
    condition = inputs[0]
    require(
        condition is not None and not condition.has_rows and not condition.counts_rows, "its branch depends on rows"
    )
    names = ("then_branch", "else_branch")
    graphs = [graph for name in names if isinstance(graph := node.attributes.get(name), Graph)]
    require(len(graphs) == len(names), "it has no branches")
    condition_value = condition.values[0].number if condition is not None and condition.values else None
    if condition_value is not None:
        graphs = graphs[:1] if condition_value else graphs[1:]
    outputs = [_trace_graph(graph, replace(scope, tensors=dict(scope.tensors))) for graph in graphs]
    return [_merge_branches(branches) for branches in zip(*outputs, strict=True)]


def _trace_scan(node: Node, inputs: Sequence[TracedTensor | None], scope: Scope) -> Sequence[TracedTensor]:
    """Follow a Scan over the rows, one at a time, when what it carries from one to the next depends on none of them."""
    body, num_scanned = node.attributes.get("body"), node.attributes.get("num_scan_inputs")
    require(isinstance(body, Graph) and isinstance(num_scanned, int), "it has no body")
    require(
        not any(_is_unusual_order(node.attributes.get(name)) for name in _SCAN_ORDERS),
        "it goes over other axes, or backwards",
    )
    if not isinstance(body, Graph) or not isinstance(num_scanned, int):
        return ()
    num_carried = len(inputs) - num_scanned
    carried, scanned = inputs[:num_carried], [tensor for tensor in inputs[num_carried:] if tensor is not None]
    captured = [scope.tensors[name] for name in body.names() if name in scope.tensors]
    outside = [*(tensor for tensor in carried if tensor is not None), *captured]
    names = [name for name, _ in body.inputs]
    if not any(tensor.has_rows or tensor.counts_rows for tensor in scanned):
        return _trace_carrying_scan(
            body, names, [*carried, *(_scan_slice(tensor) for tensor in scanned)], num_carried, scope
        )
    require(not any(tensor.has_rows or tensor.counts_rows for tensor in outside), "it carries rows along")
    require(
        all(tensor.axis == 0 and tensor.sizes[0] == NUM_ROWS for tensor in scanned),
        "it does not go over the rows one by one",
    )
    slices = [_scan_slice(tensor) for tensor in scanned]
    tensors = dict(scope.tensors) | {
        name: tensor for name, tensor in zip(names, (*carried, *slices), strict=True) if tensor is not None
    }
    reached = set(names[num_carried:])
    for inner in body.nodes:
        if reached & ({*inner.inputs} | {name for graph in inner.graphs for name in graph.names()}):
            reached |= set(inner.outputs)
    require(not reached & set(body.outputs[:num_carried]), "what it carries from row to row depends on them")
    outputs = _trace_graph(body, replace(scope, tensors=tensors))
    stacked = [TracedTensor(0, (NUM_ROWS, *tensor.sizes)) for tensor in outputs[num_carried:]]
    return [*[TracedTensor(None, None)] * num_carried, *stacked]


def _scan_slice(scanned: TracedTensor) -> TracedTensor:
    return TracedTensor(None, scanned.sizes[1:])


def _trace_carrying_scan(
    body: Graph, names: Sequence[str], inputs: Sequence[TracedTensor | None], num_carried: int, scope: Scope
) -> Sequence[TracedTensor]:
    """Follow a Scan over what is the same for all rows, which carries rows along: they must stay in their order."""
    started = [None if tensor is None else replace(tensor, values=None) for tensor in inputs]
    tensors = {name: tensor for name, tensor in zip(names, started, strict=True) if tensor is not None}
    outputs = _trace_graph(body, replace(scope, tensors=dict(scope.tensors) | tensors))
    for before, after in zip(started[:num_carried], outputs, strict=False):
        require(before is not None and before.axis == after.axis and not after.counts_rows, "it moves the rows about")
        is_same = before is not None and (before.axis is None or before == replace(after, values=None))
        require(is_same, "it moves the rows about")
    require(
        not any(tensor.numbers_rows or tensor.counts_rows or tensor.outer != ONE for tensor in outputs),
        "it numbers the rows",
    )
    stacked = [
        TracedTensor(None if tensor.axis is None else tensor.axis + 1, (unknown_size(), *tensor.sizes))
        for tensor in outputs[num_carried:]
    ]
    return [*(tensor if tensor.has_rows else TracedTensor(None, None) for tensor in outputs[:num_carried]), *stacked]


_SCAN_ORDERS = ("scan_input_axes", "scan_input_directions", "scan_output_axes", "scan_output_directions")


def _is_unusual_order(order: object) -> bool:
    """Whether an attribute of Scan says anything but the first axis, forwards."""
    return order is not None and (not isinstance(order, tuple) or any(order))


def _merge_branches(branches: Sequence[TracedTensor]) -> TracedTensor:
    """What is known of a tensor that comes from one of these branches."""
    first, *others = branches
    for other in others:
        require(first.axis == other.axis, "its branches keep rows along several axes")
        require(first.counts_rows == other.counts_rows, "it computes with the number of rows")
        if first.axis is None:
            require(first == other or not first.counts_rows, "it computes with the number of rows")
            first = first if first == other else TracedTensor(None, None)
            continue
        require(first.rank == other.rank, "its branches give several numbers of axes")
        same_rows = first.sizes[first.axis] == other.sizes[first.axis] and first.outer == other.outer
        require(same_rows, "its branches give several numbers of rows")
        shape: list[Size] = [
            first_size if first_size == other_size else unknown_size()
            for first_size, other_size in zip(first.sizes, other.sizes, strict=True)
        ]
        first = TracedTensor(first.axis, tuple(shape), outer=first.outer)
    return first
