"""The model that a verb finds in a folder without any other model."""

from __future__ import annotations

ONNX_FILE = "model.onnx"
