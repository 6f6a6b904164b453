"""The container of 8-bit floats: what is packed comes back, what cannot be packed is refused by its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from deepseek.compress.quantize import pack, unpack
from deepseek.errors import InputError, IntegrityError, MissingError
from support.nets.textfolders import make_text_folder, sentence_transformer


def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(50, 32), nn.Linear(32, 64), nn.Conv1d(4, 8, 3), nn.BatchNorm1d(8))
    return net.state_dict()


@pytest.mark.parametrize(("dtype", "bits"), [("e4m3fn", 3), ("e5m2", 2)])
def test_what_comes_back_differs_by_half_a_step_of_the_mantissa_at_most(tmp_path: Path, dtype: Any, bits: int) -> None:
    weights = state()
    packed = pack(weights, tmp_path / "out", dtype=dtype)
    unpacked = unpack(tmp_path / "out")
    assert packed.packed == ("0.weight", "1.weight", "2.weight")
    assert unpacked.keys() == weights.keys()
    for name, before in weights.items():
        assert unpacked[name].shape == before.shape
        if name in packed.packed:
            largest = before.abs().flatten(1).amax(1).reshape(-1, *[1] * (before.dim() - 1))
            step = torch.maximum(before.abs() * 2.0 ** -(bits + 1), largest * 2.0**-16)
            assert (unpacked[name] - before).abs().le(step).all()
            assert unpacked[name].dtype == torch.float32
        else:
            assert torch.equal(unpacked[name], before)  # biases, norms, and the whole number of batches


def test_the_largest_weight_of_a_channel_comes_back_exactly_and_a_channel_of_zeros_stays_zero(tmp_path: Path) -> None:
    weight = torch.tensor([[448.0, 1.0, -3.0], [0.0, 0.0, 0.0], [1e-30, 0.0, -5e-31]])
    pack({"weight": weight}, tmp_path / "out")
    unpacked = unpack(tmp_path / "out")["weight"]
    torch.testing.assert_close(unpacked, weight, rtol=1e-6, atol=0)


def test_packing_what_was_unpacked_changes_nothing_more(tmp_path: Path) -> None:
    pack(state(), tmp_path / "first")
    once = unpack(tmp_path / "first")
    pack(once, tmp_path / "second")
    for name, tensor in unpack(tmp_path / "second").items():
        torch.testing.assert_close(tensor, once[name], rtol=3e-7, atol=0)


def test_the_file_holds_what_it_says(tmp_path: Path) -> None:
    packed = pack(state(), tmp_path / "out")
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert tensors["1.weight"].dtype == torch.float8_e4m3fn
    assert tensors["1.weight_scale"].shape == (64, 1)
    assert packed.size_bytes == (tmp_path / "out" / "model.safetensors").stat().st_size
    assert packed.float32_bytes == sum(4 * each.numel() for each in state().values() if each.is_floating_point()) + 8


def test_halves_are_packed_and_layers_that_are_kept_become_bfloat16(tmp_path: Path) -> None:
    weights = {name: each.to(torch.bfloat16) if each.is_floating_point() else each for name, each in state().items()}
    packed = pack(weights, tmp_path / "out", keep=["1"])
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert packed.packed == ("0.weight", "2.weight")
    assert tensors["1.weight"].dtype == tensors["1.bias"].dtype == torch.bfloat16
    assert torch.equal(unpack(tmp_path / "out")["1.weight"], weights["1.weight"].float())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"1.weight": torch.full((2, 2), torch.nan)}, "'1.weight' holds NaN"),
        ({"1.bias": torch.tensor([torch.inf])}, "'1.bias' holds NaN or infinity"),
        ({"1.weight": torch.zeros(2, 2).to(torch.float8_e4m3fn)}, "float8_e4m3fn"),
        ({"1.weight_scale": torch.ones(64, 1)}, "has scales"),
        ({"1.weight": torch.zeros(2, 2, dtype=torch.complex64)}, "complex64"),
    ],
)
def test_weights_that_cannot_be_packed_are_named_and_nothing_is_written(
    tmp_path: Path, change: dict[str, torch.Tensor], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        pack(state() | change, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_targets_and_names_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="not empty"):
            pack(state(), tmp_path / "full", overwrite=overwrite)
    with pytest.raises(InputError, match="keep names 'nine'"):
        pack(state(), tmp_path / "out", keep=["nine"])
    with pytest.raises(InputError, match="dtype"):
        pack(state(), tmp_path / "out", dtype="int3")  # type: ignore[arg-type]
    with pytest.raises(MissingError):
        pack(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(InputError, match="the source itself"):
        pack(make_text_folder(tmp_path / "model"), tmp_path / "model", overwrite=True)
    pack(state(), tmp_path / "out")
    pack(state(), tmp_path / "out", overwrite=True, dtype="e5m2")
    assert load_file(tmp_path / "out" / "model.safetensors")["1.weight"].dtype == torch.float8_e5m2


def test_a_folder_goes_along_with_its_tokenizer_and_its_modules_but_without_its_old_weights(tmp_path: Path) -> None:
    source = sentence_transformer(make_text_folder(tmp_path / "source"), {"pooling_mode_mean_tokens": True})
    (source / "pytorch_model.bin").write_bytes(b"\x80\x04pickle")
    (source / ".hidden.json").write_text("{}")
    pack(source, tmp_path / "out", keep=["encoder.layer.1"])
    names = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "modules.json", "1_Pooling/config.json"} <= names
    assert not names & {"pytorch_model.bin", ".hidden.json"}
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["hidden_size"] == 32
    assert config["quantization_config"]["quant_method"] == "compressed-tensors"
    assert "encoder.layer.1.output.dense" in config["quantization_config"]["ignore"]


def test_a_file_that_was_cut_or_changed_is_refused(tmp_path: Path) -> None:
    pack(state(), tmp_path / "out")
    file = tmp_path / "out" / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    with pytest.raises(IntegrityError, match="does not hold what its header says"):
        unpack(tmp_path / "out")
    start = (
        8
        + int.from_bytes(whole[:8], "little")
        + json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])["1.weight"]["data_offsets"][0]
    )
    file.write_bytes(whole[:start] + b"\x7f" + whole[start + 1 :])
    with pytest.raises(IntegrityError, match=r"'1\.weight' holds NaN"):
        unpack(tmp_path / "out")


def test_arrays_are_taken_as_tensors_are(tmp_path: Path) -> None:
    pack({"weight": np.eye(4, dtype=np.float32)}, tmp_path / "out")
    # to the width of a scale in float16, 2^-11
    assert torch.allclose(unpack(tmp_path / "out")["weight"], torch.eye(4), atol=2**-11)


def test_whole_numbers_of_8_bits_are_nearer_than_8_bit_floats(tmp_path: Path) -> None:
    """127 even steps a side, where e4m3 has 8 between a power of two and the next."""
    weight = torch.randn(64, 256, generator=torch.Generator().manual_seed(0))
    errors = {}
    for dtype in ("int8", "e4m3fn"):
        pack({"up.weight": weight}, tmp_path / dtype, dtype=dtype)
        errors[dtype] = float((unpack(tmp_path / dtype)["up.weight"] - weight).square().mean().sqrt())
    assert errors["int8"] < 0.4 * errors["e4m3fn"]
    stored = load_file(tmp_path / "int8" / "model.safetensors")["up.weight"]
    assert stored.dtype == torch.int8
    with pytest.raises(InputError, match="int8"):
        pack({"up.weight": stored}, tmp_path / "again")


def test_a_folder_in_shards_becomes_one_file(tmp_path: Path) -> None:
    whole, source = make_text_folder(tmp_path / "whole"), make_text_folder(tmp_path / "source")
    tensors = load_file(source / "model.safetensors")
    (source / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"model-1.safetensors": names[:9], "model-2.safetensors": names[9:]}
    for file, held in parts.items():
        save_file({name: tensors[name] for name in held}, source / file)
    index = {"weight_map": {name: file for file, held in parts.items() for name in held}}
    (source / "model.safetensors.index.json").write_text(json.dumps(index))
    for folder in (whole, source):
        pack(folder, tmp_path / f"{folder.name}-small")
    assert not (tmp_path / "source-small" / "model.safetensors.index.json").exists()
    weights, expected = unpack(tmp_path / "source-small"), unpack(tmp_path / "whole-small")
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in weights)
