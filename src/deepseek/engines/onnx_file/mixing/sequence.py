"""Rules of recurrent operators: time is walked through, rows stay beside each other.

Source: LSTM, GRU and RNN in the ONNX specification: layout 0 has time first and rows second, layout 1 rows first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deepseek.engines.onnx_file.mixing.sizes import Size, known_size
from deepseek.engines.onnx_file.mixing.tensor import NodeCall, Rule, TracedTensor, require

_OTHER_ROWS = "its tensors have other rows"


def recurrent(call: NodeCall) -> Sequence[TracedTensor]:
    """LSTM, GRU and RNN give all states, the last one, and with LSTM the last cell."""
    axis = call.number("layout")
    tensor, num_directions = call.input(0), known_size(2 if call.text("direction", "forward") == "bidirectional" else 1)
    require(tensor.rank == 3 and tensor.axis == 1 - axis, "it walks over the rows")
    num_rows = tensor.sizes[1 - axis]
    lengths = call.optional(4)
    require(lengths is None or not lengths.has_rows or lengths.sizes == (num_rows,), _OTHER_ROWS)
    require(lengths is None or lengths.has_rows, "it counts on a number of rows")
    for index, state in enumerate(call.inputs[1:], 1):
        if index in (5, 6):  # states before the first step
            has_same_rows = state is not None and state.axis == 1 - axis and state.sizes[1 - axis] == num_rows
            require(state is None or has_same_rows, _OTHER_ROWS)
        elif index != 4:
            require(state is None or not state.has_rows, "its weights depend on the rows")
    width = known_size(call.number("hidden_size")) if "hidden_size" in call.attributes else call.input(2).sizes[-1]
    return _recurrent_outputs(axis, tensor, num_rows, num_directions, width)[: call.num_outputs]


def _recurrent_outputs(
    axis: int, tensor: TracedTensor, num_rows: Size, num_directions: Size, width: Size
) -> list[TracedTensor]:
    if axis:
        last = TracedTensor(0, (num_rows, num_directions, width))
        return [TracedTensor(0, (num_rows, tensor.sizes[1], num_directions, width)), last, last]
    last = TracedTensor(1, (num_directions, num_rows, width))
    return [TracedTensor(2, (tensor.sizes[0], num_directions, num_rows, width)), last, last]


RULES: Mapping[str, Rule] = dict.fromkeys(("GRU", "LSTM", "RNN"), recurrent)
