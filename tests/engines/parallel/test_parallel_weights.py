"""Reading slices of safetensors: those of one array in memory, and folders that lie."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from deepseek.engines.parallel.weights import Checkpoint, Slice
from deepseek.errors import InputError, MalformedError, MissingError

TENSORS = {
    "model.a.weight": torch.arange(35.0).reshape(7, 5),
    "h.0.c_attn.weight": torch.arange(96.0).reshape(4, 24),
    "lm_head.bias": torch.arange(6.0),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_file(TENSORS, tmp_path / "model.safetensors")
    return tmp_path


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_shares_are_those_of_torch(folder: Path, count: int) -> None:
    checkpoint = Checkpoint(folder)
    for dim in (0, 1):
        want = TENSORS["model.a.weight"].chunk(count, dim)
        for index, part in enumerate(want):
            read = checkpoint.read(["model.a.weight"], Slice((7, 5), dim, index, count))
            assert torch.equal(read, part)


def test_a_share_of_a_turned_and_fused_matrix_is_a_share_of_each_of_its_three(folder: Path) -> None:
    whole = TENSORS["h.0.c_attn.weight"].T  # (24, 4): queries, keys and values one above the other
    read = Checkpoint(folder).read(
        ["transformer.h.0.c_attn.weight"], Slice((24, 4), 0, 1, 2, is_turned=True, num_fused=3)
    )
    assert torch.equal(read, torch.cat([part.chunk(2)[1] for part in whole.chunk(3)]))
    assert torch.equal(
        Checkpoint(folder).read(["h.0.c_attn.weight"], Slice((24, 4), 1, 0, 2, is_turned=True)), whole[:, :2]
    )


def test_the_first_name_that_is_there_is_read_with_or_without_what_stands_before_it(folder: Path) -> None:
    checkpoint = Checkpoint(folder)
    assert checkpoint.read(["head.bias", "lm_head.bias"], Slice((6,))).shape == (6,)
    assert checkpoint.read(["a.weight"], Slice((7, 5))).shape == (7, 5)
    with pytest.raises(MissingError, match=r"no weight 'b\.weight'"):
        checkpoint.read(["b.weight"], Slice((7, 5)))
    with pytest.raises(InputError, match=r"has the shape \(7, 5\)"):
        checkpoint.read(["a.weight"], Slice((5, 7)))


def test_what_is_read_does_not_keep_the_file(folder: Path) -> None:
    read = Checkpoint(folder).read(["model.a.weight"], Slice((7, 5), 0, 0, 7))
    assert read.untyped_storage().nbytes() == 5 * 4


@pytest.mark.parametrize(
    "index",
    [
        "{", "[" * 100_000, "[]", "{}", {"weight_map": {}}, {"weight_map": []}, {"weight_map": {"a": 3}},
        {"weight_map": {"a": "../model.safetensors"}}, {"weight_map": {"a": "/etc/model.safetensors"}},
        {"weight_map": {"a": "pytorch_model.bin"}},
    ],
)  # fmt: skip
def test_an_index_that_leads_elsewhere_is_refused(folder: Path, index: object) -> None:
    text = index if isinstance(index, str) else json.dumps(index)
    (folder / "model.safetensors.index.json").write_text(text)
    with pytest.raises(MalformedError, match="is no index of weights"):
        Checkpoint(folder)


def test_a_file_of_the_index_that_is_not_there_is_named(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}))
    with pytest.raises(MissingError, match=r"model-1\.safetensors is not there"):
        Checkpoint(folder).read(["a"], Slice((1,)))


def test_a_folder_of_pickles_is_told_that_none_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(MissingError, match="never loaded"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize("cut", [3, 20, -1])
def test_a_file_that_was_cut_off_is_refused(folder: Path, cut: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(MalformedError):
        Checkpoint(folder)
