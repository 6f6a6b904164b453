"""What stands at a path, without loading it: read by `deepseek serve` to choose who opens it.

describe("./all-MiniLM")    # ModelDescription(kind="text", architecture="BertModel", task="embedding")
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deepseek.engines.text.source.architecture import (
    CAUSAL_SUFFIXES,
    CONFIG_FILE,
    family_and_task,
    model_type_and_class,
)
from deepseek.engines.text.source.converted_folder import ConvertedFolder, is_converted
from deepseek.engines.text.source.folder import has_file, read_object
from deepseek.errors import InputError, MissingError

ModelKind = Literal["bundle", "text", "causal-lm", "onnx", "xgboost"]
_KIND_BY_SUFFIX: dict[str, ModelKind] = {".onnx": "onnx", ".ubj": "xgboost", ".json": "xgboost"}
_EXPECTED = "a bundle, a Hugging Face folder, an .onnx file, or an XGBoost .ubj or .json"


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """A model at a path. Its kind says who opens it: the Runtime a bundle, TextModel and TextEngine a "text", the
    engines of engines.llm a "causal-lm"."""

    kind: ModelKind
    architecture: str = ""  # the class's name in config.json, or the model_type
    task: str = ""  # of a text model: embedding, sequence-classification, token-classification


def describe(path: str | Path) -> ModelDescription:
    """The kind of model at a path. MissingError when there is nothing; InputError, which names the architecture, for
    what no engine here runs."""
    location = Path(path)
    try:
        is_folder, is_file = location.is_dir(), location.is_file()
    except (OSError, ValueError):
        is_folder = is_file = False
    if is_file and location.suffix.casefold() in _KIND_BY_SUFFIX:
        return ModelDescription(_KIND_BY_SUFFIX[location.suffix.casefold()])
    if is_folder and has_file(location, "bundle.json"):
        return ModelDescription("bundle")
    if is_folder and is_converted(location):
        converted = ConvertedFolder.read(location)
        return ModelDescription("text", converted.class_name, converted.architecture.task)
    if is_folder and has_file(location, CONFIG_FILE):
        config = read_object(location, CONFIG_FILE)
        model_type, class_name = model_type_and_class(config)
        if class_name.endswith(CAUSAL_SUFFIXES):
            return ModelDescription("causal-lm", class_name)
        _, task = family_and_task(config)
        return ModelDescription("text", class_name or model_type, task)
    if is_folder or is_file:
        raise InputError(f"{location} is no model that is known here", expected=_EXPECTED, fix="give one of these")
    raise MissingError(f"there is nothing at {str(path)[:200]!r}", expected=_EXPECTED, fix="check the path")
