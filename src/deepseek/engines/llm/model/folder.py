"""A Hugging Face folder of a causal language model, read without torch or transformers and believed in nothing.

    folder = ModelFolder.read(path)
    folder.config.num_layers; folder.weights.take("transformer.wte.weight", (50257, 768))

Understood: config.json with one of FAMILIES, model.safetensors (or shards with model.safetensors.index.json) in F32,
F16 or BF16, tokenizer.json. Every weight is asked for with its shape, so a config that does not fit its weights is
refused before anything is built.

Source of the file layout: https://github.com/huggingface/safetensors, README, "Format".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from deepseek.contracts import Float32
from deepseek.errors import InputError, MissingError

#: "model_type" in config.json -> how the graph is built.
FAMILIES = {"gpt2": "gpt2", "llama": "llama", "mistral": "llama", "qwen2": "llama"}
MAX_JSON_BYTES = 64 << 20
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """How Llama 3.1 stretches its slow rotary frequencies to longer texts."""

    factor: float  # slow frequencies are divided by it
    low_freq_factor: float  # a wave longer than original_positions / this is slow
    high_freq_factor: float  # a wave shorter than original_positions / this stays as it is
    original_positions: int


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """What the graph needs to know of config.json."""

    family: str  # "gpt2" or "llama"
    num_layers: int
    num_heads: int
    num_kv_heads: int  # fewer than num_heads: grouped-query attention
    head_size: int
    width: int  # of the residual stream
    inner_width: int  # of the feed-forward layers
    vocab_size: int
    max_positions: int  # tokens of a prompt and its answer together
    norm_epsilon: float
    rope_theta: float  # base of the rotary frequencies; unused by gpt2
    rope_scaling: RopeScaling | None
    tied: bool  # the output layer is the embedding
    attention_bias: bool


class Weights:
    """Tensors of a folder by name, mapped into memory and converted when they are taken."""

    def __init__(self, tensors: Mapping[str, tuple[Path, np.dtype[Any], tuple[int, ...], int]]) -> None:
        self._tensors = dict(tensors)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def take(self, name: str, shape: tuple[int, ...]) -> Float32:
        """The tensor `name` as float32. InputError when it is absent or of another shape."""
        if name not in self._tensors:
            raise InputError(
                f"the weights have no tensor {name!r}", expected=f"one of shape {list(shape)}", fix=_FOLDER_FIX
            )
        path, dtype, found, offset = self._tensors[name]
        if found != shape:
            raise InputError(
                f"the tensor {name!r} has the shape {list(found)}",
                expected=f"{list(shape)}, as config.json says",
                fix=_FOLDER_FIX,
            )
        raw = np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)
        if dtype == _DTYPES["BF16"]:
            return (raw.astype(np.uint32) << 16).view(np.float32)
        return np.array(raw, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """What is served: where it lies, its shape and its weights."""

    path: Path
    config: DecoderConfig
    weights: Weights
    end_ids: tuple[int, ...]  # tokens that end an answer

    @classmethod
    def read(cls, path: Path, *, with_weights: bool = True) -> ModelFolder:
        """Read and check `path`. MissingError or InputError names the file and what to do."""
        for name in ("config.json", "tokenizer.json"):
            if not (path / name).is_file():
                raise MissingError(f"{path} has no {name}", expected="a Hugging Face folder", fix=_FOLDER_FIX)
        raw = read_json(path / "config.json")
        config = read_config(raw)
        end_ids = read_end_ids(path, raw, config.vocab_size)
        return cls(path, config, read_weights(path) if with_weights else Weights({}), end_ids)


_FOLDER_FIX = (
    "save the model again with save_pretrained(), which writes config.json, model.safetensors and the tokenizer"
)


def read_end_ids(path: Path, raw: Mapping[str, Any], vocab_size: int) -> tuple[int, ...]:
    """Tokens that end a text, by generation_config.json or else by config.json, which is `raw`."""
    generation = read_json(path / "generation_config.json") if (path / "generation_config.json").is_file() else {}
    ends = generation.get("eos_token_id", raw.get("eos_token_id"))
    ends = ends if isinstance(ends, list) else [ends]
    return tuple(i for i in ends if type(i) is int and 0 <= i < vocab_size)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, or InputError that names the file."""
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON: {error}", expected="a JSON object", fix=_FOLDER_FIX) from None
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no object", expected="a JSON object", fix=_FOLDER_FIX)
    return found


