"""A Hugging Face folder of a causal language model, read without torch or transformers and believed in nothing.

    folder = ModelFolder.read(path)
    folder.config.num_layers; folder.weights.take("transformer.wte.weight", (50257, 768))

Understood: config.json with one of FAMILIES, model.safetensors (or shards with model.safetensors.index.json) in F32,
F16 or BF16, tokenizer.json. Every weight is taken with its shape, so a config that does not fit its weights is refused
before anything is built.

Source of the file layout: https://github.com/huggingface/safetensors, README, "Format".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from deepseek.contracts import Float32, JsonObject
from deepseek.errors import InputError, MissingError

#: "model_type" in config.json -> how the graph is built.
FAMILIES = {"gpt2": "gpt2", "llama": "llama", "mistral": "llama", "qwen2": "llama"}
MAX_JSON_BYTES = 64 << 20
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """The scaling by which Llama 3.1 stretches its slow rotary frequencies to longer texts."""

    factor: float  # slow frequencies are divided by it
    low_freq_factor: float  # a wave longer than original_positions / this is slow
    high_freq_factor: float  # a wave shorter than original_positions / this stays as it is
    original_positions: int


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """The sizes and variants of a decoder, from config.json."""

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


class StoredTensor(NamedTuple):
    """Where a tensor lies, by the header of its file."""

    path: Path
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int  # of its first byte in the file


class Weights:
    """Tensors of a folder by name, mapped into memory and converted when they are taken."""

    def __init__(self, tensors: Mapping[str, StoredTensor]) -> None:
        self._tensors = dict(tensors)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def take(self, name: str, shape: tuple[int, ...]) -> Float32:
        """The tensor `name` as float32. InputError when it is absent or of another shape."""
        if name not in self._tensors:
            raise InputError(
                f"the weights have no tensor {name!r}", expected=f"one of shape {list(shape)}", fix=_FOLDER_FIX
            )
        tensor = self._tensors[name]
        if tensor.shape != shape:
            raise InputError(
                f"the tensor {name!r} has the shape {list(tensor.shape)}",
                expected=f"{list(shape)}, as config.json says",
                fix=_FOLDER_FIX,
            )
        raw = np.memmap(tensor.path, dtype=tensor.dtype, mode="r", offset=tensor.offset, shape=shape)
        if tensor.dtype == _DTYPES["BF16"]:
            return (raw.astype(np.uint32) << 16).view(np.float32)
        return np.array(raw, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model's folder: its path, its sizes and its weights."""

    path: Path
    config: DecoderConfig
    weights: Weights
    end_ids: tuple[int, ...]  # tokens that end an answer

    @classmethod
    def read(cls, path: Path, *, with_weights: bool = True) -> ModelFolder:
        """The checked folder at a path. MissingError or InputError names the file that does not fit."""
        for name in ("config.json", "tokenizer.json"):
            if not (path / name).is_file():
                raise MissingError(f"{path} has no {name}", expected="a Hugging Face folder", fix=_FOLDER_FIX)
        config = read_json(path / "config.json")
        decoder = read_config(config)
        end_ids = read_end_ids(path, config, decoder.vocab_size)
        return cls(path, decoder, read_weights(path) if with_weights else Weights({}), end_ids)


_FOLDER_FIX = (
    "save the model again with save_pretrained(), which writes config.json, model.safetensors and the tokenizer"
)


def read_end_ids(path: Path, config: Mapping[str, object], vocab_size: int) -> tuple[int, ...]:
    """The tokens that end a text, by generation_config.json in the folder, or else by its config.json."""
    generation = read_json(path / "generation_config.json") if (path / "generation_config.json").is_file() else {}
    ids = generation.get("eos_token_id", config.get("eos_token_id"))
    ids = ids if isinstance(ids, list) else [ids]
    return tuple(token for token in ids if type(token) is int and 0 <= token < vocab_size)


def read_json(path: Path) -> JsonObject:
    """The object in a JSON file. InputError names a file that holds none."""
    try:
        document = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON: {error}", expected="a JSON object", fix=_FOLDER_FIX) from None
    if not isinstance(document, dict):
        raise InputError(f"{path} holds no object", expected="a JSON object", fix=_FOLDER_FIX)
    return document


