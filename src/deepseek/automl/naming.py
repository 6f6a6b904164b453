"""The name of a model that is shipped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from deepseek.automl.options import ShipOptions


def default_name(options: ShipOptions, data: Any) -> str:
    """The name of the model: what the options say, else that of the folder, else that of the file."""
    if options.name:
        return options.name
    if options.out:
        out = Path(options.out)
        return out.resolve().name if out.name in ("", "..") else out.name
    return Path(data).stem if isinstance(data, (str, os.PathLike)) else "model"