def read_text(path: Path) -> str:
    """The text of a file, or InputError that names it."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise InputError(f"{path} is too large", expected=f"at most {MAX_JSON_BYTES >> 20} MiB", fix=_FOLDER_FIX)
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}", expected="text in UTF-8", fix=_FOLDER_FIX) from None


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    """The part of config.json that the graph needs; InputError for a model that would be computed wrongly.

    >>> read_config({"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 8, "vocab_size": 9}).inner_width
    32
    """
    family = FAMILIES.get(str(raw.get("model_type")))
    if family is None:
        raise InputError(
            f"config.json says model_type {str(raw.get('model_type'))[:100]!r}",
            expected=f"one of {', '.join(sorted(FAMILIES))}",
            fix="serve a model of one of these kinds",
        )
    config = _read_gpt2(raw) if family == "gpt2" else _read_llama(raw)
    if config.num_heads % config.num_kv_heads:
        raise _config_error("num_key_value_heads", config.num_kv_heads, f"a divisor of the {config.num_heads} heads")
    return config


def _read_gpt2(raw: Mapping[str, Any]) -> DecoderConfig:
    _check_allowed(raw, "activation_function", "gelu_new", ("gelu_new", "gelu_pytorch_tanh"))
    _check_allowed(raw, "scale_attn_weights", True, (True,))
    _check_allowed(raw, "scale_attn_by_inverse_layer_idx", False, (False,))
    width, heads = _read_count(raw, "n_embd", 768), _read_count(raw, "n_head", 12)
    if width % heads:
        raise _config_error("n_head", heads, f"a divisor of n_embd, {width}")
    inner = raw.get("n_inner")
    return DecoderConfig(
        family="gpt2", num_layers=_read_count(raw, "n_layer", 12), num_heads=heads, num_kv_heads=heads,
        head_size=width // heads, width=width, inner_width=4 * width if inner is None else _read_count(raw,
        "n_inner", 0),
        vocab_size=_read_count(raw, "vocab_size", 50257), max_positions=_read_count(raw, "n_positions", 1024),
        norm_epsilon=_read_number(raw, "layer_norm_epsilon", 1e-5), rope_theta=0.0, rope_scaling=None,
        tied=raw.get("tie_word_embeddings", True) is not False, attention_bias=True,
    )  # fmt: skip


def _read_llama(raw: Mapping[str, Any]) -> DecoderConfig:
    _check_allowed(raw, "hidden_act", "silu", ("silu",))
    _check_allowed(raw, "mlp_bias", False, (False,))
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default")) if isinstance(rope, dict) else rope
    if kind not in ("default", "llama3"):
        raise _config_error("rope_parameters", rope, "rotary positions of rope_type default or llama3")
    qwen = raw.get("model_type") == "qwen2"
    if raw.get("sliding_window") is not None and raw.get("use_sliding_window", not qwen):
        raise _config_error("sliding_window", raw["sliding_window"], "null: attention over the whole text")
    width, heads = _read_count(raw, "hidden_size", 0), _read_count(raw, "num_attention_heads", 0)
    theta = _read_number(rope, "rope_theta", 0.0) or _read_number(raw, "rope_theta", 10000.0)
    return DecoderConfig(
        family="llama", num_layers=_read_count(raw, "num_hidden_layers", 0), num_heads=heads,
        num_kv_heads=_read_count(raw, "num_key_value_heads", heads),
        head_size=_read_count(raw, "head_dim", width // heads), width=width,
        inner_width=_read_count(raw, "intermediate_size", 0), vocab_size=_read_count(raw, "vocab_size",
        0),
        max_positions=_read_count(raw, "max_position_embeddings", 2048), norm_epsilon=_read_number(raw, "rms_norm_eps", 1e-6),
        rope_theta=theta, rope_scaling=_read_rope_scaling(rope) if kind == "llama3" else None,
        tied=raw.get("tie_word_embeddings", False) is True,
        attention_bias=qwen or raw.get("attention_bias", False) is True,
    )  # fmt: skip


def _read_rope_scaling(rope: Mapping[str, Any]) -> RopeScaling:
    found = RopeScaling(
        factor=_read_number(rope, "factor", 8.0),
        low_freq_factor=_read_number(rope, "low_freq_factor", 1.0),
        high_freq_factor=_read_number(rope, "high_freq_factor", 4.0),
        original_positions=_read_count(rope, "original_max_position_embeddings", 8192),
    )
    if not (found.factor >= 1 and 0 < found.low_freq_factor < found.high_freq_factor):
        raise _config_error(
            "rope_parameters", dict(rope), "factor of 1 or more, low_freq_factor below high_freq_factor"
        )
    return found


def _read_count(raw: Mapping[str, Any], key: str, default: int) -> int:
    value = default if raw.get(key) is None else raw[key]
    if type(value) is not int or not 0 < value < 1 << 24:
        raise _config_error(key, value, "a whole number above 0")
    return value


def _read_number(raw: Mapping[str, Any], key: str, default: float) -> float:
    value = raw.get(key, default)
    if type(value) not in (int, float) or not 0 <= value < 1e12:
        raise _config_error(key, value, "a number, 0 or more")
    return float(value)


def _check_allowed(raw: Mapping[str, Any], key: str, default: object, allowed: tuple[object, ...]) -> None:
    if raw.get(key, default) not in allowed:
        raise _config_error(key, raw[key], " or ".join(map(str, allowed)))


def _config_error(key: str, value: object, expected: str) -> InputError:
    return InputError(
        f"config.json says {key} = {str(value)[:100]}", expected=expected, fix="serve a model that is built so"
    )


def read_weights(path: Path) -> Weights:
    """Where every tensor of the folder lies. The file's own header is checked by safetensors first."""
    index = path / "model.safetensors.index.json"
    if index.is_file():
        places = read_json(index).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise InputError(f"{index} has no weight_map", expected="tensor names and their files", fix=_FOLDER_FIX)
        files = {str(name) for name in places.values()}
    else:
        files = {"model.safetensors"}
    tensors: dict[str, tuple[Path, np.dtype[Any], tuple[int, ...], int]] = {}
    for name in sorted(files):
        if Path(name).name != name or not (path / name).is_file():
            raise MissingError(f"{path} has no {name[:100]!r}", expected="weights as safetensors", fix=_FOLDER_FIX)
        tensors.update(_read_header(path / name))
    return Weights(tensors)


def _read_header(path: Path) -> dict[str, tuple[Path, np.dtype[Any], tuple[int, ...], int]]:
    try:
        with safe_open(path, framework="numpy"):  # refuses a header that does not fit the file
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is no safetensors file: {error}", expected="weights", fix=_FOLDER_FIX) from None
    header.pop("__metadata__", None)
    return {
        name: (path, _DTYPES[entry["dtype"]], tuple(entry["shape"]), 8 + length + entry["data_offsets"][0])
        for name, entry in header.items()
        if entry["dtype"] in _DTYPES  # masks in other types are no weights; one that is needed is then missing
    }
