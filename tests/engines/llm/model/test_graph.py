"""The graph is the model that transformers computes, whole and token by token, for each family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deepseek.contracts import Float32
from deepseek.engines.llm.model.folder import ModelFolder
from deepseek.engines.llm.model.graph import build_decoder, quantize_rows
from deepseek.engines.openvino import openvino_core
from support.nets.tinylm import random_model

EXACT = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "INFERENCE_NUM_THREADS": 1}
IDS = np.random.default_rng(0).integers(0, 300, (2, 11))


@pytest.fixture(scope="module", params=["gpt2", "llama", "llama3", "qwen2"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp(request.param)
    return folder, random_model(request.param, folder)


def logits_of(folder: Path, *, quantized: bool = False, cuts: tuple[int, ...] = (), pad: int = 0) -> Float32:
    """Logits (2, 11, V) of IDS, computed in pieces that end at `cuts`, the second text padded on the left."""
    source = ModelFolder.read(folder)
    compiled = openvino_core(extra="llm").compile_model(
        build_decoder(source.config, source.weights, quantized=quantized), "CPU", EXACT
    )
    request = compiled.create_infer_request()
    parts = []
    mask = np.ones(IDS.shape, np.int64)
    mask[1, :pad] = 0
    positions = np.maximum(mask.cumsum(1) - 1, 0)
    for start, stop in zip((0, *cuts), (*cuts, IDS.shape[1]), strict=True):
        feed = {
            "input_ids": IDS[:, start:stop], "attention_mask": mask[:, :stop],
            "position_ids": positions[:, start:stop], "beam_idx": np.arange(2, dtype=np.int32),
        }  # fmt: skip
        parts.append(request.infer(feed)["logits"].copy())
    return np.concatenate(parts, axis=1)


def reference(model: Any, ids: NDArray[np.int64]) -> Float32:
    with torch.no_grad():
        logits: Float32 = model(torch.from_numpy(ids)).logits.numpy()
    return logits


def test_the_logits_are_those_of_transformers(pair: tuple[Path, Any]) -> None:
    folder, model = pair
    assert np.abs(logits_of(folder) - reference(model, IDS)).max() < 2e-5


def test_text_in_pieces_gives_what_the_whole_gives(pair: tuple[Path, Any]) -> None:
    folder, model = pair
    assert np.abs(logits_of(folder, cuts=(5, 6, 7)) - reference(model, IDS)).max() < 2e-5


def test_padding_on_the_left_is_not_seen(pair: tuple[Path, Any]) -> None:
    folder, model = pair
    logits = logits_of(folder, pad=3, cuts=(6,))
    assert np.abs(logits[1, 3:] - reference(model, IDS[1:, 3:])[0]).max() < 2e-5


def test_int8_weights_stay_near(pair: tuple[Path, Any]) -> None:
    folder, model = pair
    logits, wanted = logits_of(folder, quantized=True), reference(model, IDS)
    error = np.abs(logits - wanted).max() / np.abs(wanted).max()
    assert 1e-5 < error < 0.08


def test_half_precision_weights_are_read(tmp_path: Path) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        model = random_model("llama", tmp_path, dtype)
        assert np.abs(logits_of(tmp_path) - reference(model, IDS)).max() < 2e-4


def test_a_row_of_zeros_is_quantized_to_zeros() -> None:
    values, scales = quantize_rows(np.array([[0, 0], [1, -2]], np.float32))
    assert values.tolist() == [[0, 0], [64, -127]]
    assert np.isfinite(scales).all()
