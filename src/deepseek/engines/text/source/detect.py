"""What stands at a path, without loading it: read by `deepseek serve` to choose who opens it.

describe("./all-MiniLM")    # Description(kind="text", architecture="BertModel", task="embedding")
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deepseek.engines.text.source.architecture import CAUSAL, CONFIG, architecture_of, family_and_task
from deepseek.engines.text.source.converted_folder import Converted, is_converted
from deepseek.engines.text.source.folder import has_file, read_object
from deepseek.errors import InputError, MissingError

Kind = Literal["bundle", "text", "causal-lm", "onnx", "xgboost"]
_SUFFIXES: dict[str, Kind] = {".onnx": "onnx", ".ubj": "xgboost", ".json": "xgboost"}
_EXPECTED = "a bundle, a Hugging Face folder, an .onnx file, or an XGBoost .ubj or .json"


@dataclass(frozen=True, slots=True)
class Description:
    """Who opens it: a bundle the Runtime, "text" TextModel and TextEngine, "causal-lm" the engine for generation."""

    kind: Kind
    architecture: str = ""  # the class's name in config.json, or the model_type
    task: str = ""  # of a text model: embedding, sequence-classification, token-classification


def describe(path: str | Path) -> Description:
    """MissingError when there is nothing; InputError, which names the architecture, for what no engine here runs."""
    place = Path(path)
    try:
        is_folder, is_file = place.is_dir(), place.is_file()
    except (OSError, ValueError):
        is_folder = is_file = False
    if is_file and place.suffix.casefold() in _SUFFIXES:
        return Description(_SUFFIXES[place.suffix.casefold()])
    if is_folder and has_file(place, "bundle.json"):
        return Description("bundle")
    if is_folder and is_converted(place):
        converted = Converted.read(place)
        return Description("text", converted.named, converted.architecture.task)
    if is_folder and has_file(place, CONFIG):
        config = read_object(place, CONFIG)
        kind, named = architecture_of(config)
        if named.endswith(CAUSAL):
            return Description("causal-lm", named)
        _, task = family_and_task(config)
        return Description("text", named or kind, task)
    if is_folder or is_file:
        raise InputError(f"{place} is no model that is known here", expected=_EXPECTED, fix="give one of these")
    raise MissingError(f"there is nothing at {str(path)[:200]!r}", expected=_EXPECTED, fix="check the path")
