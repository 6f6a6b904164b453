"""Follows the rows through a graph, node by node.

why_mixed(Path("model.onnx"))          # "ReduceMax 'peak': it goes over the rows", or "" when rows stay apart
draws_numbers(Path("model.onnx"))      # whether the same inputs get other answers
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepseek.engines.onnx_file.contents import MAX_BYTES, MAX_DEPTH, RANDOM
from deepseek.engines.onnx_file.mixing import (
    classical,
    elementwise,
    fused,
    layout,
    picking,
    product,
    reduction,
    sequence,
)
from deepseek.engines.onnx_file.mixing.read import Function, Graph, Model, Node, Reference, read_model
from deepseek.engines.onnx_file.mixing.sizes import ONE, N, Size, known, named, unknown
from deepseek.engines.onnx_file.mixing.tensor import Call, MixesError, Rule, Tensor, check
from deepseek.files import read_bounded

_STANDARD = (elementwise, layout, picking, reduction, product, sequence)
RULES: Mapping[str, Mapping[str, Rule]] = {
    "": {name: rule for module in _STANDARD for name, rule in module.RULES.items()},
    "ai.onnx.ml": classical.RULES,
    "com.microsoft": fused.RULES,
}
#: Whose rules know what a tensor that counts the rows is to them.
_COUNTING = frozenset(elementwise.RULES) - {"OneHot"} | frozenset(
    [
        "Concat", "Expand", "Gather", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Tile", "Transpose",
        "Unsqueeze", "Upsample",
    ]
)  # fmt: skip

#: Whose rules know what a tensor is to them along whose axis all rows come by several times.
_REPEATING = frozenset(elementwise.PLAIN) | frozenset(
    [
        "Dropout", "Gemm", "LayerNormalization", "LogSoftmax", "MatMul", "Reshape", "Shape", "Softmax", "Squeeze",
        "Transpose", "Unsqueeze",
    ]
)  # fmt: skip
#: Whose rules know what the place of a row is to them.
_NUMBERING = frozenset(elementwise.PLAIN) | frozenset(
    [
        "Concat", "Expand", "Gather", "GatherND", "Reshape", "Shape", "Squeeze", "Transpose", "Unsqueeze",
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scope:
    """What a node finds by name, and what the operators of its body are."""

    model: Model
    versions: Mapping[str, int]
    tensors: dict[str, Tensor]
    depth: int = 0
    given: Mapping[str, object] | None = None  # attributes of the function's call

    def tensor(self, name: str) -> Tensor | None:
        """None for an input that is left out."""
        if not name:
            return None
        if name not in self.tensors:
            raise MixesError(f"{name!r} is not defined")
        return self.tensors[name]


def why_mixed(path: Path) -> str:
    """Why rows of several requests must not be computed in one call; "" when they may. All inputs have their rows along
    the first axis. ValueError for what is no ONNX file; contents.examine() refuses it with words."""
    model = read_model(read_bounded(path, MAX_BYTES, what="an ONNX file", smaller="save its weights as external data"))
    try:
        scope = Scope(model, model.versions, _inputs(model.graph))
        for name, tensor in zip(model.graph.outputs, _run(model.graph, scope), strict=True):
            check(tensor.axis == 0 and tensor.sizes[0] == N, f"the output {name!r} has not one place for each row")
            check(not tensor.numbers_rows, f"the output {name!r} numbers the rows")
    except (MixesError, ArithmeticError, ValueError, IndexError, RecursionError) as error:
        return str(error) or type(error).__name__
    return ""


def draws_numbers(path: Path) -> bool:
    """Whether the same inputs get other answers: a random operator, or a Dropout that is not known to be outside of
    training. Errors as those of why_mixed()."""
    data = read_bounded(path, MAX_BYTES, what="an ONNX file", smaller="save its weights as external data")
    model = read_model(data)
    bodies = [model.graph, *(Graph(each.nodes, (), (), {}) for each in model.functions.values())]
    return any(_draws(graph, model.versions.get("", 1), {}) for graph in bodies)


def _draws(graph: Graph, version: int, outer: Mapping[str, Tensor]) -> bool:
    constants = {**outer, **graph.constants}
    for node in graph.nodes:
        value = node.attributes.get("value")
        if node.operator == "Constant" and node.outputs and isinstance(value, Tensor):
            constants[node.outputs[0]] = value
        if any(_draws(inner, version, constants) for inner in node.graphs):
            return True
        if node.operator in RANDOM and (node.operator != "Dropout" or _is_trained(node, version, constants)):
            return True
    return False


def _is_trained(dropout: Node, version: int, constants: Mapping[str, Tensor]) -> bool:
    """Whether a Dropout may be in its training mode, which was an attribute before opset 7 and is an input now."""
    if version < 7:
        return not dropout.attributes.get("is_test")
    if len(dropout.inputs) < 3 or not dropout.inputs[2]:
        return False
    mode = constants.get(dropout.inputs[2])
    return mode is None or mode.whole_values() != [0]


def _inputs(graph: Graph) -> dict[str, Tensor]:
    """Free axes of one name are of one size. A name that rows have, too, means something else elsewhere."""
    found = {}
    for name, dims in graph.inputs:
        if name not in graph.constants:
            sizes = [known(dim) if isinstance(dim, int) else named(dim) if dim else unknown() for dim in dims[1:]]
            found[name] = Tensor(0, (N, *sizes)) if dims else Tensor(0, (N,))
    return found


def _run(graph: Graph, scope: Scope) -> list[Tensor]:
    """The outputs of a graph, whose inputs are in the scope."""
    scope.tensors.update(graph.constants)
    for node in graph.nodes:
        try:
            found = _compute(node, scope)
        except MixesError as error:
            words = str(error)
            label = f"{node.operator} {node.outputs[0] if node.outputs else ''!r}"
            raise MixesError(words if ": " in words else f"{label}: {words}") from error
        scope.tensors.update((name, tensor) for name, tensor in zip(node.outputs, found, strict=False) if name)
    return [tensor for name in graph.outputs if (tensor := scope.tensor(name)) is not None]


def _compute(node: Node, scope: Scope) -> Sequence[Tensor]:
    inputs = tuple(scope.tensor(name) for name in node.inputs)
    attributes = {
        name: (scope.given or {}).get(value.name) if isinstance(value, Reference) else value
        for name, value in node.attributes.items()
    }
    if (function := scope.model.functions.get((node.domain, node.operator))) is not None:
        return _call(node.domain, function, inputs, attributes, scope)
    check(node.operator not in RANDOM or node.operator == "Dropout", "it draws numbers")
    if node.operator == "If" and not node.domain:
        return _branch(node, inputs, scope)
    if node.operator == "Scan" and not node.domain and any(each is not None and each.has_rows for each in inputs):
        return _scan(node, inputs, scope)
    captured = [scope.tensors[name] for graph in node.graphs for name in graph.names() if name in scope.tensors]
    used = [*(each for each in inputs if each is not None), *captured]
    is_alike = not any(each.has_rows or each.counts_rows for each in used)
    rule = RULES.get(node.domain, {}).get(node.operator)
    if rule is None or node.graphs:
        check(is_alike, "it has no rule")
        return [Tensor(None, None)] * len(node.outputs)
    plain = {name: value for name, value in attributes.items() if _is_plain(value)}
    call = Call(node.operator, scope.versions.get(node.domain, 1), inputs, _num_used(node), plain)  # type: ignore[arg-type]
    if is_alike and node.operator != "Dropout":
        return _alike(rule, call, len(node.outputs))
    is_numbered = any(each.numbers_rows for each in used)
    check(not is_numbered or (not node.domain and node.operator in _NUMBERING), "it computes with the place of a row")
    is_repeated = any(each.outer != ONE for each in used)
    check(not is_repeated or (not node.domain and node.operator in _REPEATING), "its rows come by several times")
    counted = any(each.counts_rows for each in used)
    check(not counted or (not node.domain and node.operator in _COUNTING), "it computes with the number of rows")
    return _listed(rule(call))


def _listed(found: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    return (found,) if isinstance(found, Tensor) else found


def _alike(rule: Rule, call: Call, num_outputs: int) -> Sequence[Tensor]:
    """Whatever it is, it is the same for all rows; the rule may know its shape."""
    try:
        found = _listed(rule(call))
    except (MixesError, ArithmeticError, ValueError, IndexError):
        found = ()
    bare = [each for each in found if not each.has_rows]
    return [*bare, *[Tensor(None, None)] * (num_outputs - len(bare))][:num_outputs]


def _is_plain(value: object) -> bool:
    return isinstance(value, (int, float, str, tuple, Tensor)) and not isinstance(value, Graph)


def _num_used(node: Node) -> int:
    """Outputs up to the last that is named."""
    return max((place for place, name in enumerate(node.outputs, 1) if name), default=0)


def _call(
    domain: str, function: Function, inputs: Sequence[Tensor | None], attributes: Mapping[str, object], scope: Scope
) -> Sequence[Tensor]:
    """The body of a function in the place of its call."""
    check(domain not in RULES, "the file defines an operator of the standard anew")
    check(scope.depth < MAX_DEPTH, "its functions are nested too deeply")
    tensors = {name: tensor for name, tensor in zip(function.inputs, inputs, strict=False) if tensor is not None}
    graph = Graph(function.nodes, (), function.outputs, {})
    given = {**function.defaults, **attributes}
    return _run(graph, Scope(scope.model, function.versions, tensors, scope.depth + 1, given))


def _branch(node: Node, inputs: Sequence[Tensor | None], scope: Scope) -> Sequence[Tensor]:
    """If: the branch that is taken for whatever rows come, or both, when neither mixes and both give the same axes."""
    condition = inputs[0]
    check(condition is not None and not condition.has_rows and not condition.counts_rows, "its branch depends on rows")
    names = ("then_branch", "else_branch")
    graphs = [graph for name in names if isinstance(graph := node.attributes.get(name), Graph)]
    check(len(graphs) == len(names), "it has no branches")
    decided = condition.values[0].number if condition is not None and condition.values else None
    if decided is not None:
        graphs = graphs[:1] if decided else graphs[1:]
    found = [_run(graph, replace(scope, tensors=dict(scope.tensors))) for graph in graphs]
    return [_either(branches) for branches in zip(*found, strict=True)]


def _scan(node: Node, inputs: Sequence[Tensor | None], scope: Scope) -> Sequence[Tensor]:
    """Scan over the rows, one at a time, when what it carries from one to the next depends on none of them."""
    body, num_scanned = node.attributes.get("body"), node.attributes.get("num_scan_inputs")
    check(isinstance(body, Graph) and isinstance(num_scanned, int), "it has no body")
    check(not any(_turned(node.attributes.get(name)) for name in _SCAN_ORDERS), "it goes over other axes, or backwards")
    if not isinstance(body, Graph) or not isinstance(num_scanned, int):
        return ()
    num_carried = len(inputs) - num_scanned
    carried, scanned = inputs[:num_carried], [each for each in inputs[num_carried:] if each is not None]
    captured = [scope.tensors[name] for name in body.names() if name in scope.tensors]
    outside = [*(each for each in carried if each is not None), *captured]
    names = [name for name, _ in body.inputs]
    if not any(each.has_rows or each.counts_rows for each in scanned):
        return _repeated(body, names, [*carried, *(_slice(each) for each in scanned)], num_carried, scope)
    check(not any(each.has_rows or each.counts_rows for each in outside), "it carries rows along")
    check(all(each.axis == 0 and each.sizes[0] == N for each in scanned), "it does not go over the rows one by one")
    slices = [_slice(each) for each in scanned]
    tensors = dict(scope.tensors) | {
        name: tensor for name, tensor in zip(names, (*carried, *slices), strict=True) if tensor is not None
    }
    reached = set(names[num_carried:])
    for inner in body.nodes:
        if reached & ({*inner.inputs} | {name for graph in inner.graphs for name in graph.names()}):
            reached |= set(inner.outputs)
    check(not reached & set(body.outputs[:num_carried]), "what it carries from row to row depends on them")
    found = _run(body, replace(scope, tensors=tensors))
    each_row = [Tensor(0, (N, *tensor.sizes)) for tensor in found[num_carried:]]
    return [*[Tensor(None, None)] * num_carried, *each_row]


def _slice(scanned: Tensor) -> Tensor:
    return Tensor(None, scanned.sizes[1:])


def _repeated(
    body: Graph, names: Sequence[str], inputs: Sequence[Tensor | None], num_carried: int, scope: Scope
) -> Sequence[Tensor]:
    """Scan over what is the same for all rows, which carries rows along: they must stay as they stand."""
    begun = [None if each is None else replace(each, values=None) for each in inputs]
    tensors = {name: tensor for name, tensor in zip(names, begun, strict=True) if tensor is not None}
    found = _run(body, replace(scope, tensors=dict(scope.tensors) | tensors))
    for before, after in zip(begun[:num_carried], found, strict=False):
        check(before is not None and before.axis == after.axis and not after.counts_rows, "it moves the rows about")
        is_same = before is not None and (before.axis is None or before == replace(after, values=None))
        check(is_same, "it moves the rows about")
    check(not any(each.numbers_rows or each.counts_rows or each.outer != ONE for each in found), "it numbers the rows")
    stacked = [
        Tensor(None if each.axis is None else each.axis + 1, (unknown(), *each.sizes)) for each in found[num_carried:]
    ]
    return [*(each if each.has_rows else Tensor(None, None) for each in found[:num_carried]), *stacked]


_SCAN_ORDERS = ("scan_input_axes", "scan_input_directions", "scan_output_axes", "scan_output_directions")


def _turned(order: object) -> bool:
    """Whether an attribute of Scan says anything but first axis and forwards."""
    return order is not None and (not isinstance(order, tuple) or any(order))


def _either(branches: Sequence[Tensor]) -> Tensor:
    """A tensor that comes from one of them."""
    first, *others = branches
    for other in others:
        check(first.axis == other.axis, "its branches keep rows along several axes")
        check(first.counts_rows == other.counts_rows, "it computes with the number of rows")
        if first.axis is None:
            check(first == other or not first.counts_rows, "it computes with the number of rows")
            first = first if first == other else Tensor(None, None)
            continue
        check(first.rank == other.rank, "its branches give several numbers of axes")
        alike = first.sizes[first.axis] == other.sizes[first.axis] and first.outer == other.outer
        check(alike, "its branches give several numbers of rows")
        shape: list[Size] = [
            one if one == another else unknown() for one, another in zip(first.sizes, other.sizes, strict=True)
        ]
        first = Tensor(first.axis, tuple(shape), outer=first.outer)
    return first
