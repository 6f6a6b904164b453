"""Graphs in int8 for compress: of any age and kind, near the given one, and with the named nodes left exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from deepseek.compress.targets.export_module import INPUT_NAME, export_module
from deepseek.compress.targets.post_training import quantize_onnx
from deepseek.contracts import Float32
from deepseek.engines.onnx import open_session
from support.nets.edgenets import save_onnx


def answers(path: Path, rows: Float32) -> Float32:
    session = open_session(str(path), "the graph", num_threads=1)
    scores: Float32 = session.run(None, {session.get_inputs()[0].name: rows})[0]
    return scores


def kinds(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def share(scores: Float32, expected: Float32) -> float:
    return float(np.linalg.norm(scores - expected) / np.linalg.norm(expected))


@pytest.mark.slow
def test_attention_is_smoothed_first(tmp_path: Path) -> None:
    """A channel fifty times as large as the others leaves them few of 256 steps, unless it is smoothed."""
    pytest.importorskip("nncf")
    from deepseek.engines import int8

    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 2, 64, batch_first=True, norm_first=True)
    with torch.no_grad():
        layer.norm1.weight[3] = layer.norm2.weight[3] = 50.0
    rows = np.random.default_rng(0).standard_normal((40, 12, 32)).astype(np.float32)
    export_module(nn.Sequential(layer, nn.LayerNorm(32)), torch.from_numpy(rows[:2]), tmp_path / "net.onnx")
    calls = [{INPUT_NAME: row[None]} for row in rows[:30]]
    quantize_onnx(tmp_path / "net.onnx", calls, tmp_path / "int8.onnx")
    int8.quantize_int8(tmp_path / "net.onnx", tmp_path / "plain.onnx", calls)
    expected = answers(tmp_path / "net.onnx", rows[30:])
    smoothed, plain = (share(answers(tmp_path / f"{name}.onnx", rows[30:]), expected) for name in ("int8", "plain"))
    assert "QuantizeLinear" in kinds(tmp_path / "int8.onnx")
    assert smoothed < 0.8 * plain


def test_an_old_graph_is_raised_and_named_nodes_stay_exact(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(256, 4))
    path = save_onnx(net, (3, 8, 8), tmp_path / "net.onnx")
    model = onnx.load(path)
    model.opset_import[0].version = 12  # whose convolutions and products are the same
    onnx.save(model, path)
    rows = np.random.default_rng(0).standard_normal((40, 3, 8, 8)).astype(np.float32)
    calls, expected = [{"picture": row[None]} for row in rows[:30]], answers(path, rows[30:])
    quantize_onnx(path, calls, tmp_path / "all.onnx")
    assert onnx.load(tmp_path / "all.onnx").opset_import[0].version >= 13
    assert 0 < share(answers(tmp_path / "all.onnx", rows[30:]), expected) < 0.05
    names = [node.name for node in onnx.load(path).graph.node if node.op_type in ("Conv", "Gemm")]
    quantize_onnx(path, calls, tmp_path / "first.onnx", exact=names[:1])
    assert kinds(tmp_path / "first.onnx").count("QuantizeLinear") < kinds(tmp_path / "all.onnx").count("QuantizeLinear")
    assert share(answers(tmp_path / "first.onnx", rows[30:]), expected) < share(
        answers(tmp_path / "all.onnx", rows[30:]), expected
    )
