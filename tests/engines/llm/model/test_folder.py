"""A folder that cannot be served says so before anything is built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from deepseek.engines.llm.model.folder import ModelFolder, read_config
from deepseek.engines.llm.model.graph import build_decoder
from deepseek.errors import InputError, MissingError
from support.nets.tinylm import random_model, trained


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A one-layer gpt2 whose weights are zeros."""
    config = {"model_type": "gpt2", "n_layer": 1, "n_head": 1, "n_embd": 4, "n_positions": 8, "vocab_size": 9}
    (tmp_path / "config.json").write_text(json.dumps({**config, "eos_token_id": 3}))
    (tmp_path / "tokenizer.json").write_text("{}")
    shapes = {
        "wte.weight": (9, 4), "wpe.weight": (8, 4), "ln_f.weight": (4,), "ln_f.bias": (4,),
        "h.0.ln_1.weight": (4,), "h.0.ln_1.bias": (4,), "h.0.ln_2.weight": (4,), "h.0.ln_2.bias": (4,),
        "h.0.attn.c_attn.weight": (4, 12), "h.0.attn.c_attn.bias": (12,),
        "h.0.attn.c_proj.weight": (4, 4), "h.0.attn.c_proj.bias": (4,),
        "h.0.mlp.c_fc.weight": (4, 16), "h.0.mlp.c_fc.bias": (16,),
        "h.0.mlp.c_proj.weight": (16, 4), "h.0.mlp.c_proj.bias": (4,),
    }  # fmt: skip
    save_file({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, tmp_path / "model.safetensors")
    return tmp_path


def change(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def open_all(folder: Path) -> None:
    source = ModelFolder.read(folder)
    build_decoder(source.config, source.weights, quantized=False)


def test_weights_without_a_prefix_are_taken_as_the_hub_has_them(folder: Path) -> None:
    open_all(folder)
    assert ModelFolder.read(folder).end_ids == (3,)


def test_shards_are_read_by_their_index(tmp_path: Path) -> None:
    random_model("llama", tmp_path).save_pretrained(tmp_path, max_shard_size="20KB")
    (tmp_path / "model.safetensors").unlink()
    assert (tmp_path / "model.safetensors.index.json").is_file()
    open_all(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(MissingError, match=name):
        ModelFolder.read(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b"1" * 5000])
def test_a_config_that_is_no_object_is_refused(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=r"config\.json"):
        ModelFolder.read(folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "bert"}, "model_type 'bert'"),
        ({"model_type": ["gpt2"]}, "model_type"),
        ({"n_layer": 0}, "n_layer"),
        ({"n_layer": 10**9}, "n_layer"),
        ({"n_embd": "4"}, "n_embd"),
        ({"n_head": 3}, "a divisor of n_embd"),
        ({"activation_function": "relu"}, "activation_function"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ({"layer_norm_epsilon": -1}, "layer_norm_epsilon"),
        ({"n_layer": 2}, r"no tensor 'h\.1\."),
        ({"vocab_size": 10}, r"has the shape \[9, 4\]"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(folder: Path, values: dict[str, Any], message: str) -> None:
    change(folder, **values)
    with pytest.raises(InputError, match=message):
        open_all(folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_key_value_heads": 3}, "num_key_value_heads"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_parameters"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 0}}, "rope_parameters"),
        ({"rope_parameters": {"rope_type": "llama3", "low_freq_factor": 4}}, "rope_parameters"),
        ({"rope_parameters": ["llama3"]}, "rope_parameters"),
        ({"sliding_window": 128}, "sliding_window"),
        ({"hidden_act": "gelu"}, "hidden_act"),
    ],
)
def test_a_llama_that_would_be_computed_wrongly_is_refused(values: dict[str, Any], message: str) -> None:
    base = {
        "model_type": "mistral", "num_hidden_layers": 1, "num_attention_heads": 4, "hidden_size": 8,
        "intermediate_size": 8, "vocab_size": 9,
    }  # fmt: skip
    assert read_config(base).num_kv_heads == 4
    with pytest.raises(InputError, match=message):
        read_config({**base, **values})


@pytest.mark.parametrize("size", [0, 7, 100, 400])
def test_weights_that_are_cut_off_are_refused(folder: Path, size: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match="no safetensors file"):
        ModelFolder.read(folder)


def test_a_header_without_end_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 8 + b"{}")
    with pytest.raises(InputError, match="no safetensors file"):
        ModelFolder.read(folder)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/b.safetensors", "absent.safetensors"])
def test_an_index_leads_nowhere_out_of_the_folder(folder: Path, name: str) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"wte.weight": name}}))
    with pytest.raises(MissingError, match="weights as safetensors"):
        ModelFolder.read(folder)


def test_a_folder_that_we_train_is_read(tmp_path: Path) -> None:
    source = ModelFolder.read(trained(tmp_path / "model"))
    assert (source.config.num_layers, source.end_ids) == (2, (0,))
