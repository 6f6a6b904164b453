"""A trained detector as ONNX: any number of pictures, any sides that are multiples of 32; checked against torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepseek.engines.detector.boxes import OUTPUTS
from deepseek.engines.detector.config import GRAPH
from deepseek.engines.detector.views import MULTIPLE
from deepseek.engines.export_torch import export_torch_module
from deepseek.engines.onnx import open_session
from deepseek.errors import CheckError
from deepseek.extras import need

TOLERANCE = 1e-3  # of scores; of boxes, as a share of the side


def export_detector(net: Any, size: int) -> tuple[bytes, float]:
    """The graph of nn.detector.Detector, and its largest difference of a score to torch. CheckError above TOLERANCE."""
    torch = need("torch", extra="train")
    net = net.eval().requires_grad_(False)
    sample = torch.randint(0, 256, (2, net.shape.num_channels, size, size + MULTIPLE), dtype=torch.uint8)
    rows, high, wide = (torch.export.Dim(name, min=1) for name in ("rows", "high", "wide"))
    with torch.no_grad():
        model = export_torch_module(
            net, (sample,), input_names=["pictures"], output_names=OUTPUTS,
            dynamic_shapes=({0: rows, 2: MULTIPLE * high, 3: MULTIPLE * wide},),
        )  # fmt: skip
        graph: bytes = model.SerializeToString()
        session = open_session(graph, GRAPH, num_threads=1)
        largest = 0.0
        for height, width in ((size, size), (size + MULTIPLE, size)):
            pixels = torch.randint(0, 256, (1, net.shape.num_channels, height, width), dtype=torch.uint8)
            expected = [each.numpy() for each in net(pixels)]
            actual = session.run(list(OUTPUTS), {"pictures": pixels.numpy()})
            for name, one, other in zip(OUTPUTS, expected, actual, strict=True):
                difference = float(np.abs(one - other).max(initial=0.0)) / (
                    max(height, width) if name == "boxes" else 1
                )
                largest = max(largest, difference)
    if not largest <= TOLERANCE:
        raise CheckError(
            f"the exported graph differs from the net by {largest:.2g}", expected=f"at most {TOLERANCE:g}",
            fix="report it: this is a fault of the exporter",
        )  # fmt: skip
    return graph, largest
