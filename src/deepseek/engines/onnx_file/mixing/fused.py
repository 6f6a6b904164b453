"""Rules of com.microsoft: what onnxruntime's and Optimum's tools make of several operators. A quantization that
measures its range in each call is not among them, for the range is that of all rows.

Source: docs/ContribOperators.md of onnxruntime 1.32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from deepseek.engines.onnx_file.mixing import layout, product, reduction
from deepseek.engines.onnx_file.mixing.sizes import ONE, Size, unknown_size
from deepseek.engines.onnx_file.mixing.tensor import (
    NodeCall,
    Rule,
    TracedTensor,
    broadcast,
    normalize_axis,
    require,
    require_rows_first,
    tensor_of_rows,
)

_OTHER_ROWS = "its tensors have other rows"


def elementwise(call: NodeCall) -> TracedTensor:
    """Gelu and its like, with the bias that they add first."""
    return broadcast(call.present)


def quantized_binary(call: NodeCall) -> TracedTensor:
    """QLinearAdd and QLinearMul: each tensor is followed by its scale and zero point."""
    _check_row_independent(call, [index for index in range(len(call.inputs)) if index not in (0, 3)])
    return broadcast([call.input(0), call.input(3)])


def quantized_unary(call: NodeCall) -> TracedTensor:
    """QLinearSigmoid and QLinearLeakyRelu."""
    tensor = call.only_first_has_rows()
    return TracedTensor(tensor.axis, tensor.shape)


def _check_row_independent(call: NodeCall, indices: Sequence[int]) -> None:
    for index in indices:
        tensor = call.optional(index)
        require(tensor is None or not tensor.has_rows, "a scale depends on the rows")


def skip_norm(call: NodeCall) -> Sequence[TracedTensor]:
    """SkipLayerNormalization: a sum, and its norm over the last axis."""
    require(not any(tensor.has_rows for tensor in call.present[2:]), "its weights depend on the rows")
    total = broadcast(call.present[:2])
    require(total.axis is None or total.axis < total.rank - 1, "it goes over the rows")
    return [total] * call.num_outputs


def embeddings(call: NodeCall) -> Sequence[TracedTensor]:
    """EmbedLayerNormalization: words and segments (N, S), tables, the mask (N, S) and the positions."""
    words = require_rows_first(call.input(0), rank=2)
    for index, tensor in enumerate(call.inputs[1:], 1):
        has_same_rows = tensor is not None and tensor.axis == 0 and tensor.sizes[0] == words.sizes[0]
        has_no_rows = tensor is not None and not tensor.has_rows and (index not in (1, 7, 8) or tensor.sizes[0] == ONE)
        require(tensor is None or has_same_rows or has_no_rows, _OTHER_ROWS)
    full = tensor_of_rows(words.sizes[0], words.sizes[1], call.input(2).sizes[-1])
    return [full, tensor_of_rows(words.sizes[0]), full][: call.num_outputs]


def attention(call: NodeCall) -> Sequence[TracedTensor]:
    """Attention and QAttention: (N, S, H) and weights, the mask fifth in order of meaning. No past: its rows stand
    along its second axis."""
    mask_index = 3 if call.operator == "Attention" else 5
    tensor, mask = require_rows_first(call.input(0), rank=3), call.optional(mask_index)
    may_have_rows = {mask_index, 5} if call.operator == "Attention" else {mask_index}
    for index, other in enumerate(call.inputs[1:], 1):
        require(index in may_have_rows or other is None or not other.has_rows, _OTHER_ROWS)
    require(call.num_outputs == 1, "it keeps a past")
    _check_mask(mask, tensor.sizes[0])
    if call.operator == "Attention":
        _check_bias(call.optional(5), tensor.sizes[0])
    return [TracedTensor(0, (*tensor.sizes[:2], unknown_size()))]


def multi_head(call: NodeCall) -> Sequence[TracedTensor]:
    """MultiHeadAttention: query, key, value, bias, mask of keys, bias of scores."""
    query = require_rows_first(call.input(0))
    require(query.rank == 3 and call.num_outputs == 1, "its rows are packed, or it keeps a past")
    for index, tensor in enumerate(call.inputs[1:], 1):
        has_same_rows = tensor is not None and tensor.axis == 0 and tensor.sizes[0] == query.sizes[0]
        require(tensor is None or has_same_rows or (index in (3, 5) and not tensor.has_rows), _OTHER_ROWS)
    _check_mask(call.optional(4), query.sizes[0])
    _check_bias(call.optional(5), query.sizes[0])
    value = call.optional(2)
    return [TracedTensor(0, (*query.sizes[:2], unknown_size() if value is None or value.rank != 3 else value.sizes[2]))]


def _check_mask(mask: TracedTensor | None, num_rows: Size) -> None:
    """(N,) or more axes, of which the first is the rows."""
    require(mask is None or (mask.axis == 0 and mask.sizes[0] == num_rows), "its mask is of other rows")


def _check_bias(bias: TracedTensor | None, num_rows: Size) -> None:
    """(N or 1, heads, S, T)."""
    has_no_rows = bias is not None and not bias.has_rows and bias.sizes[0] == ONE
    has_same_rows = bias is not None and bias.axis == 0 and bias.sizes[0] == num_rows
    require(bias is None or has_no_rows or has_same_rows, "its bias is of other rows")


def rotary(call: NodeCall) -> TracedTensor:
    """RotaryEmbedding: its second input is the positions, of each row or of all."""
    tensor, positions = require_rows_first(call.input(0)), call.input(1)
    has_same_rows = positions.axis == 0 and positions.sizes[0] == tensor.sizes[0]
    require(has_same_rows or (not positions.has_rows and positions.sizes == (ONE,)), "its places are of other rows")
    _check_row_independent(call, range(2, len(call.inputs)))
    return tensor


def matmul(call: NodeCall) -> TracedTensor:
    """FusedMatMul."""
    require(not call.number("transBatchA") and not call.number("transBatchB"), "it turns axes that are not followed")
    first = product.swap_last_axes(call.input(0)) if call.number("transA") else call.input(0)
    second = product.swap_last_axes(call.input(1)) if call.number("transB") else call.input(1)
    return product.matrix_product(first, second)


def scaled_matmul(call: NodeCall) -> TracedTensor:
    """MatMulIntegerToFloat: scales, zero points and bias are the same for all rows."""
    _check_row_independent(call, range(2, len(call.inputs)))
    first_scales = [call.optional(index) for index in (2, 4)]
    require(
        all(scale is None or all(size == ONE for size in scale.sizes) for scale in first_scales),
        "it has several scales",
    )
    return product.matrix_product(call.input(0), call.input(1))


def packed_matmul(call: NodeCall) -> TracedTensor:
    """MatMulNBits: weights of few bits."""
    tensor = call.only_first_has_rows()
    require(tensor.axis is None or tensor.axis < tensor.rank - 1, "it sums over the rows")
    return TracedTensor(tensor.axis, (*tensor.sizes[:-1], unknown_size()))


def quantized_gemm(call: NodeCall) -> TracedTensor:
    """QGemm: A with scale and zero point, B with its, then a bias."""
    _check_row_independent(call, [index for index in range(len(call.inputs)) if index not in (0, 3)])
    first = product.swap_last_axes(call.input(0)) if call.number("transA") else call.input(0)
    second = product.swap_last_axes(call.input(3)) if call.number("transB") else call.input(3)
    return product.matrix_product(first, second)


def convolution(call: NodeCall) -> TracedTensor:
    """FusedConv: its fourth input is added to the answer."""
    output = product.convolution(replace(call, inputs=call.inputs[:3]))
    added = call.optional(3)
    require(added is None or (added.axis == 0 and added.sizes[0] == output.sizes[0]), _OTHER_ROWS)
    return output


def quantized_pool(call: NodeCall) -> TracedTensor:
    """QLinearAveragePool and QLinearGlobalAveragePool, with channels first or last."""
    tensor = require_rows_first(call.only_first_has_rows())
    require(tensor.rank > 2, "it takes all rows for one")
    if call.operator == "QLinearGlobalAveragePool" and not call.number("channels_last"):
        return product.global_pool(call)
    return TracedTensor(0, (tensor.sizes[0], *(unknown_size() for _ in tensor.sizes[1:])))


def quantized_concat(call: NodeCall) -> TracedTensor:
    """QLinearConcat: scale and zero point of the answer, then each tensor with its."""
    tensors = call.inputs[2::3]
    require(not any(tensor.has_rows for tensor in (*call.inputs[:2], *call.inputs[3::3], *call.inputs[4::3]) if tensor),
          "a scale depends on the rows")  # fmt: skip
    return layout.concat(replace(call, inputs=tensors))


def quantized_softmax(call: NodeCall) -> TracedTensor:
    """QLinearSoftmax: it means the Softmax of the operator set that it names."""
    tensor = call.only_first_has_rows()
    require(tensor.axis != normalize_axis(call.number("axis", -1), tensor.rank), "it goes over the rows")
    if call.number("opset") < 13:
        return reduction.softmax(replace(call, inputs=(tensor,), version=1))
    return tensor


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("BiasGelu", "FastGelu", "Gelu", "QuickGelu"), elementwise),
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), quantized_binary),
    **dict.fromkeys(("QLinearLeakyRelu", "QLinearSigmoid"), quantized_unary),
    **dict.fromkeys(("QLinearAveragePool", "QLinearGlobalAveragePool"), quantized_pool),
    **dict.fromkeys(("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"), skip_norm),
    "Attention": attention,
    "EmbedLayerNormalization": embeddings,
    "FusedConv": convolution,
    "FusedGemm": product.gemm,
    "FusedMatMul": matmul,
    "MatMulIntegerToFloat": scaled_matmul,
    "MatMulNBits": packed_matmul,
    "MultiHeadAttention": multi_head,
    "QAttention": attention,
    "QGemm": quantized_gemm,
    "QLinearConcat": quantized_concat,
    "QLinearSoftmax": quantized_softmax,
    "RotaryEmbedding": rotary,
}
