"""What `deepseek convert` takes, read before torch is imported.

source = ConvertSource.read(Path("deberta-v3"))      # config, headers of weights; refusals say who serves it
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deepseek.engines.text.source.architecture import (
    CAUSAL_SUFFIXES,
    CONFIG_FILE,
    MAX_LAYERS,
    TASK_BY_SUFFIX,
    Architecture,
    TextTask,
    model_type_and_class,
    read_labels,
    task_of_class,
)
from deepseek.engines.text.source.converted_folder import is_converted
from deepseek.engines.text.source.folder import JsonFields, check_folder, files_digest, has_file, read_object
from deepseek.engines.text.source.pooling import Pooling
from deepseek.engines.text.source.tokens import SETTINGS_FILE, TOKENIZER_FILE
from deepseek.engines.text.source.weights import Weights
from deepseek.errors import InputError

#: Keys of config.json by which transformers would load something else than the model itself, or compute otherwise.
_REFUSED_KEYS = ("quantization_config", "transformers_weights", "adapters", "pruned_heads")
ADAPTER_FILE = "adapter_config.json"
_RELATIVE_POSITIONS = ("relative_key", "relative_key_query")  # transformers 5 has dropped them, and says nothing


@dataclass(frozen=True, slots=True)
class ConvertSource:
    """A folder that may be converted."""

    folder: Path
    config: JsonFields
    class_name: str  # of config.json, else the model_type
    task: TextTask
    pooling: Pooling
    digest: str  # of all files that are read

    @classmethod
    def read(cls, path: Path) -> ConvertSource:
        """The folder at a path. MissingError or IntegrityError for one that is not whole; InputError for what is served
        in another way, or not at all."""
        folder = check_folder(path)
        if is_converted(folder):
            raise _already_served_error(folder, "is converted already")
        if has_file(folder, "bundle.json"):
            raise _already_served_error(folder, "is a bundle")
        config = read_object(folder, CONFIG_FILE)
        model_type, class_name = model_type_and_class(config)
        if class_name.endswith(CAUSAL_SUFFIXES):
            raise InputError(
                f"{folder} writes text ({class_name}); convert is for encoders, which read it",
                expected="a model that embeds or classifies",
                fix="serve it as it is: `deepseek serve FOLDER`; outside of the small container, and with the extra "
                "llm-torch, transformers runs what is not built here",
            )
        task = task_of_class(class_name)
        if task is None or not model_type or config.get("is_encoder_decoder") or config.get("is_decoder"):
            raise InputError(
                f"{folder} is no encoder that embeds or classifies: {class_name or model_type or 'it has no name'}",
                expected=f"a class that ends in {', '.join(TASK_BY_SUFFIX)}, with a model_type, and no decoder",
                fix="export the model to ONNX and serve that file",
            )
        check_variant(folder, config)
        config.field("num_hidden_layers", int, None, most=MAX_LAYERS)
        config.field("vocab_size", int, most=2**24)  # images and audio have none
        pooling = Pooling.read(folder)
        if task != "embedding":
            read_labels(config)
        weights = Weights.open(folder)
        if _is_supported(folder):
            raise _already_served_error(folder, f"({class_name or model_type}) is served as it is")
        tokenizer_files = [name for name in (TOKENIZER_FILE, SETTINGS_FILE) if has_file(folder, name)]
        digest = files_digest(folder, [CONFIG_FILE, *weights.files, *tokenizer_files, *pooling.files])
        return cls(folder, config, class_name or model_type, task, pooling, f"sha256:{digest}")


def _is_supported(folder: Path) -> bool:
    try:
        Architecture.read(folder)
    except InputError:
        return False
    return True


def check_variant(folder: Path, config: JsonFields) -> None:
    """InputError for a folder from which transformers would load more or other than the encoder itself."""
    refused = next((key for key in _REFUSED_KEYS if config.get(key)), None)
    if config.get("position_embedding_type") in _RELATIVE_POSITIONS:
        refused = "position_embedding_type"
    if refused is None and has_file(folder, ADAPTER_FILE):
        refused = ADAPTER_FILE
    if refused:
        raise InputError(
            f"{folder} has {refused}, by which it is more or other than an encoder in its usual form",
            expected="a whole model in float32, float16 or bfloat16",
            fix="merge its parts, save it with save_pretrained(), and convert that folder",
        )


def _already_served_error(folder: Path, reason: str) -> InputError:
    return InputError(
        f"{folder} {reason}: there is nothing to convert",
        expected="a folder that `deepseek serve` refuses",
        fix="serve it: deepseek serve FOLDER",
    )
