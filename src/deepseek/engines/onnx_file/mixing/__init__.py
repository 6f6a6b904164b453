"""Whether a graph lets one row change another's answer, read from its operators.

    why_mixed(Path("model.onnx"))      # "" when the rows of several requests may be computed in one call

Trying a graph on made-up rows cannot show this: `where((x.abs() > 20).any(), tanh(x), x)` keeps rows apart until one of
them is large. So each tensor of the graph is followed with the axis along which its rows stand (tensor.py), by a rule
for each operator: elementwise.py, layout.py, indexing.py, reduction.py, product.py, sequence.py, classical.py,
fused.py. Whatever has no rule counts as mixing. Source: the operator specifications of ONNX 1.23 (docs/Operators.md and
Operators-ml.md) and ContribOperators.md of onnxruntime 1.32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.extras import lazy_attributes

if TYPE_CHECKING:
    from deepseek.engines.onnx_file.mixing.walk import draws_numbers, why_mixed

__all__ = ["draws_numbers", "why_mixed"]

__getattr__ = lazy_attributes(__name__, {"draws_numbers": "walk", "why_mixed": "walk"})