def read_text(path: Path) -> str:
    """The text of a file. InputError names a file that cannot be read."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise InputError(f"{path} is too large", expected=f"at most {MAX_JSON_BYTES >> 20} MiB", fix=_FOLDER_FIX)
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}", expected="text in UTF-8", fix=_FOLDER_FIX) from None


class ConfigFields:
    """The fields of config.json or of an object in it, checked when they are read. InputError names a wrong one."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        self.raw = fields

    def count(self, key: str, default: int) -> int:
        """A whole number above 0; null counts as left out."""
        value = default if self.raw.get(key) is None else self.raw[key]
        if type(value) is not int or not 0 < value < 1 << 24:
            raise _config_error(key, value, "a whole number above 0")
        return value

    def number(self, key: str, default: float) -> float:
        """A number, 0 or more."""
        value = self.raw.get(key, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < 1e12:
            raise _config_error(key, value, "a number, 0 or more")
        return float(value)

    def check(self, key: str, default: object, allowed: tuple[object, ...]) -> None:
        """InputError for a value that is not allowed."""
        if self.raw.get(key, default) not in allowed:
            raise _config_error(key, self.raw[key], " or ".join(map(str, allowed)))


def read_config(config: JsonObject) -> DecoderConfig:
    """The part of config.json that the graph needs; InputError for a model that would be computed wrongly.

    >>> read_config({"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 8, "vocab_size": 9}).inner_width
    32
    """
    family = FAMILIES.get(str(config.get("model_type")))
    if family is None:
        raise InputError(
            f"config.json says model_type {str(config.get('model_type'))[:100]!r}",
            expected=f"one of {', '.join(sorted(FAMILIES))}",
            fix="serve a model of one of these kinds",
        )
    fields = ConfigFields(config)
    decoder = _read_gpt2(fields) if family == "gpt2" else _read_llama(fields)
    if decoder.num_heads % decoder.num_kv_heads:
        raise _config_error("num_key_value_heads", decoder.num_kv_heads, f"a divisor of the {decoder.num_heads} heads")
    return decoder


def _read_gpt2(fields: ConfigFields) -> DecoderConfig:
    fields.check("activation_function", "gelu_new", ("gelu_new", "gelu_pytorch_tanh"))
    fields.check("scale_attn_weights", True, (True,))
    fields.check("scale_attn_by_inverse_layer_idx", False, (False,))
    width, heads = fields.count("n_embd", 768), fields.count("n_head", 12)
    if width % heads:
        raise _config_error("n_head", heads, f"a divisor of n_embd, {width}")
    inner = fields.raw.get("n_inner")
    return DecoderConfig(
        family="gpt2", num_layers=fields.count("n_layer", 12), num_heads=heads, num_kv_heads=heads,
        head_size=width // heads, width=width, inner_width=4 * width if inner is None else fields.count("n_inner", 0),
        vocab_size=fields.count("vocab_size", 50257), max_positions=fields.count("n_positions", 1024),
        norm_epsilon=fields.number("layer_norm_epsilon", 1e-5), rope_theta=0.0, rope_scaling=None,
        tied=fields.raw.get("tie_word_embeddings", True) is not False, attention_bias=True,
    )  # fmt: skip


def _read_llama(fields: ConfigFields) -> DecoderConfig:
    fields.check("hidden_act", "silu", ("silu",))
    fields.check("mlp_bias", False, (False,))
    rope: Any = fields.raw.get("rope_parameters") or fields.raw.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default")) if isinstance(rope, dict) else rope
    if kind not in ("default", "llama3"):
        raise _config_error("rope_parameters", rope, "rotary positions of rope_type default or llama3")
    qwen = fields.raw.get("model_type") == "qwen2"
    if fields.raw.get("sliding_window") is not None and fields.raw.get("use_sliding_window", not qwen):
        raise _config_error("sliding_window", fields.raw["sliding_window"], "null: attention over the whole text")
    width, heads = fields.count("hidden_size", 0), fields.count("num_attention_heads", 0)
    rope_fields = ConfigFields(rope)
    theta = rope_fields.number("rope_theta", 0.0) or fields.number("rope_theta", 10000.0)
    return DecoderConfig(
        family="llama", num_layers=fields.count("num_hidden_layers", 0), num_heads=heads,
        num_kv_heads=fields.count("num_key_value_heads", heads),
        head_size=fields.count("head_dim", width // heads), width=width,
        inner_width=fields.count("intermediate_size", 0), vocab_size=fields.count("vocab_size", 0),
        max_positions=fields.count("max_position_embeddings", 2048), norm_epsilon=fields.number("rms_norm_eps", 1e-6),
        rope_theta=theta, rope_scaling=_read_rope_scaling(rope_fields) if kind == "llama3" else None,
        tied=fields.raw.get("tie_word_embeddings", False) is True,
        attention_bias=qwen or fields.raw.get("attention_bias", False) is True,
    )  # fmt: skip


def _read_rope_scaling(rope: ConfigFields) -> RopeScaling:
    scaling = RopeScaling(
        factor=rope.number("factor", 8.0),
        low_freq_factor=rope.number("low_freq_factor", 1.0),
        high_freq_factor=rope.number("high_freq_factor", 4.0),
        original_positions=rope.count("original_max_position_embeddings", 8192),
    )
    if not (scaling.factor >= 1 and 0 < scaling.low_freq_factor < scaling.high_freq_factor):
        raise _config_error(
            "rope_parameters", dict(rope.raw), "factor of 1 or more, low_freq_factor below high_freq_factor"
        )
    return scaling


def _config_error(key: str, value: object, expected: str) -> InputError:
    return InputError(
        f"config.json says {key} = {str(value)[:100]}", expected=expected, fix="serve a model that is built so"
    )


def read_weights(path: Path) -> Weights:
    """The weights of a folder. MissingError or InputError names a file that is not there or is no safetensors file."""
    index = path / "model.safetensors.index.json"
    if index.is_file():
        file_of = read_json(index).get("weight_map")
        if not isinstance(file_of, dict) or not file_of:
            raise InputError(f"{index} has no weight_map", expected="tensor names and their files", fix=_FOLDER_FIX)
        files = {str(name) for name in file_of.values()}
    else:
        files = {"model.safetensors"}
    tensors: dict[str, StoredTensor] = {}
    for name in sorted(files):
        if Path(name).name != name or not (path / name).is_file():
            raise MissingError(f"{path} has no {name[:100]!r}", expected="weights as safetensors", fix=_FOLDER_FIX)
        tensors.update(_read_header(path / name))
    return Weights(tensors)


def _read_header(path: Path) -> dict[str, StoredTensor]:
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
        name: StoredTensor(path, _DTYPES[entry["dtype"]], tuple(entry["shape"]), 8 + length + entry["data_offsets"][0])
        for name, entry in header.items()
        if entry["dtype"] in _DTYPES  # masks in other types are no weights; one that is needed is then missing
    }
