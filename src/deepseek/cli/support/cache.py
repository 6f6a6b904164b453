"""Where verbs keep what is made of a model once for a machine: tuned graphs, converted files, measurements."""

from __future__ import annotations

import os
from pathlib import Path

ONNX_FILE = "model.onnx"  # of a folder without any other model


def cache_folder() -> Path:
    """Where what is made of a model is kept, to be made once."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepseek"
