"""8-bit floats in a Hugging Face folder: every byte against torch, and a folder that answers as its float32 twin."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from deepseek.compress.quantize import pack, unpack
from deepseek.engines.text import TextEngine, TextModel
from deepseek.engines.text.source.packed import byte_values, decode_packed, packed_config, quantization_problem
from deepseek.errors import DeepseekError, InputError, IntegrityError
from support.nets.textfolders import change_json, make_text_folder

TEXTS = ["the cat sat on a mat", "berlin is big , very big !", "i am not happy", "a"]
WORD = "embeddings.word_embeddings.weight"


@pytest.mark.parametrize(("dtype", "real"), [("F8_E4M3", torch.float8_e4m3fn), ("F8_E5M2", torch.float8_e5m2)])
def test_every_byte_has_the_value_that_torch_gives_it(dtype: str, real: torch.dtype) -> None:
    raw = torch.arange(256, dtype=torch.uint8)
    np.testing.assert_array_equal(byte_values(dtype), raw.view(real).float().numpy())
    assert byte_values(dtype).dtype == np.float32


def test_a_channel_is_multiplied_by_its_scale() -> None:
    raw = np.array([[0x38, 0xB8], [0x40, 0x00]], np.uint8)  # 1, -1, 2, 0
    np.testing.assert_array_equal(decode_packed(raw, np.float32([[3], [0.5]]), "F8_E4M3"), [[3, -3], [1, 0]])


def answers(folder: Path) -> np.ndarray[Any, Any]:
    model, engine = TextModel.open(folder), TextEngine.open(folder)
    outputs = engine.run(model.join(model.prepare(TEXTS)))
    return next(iter(outputs.values()))


@pytest.mark.parametrize("task", ["embedding", "sequence-classification"])
@pytest.mark.parametrize("dtype", ["e4m3fn", "e5m2"])
def test_a_packed_folder_answers_as_the_one_with_its_weights_in_float32(tmp_path: Path, task: str, dtype: Any) -> None:
    source = make_text_folder(tmp_path / "source", "bert", task)
    pack(source, tmp_path / "small", dtype=dtype)
    whole = make_text_folder(tmp_path / "whole", "bert", task)
    save_file(unpack(tmp_path / "small"), whole / "model.safetensors", {"format": "pt"})
    unpacked = answers(tmp_path / "small")
    np.testing.assert_array_equal(unpacked, answers(whole))
    assert np.abs(unpacked - answers(source)).max() > 0


@pytest.mark.slow
def test_a_packed_folder_of_real_weights_answers_nearly_as_before(minilm: Path, tmp_path: Path) -> None:
    pack(minilm, tmp_path / "small")
    before, after = answers(minilm), answers(tmp_path / "small")
    assert (before * after).sum(1).min() > 0.995
    assert (minilm / "model.safetensors").stat().st_size > 3.9 * (tmp_path / "small/model.safetensors").stat().st_size


def test_it_is_read_without_torch(tmp_path: Path) -> None:
    pack(make_text_folder(tmp_path / "source"), tmp_path / "small")
    program = (
        "import sys; from deepseek.engines.text import TextEngine; TextEngine.open(sys.argv[1]); "
        "print({'torch', 'ml_dtypes', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "small")], check=True, capture_output=True, text=True
    )
    assert done.stdout == "set()\n"


def changed(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    def act(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    return act


def replace_tensor(name: str, make: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], object]:
    return changed(lambda tensors: tensors.update({name: make(tensors[name])}))


def as_bytes(tensor: torch.Tensor, byte: int) -> torch.Tensor:
    raw = tensor.view(torch.uint8).clone()
    raw[1, 2] = byte
    return raw.view(tensor.dtype)


def config_with(**fields: Any) -> Callable[[Path], object]:
    return lambda folder: change_json(folder, "config.json", quantization_config=packed_config("F8_E4M3", []) | fields)


HOSTILE: list[tuple[Callable[[Path], object], type[DeepseekError], str]] = [
    (changed(lambda tensors: tensors.pop(f"{WORD}_scale")), IntegrityError, "_scale' is not there"),
    (replace_tensor(f"{WORD}_scale", lambda scale: scale[:-1].clone()), IntegrityError, "one float for each"),
    (replace_tensor(f"{WORD}_scale", lambda scale: scale.to(torch.int32)), IntegrityError, "is I32"),
    (replace_tensor(f"{WORD}_scale", torch.zeros_like), IntegrityError, "not above 0"),
    (replace_tensor(f"{WORD}_scale", torch.neg), IntegrityError, "not above 0"),
    (replace_tensor(f"{WORD}_scale", lambda scale: scale * torch.nan), IntegrityError, "NaN"),
    (
        replace_tensor(f"{WORD}_scale", lambda scale: torch.full_like(scale.float(), 1e38)),
        IntegrityError,
        "NaN or infinity",
    ),
    (replace_tensor(WORD, lambda weight: as_bytes(weight, 0x7F)), IntegrityError, "NaN"),
    (replace_tensor(WORD, lambda weight: weight[:-1].clone()), IntegrityError, "has the shape"),
    (config_with(quant_method="gptq"), InputError, "gptq"),
    (config_with(format="pack-quantized"), InputError, "pack-quantized"),
    (config_with(config_groups=[]), InputError, "config_groups"),
    (
        config_with(config_groups={"a": {"weights": {"num_bits": 4, "type": "float", "strategy": "channel"}}}),
        InputError,
        "config_groups",
    ),
]


@pytest.mark.parametrize(("act", "kind", "words"), HOSTILE, ids=[words for _, _, words in HOSTILE])
def test_a_damaged_folder_is_refused(
    tmp_path: Path, act: Callable[[Path], object], kind: type[DeepseekError], words: str
) -> None:
    folder = tmp_path / "small"
    pack(make_text_folder(tmp_path / "source"), folder)
    act(folder)
    with pytest.raises(DeepseekError, match=r".") as raised:
        answers(folder)
    assert type(raised.value) is kind
    assert words in str(raised.value)


def test_rounded_inputs_are_not_decoded() -> None:
    config = json.loads(json.dumps(packed_config("F8_E4M3", ["classifier"])))
    assert quantization_problem(config) is None
    config["config_groups"]["group_0"]["input_activations"] = {"num_bits": 8}
    assert quantization_problem(config) is not None
