"""A network in C: the answers of onnxruntime, in float32 and with int8 weights, and a word on what it does not know."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import safetensors.numpy
import torch
from torch import nn

from deepseek.compress.edge import build
from deepseek.compress.edge.layers import plan_arena, quantize_channels
from deepseek.compress.edge.network import read_network
from deepseek.compress.edge.program import network_program
from deepseek.errors import InputError, IntegrityError
from support.nets.edgenets import save_onnx
from support.nets.onnxgraphs import FLOAT, node, save

ALLOWED = {"expf", "memset", "memcpy"}


def answers(path: Path, rows: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path)
    return np.concatenate(
        [session.run(None, {session.get_inputs()[0].name: row[None]})[0].ravel()[None] for row in rows]
    )


@pytest.mark.parametrize("sanitised", [False, True])
def test_a_network_answers_as_onnxruntime(cnn: tuple[Path, Path], compiled: Callable, sanitised: bool) -> None:
    rows = safetensors.numpy.load_file(cnn[1])["picture"][:200]
    program = network_program(read_network(cnn[0].read_bytes()), int8=False)
    with compiled(program, sanitised=sanitised) as folder:
        ran = build.run_program(folder, rows.reshape(200, -1), program)
    expected = answers(cnn[0], rows)
    np.testing.assert_allclose(ran.outputs, expected, atol=1e-5)
    np.testing.assert_array_equal(ran.classes, expected.argmax(axis=1))


def test_int8_weights_are_a_quarter_and_keep_the_class(cnn: tuple[Path, Path], compiled: Callable) -> None:
    rows = safetensors.numpy.load_file(cnn[1])["picture"][:300]
    network = read_network(cnn[0].read_bytes())
    program = network_program(network, int8=True)
    with compiled(program, sanitised=True) as folder:
        ran = build.run_program(folder, rows.reshape(300, -1), program)
    assert (ran.classes == answers(cnn[0], rows).argmax(axis=1)).mean() >= 0.98
    weights = [step.weight for step in network.steps if step.weight is not None]
    assert len(weights) == 9  # seven convolutions, two dense layers
    for weight in weights:
        codes, scale = quantize_channels(weight)
        error = np.abs(codes * scale[:, None] - weight.reshape(len(weight), -1))
        assert (error <= scale[:, None] * 0.5001).all()


def test_the_object_calls_math_alone_and_valgrind_is_quiet(
    cnn: tuple[Path, Path], compiled: Callable, watched: Callable[[Path, bytes], str]
) -> None:
    rows = safetensors.numpy.load_file(cnn[1])["picture"][:3]
    program = network_program(read_network(cnn[0].read_bytes()), int8=True)
    with compiled(program) as folder:
        subprocess.run(["gcc", "-std=c99", "-O2", "-c", "model.c"], cwd=folder, check=True)
        used = subprocess.run(["nm", "-u", "model.o"], cwd=folder, capture_output=True, text=True, check=True).stdout
        assert {line.split()[-1] for line in used.splitlines()} <= ALLOWED
        watched(folder, rows.tobytes())


def test_relu6_and_normalisation_are_no_steps_and_the_arena_is_shared(cnn: tuple[Path, Path]) -> None:
    network = read_network(cnn[0].read_bytes())
    kinds = [step.kind for step in network.steps]
    assert "clamp" not in kinds
    assert kinds.count("conv") == 7  # the last normalisation stands behind a ReLU, and stays
    assert any(step.low == 0 and step.high == 6 for step in network.steps)
    _, size = plan_arena(network)
    assert size < sum(network.size(step.output) for step in network.steps) / 2


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        (nn.Sequential(nn.Conv1d(3, 8, 5, stride=2, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(),
                       nn.Linear(64, 4)), (3, 32)),
        (nn.Sequential(nn.Conv2d(2, 6, (3, 2), stride=(2, 1), padding=(0, 1)), nn.AvgPool2d(2, count_include_pad=False,
                       padding=1), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(6, 3, bias=False)), (2, 9, 7)),
        (nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Sigmoid(), nn.Linear(7, 1)), (5,)),
        (nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.Hardtanh(-1.0, 0.5), nn.Flatten()), (1, 5, 5)),
    ],
    ids=["sensor", "odd windows", "dense", "clipped"],
)  # fmt: skip
def test_other_shapes_answer_as_onnxruntime(
    layers: nn.Module, shape: tuple[int, ...], tmp_path: Path, compiled: Callable
) -> None:
    torch.manual_seed(1)
    path = save_onnx(layers, shape, tmp_path / "net.onnx")
    rows = np.random.default_rng(0).normal(size=(20, *shape)).astype(np.float32)
    program = network_program(read_network(path.read_bytes()), int8=False)
    with compiled(program, sanitised=True) as folder:
        ran = build.run_program(folder, rows.reshape(20, -1), program)
    np.testing.assert_allclose(ran.outputs, answers(path, rows), atol=1e-5)


def test_an_operator_that_c_does_not_know_is_named(tmp_path: Path) -> None:
    path = save_onnx(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), (4,), tmp_path / "net.onnx")
    with pytest.raises(InputError, match="knows no Tanh") as error_info:
        read_network(path.read_bytes())
    assert "Conv" in error_info.value.expected


@pytest.mark.parametrize(
    ("nodes", "shape", "word"),
    [
        ([node("Gemm", "x w b", "y")], ["N", "M"], "all other axes fixed"),
        ([node("MatMul", "x x", "y")], [1, 4], "computed|onnxruntime does not take"),
        ([node("Sub", "w x", "y")], [4, 4], "rows first"),
    ],
    ids=["free axis", "computed product", "several rows"],
)
def test_a_graph_that_does_not_fit_is_refused(nodes: list, shape: list, word: str, tmp_path: Path) -> None:
    weights = {"w": np.ones((4, 4), np.float32), "b": np.ones(4, np.float32)}
    path = save(tmp_path / "g.onnx", nodes, [("x", FLOAT, shape)], [("y", FLOAT, [shape[0], 4])], weights)
    with pytest.raises((InputError, IntegrityError), match=word):
        read_network(path.read_bytes())


def test_no_graph_is_said_to_be_none() -> None:
    with pytest.raises(IntegrityError, match="no ONNX graph"):
        read_network(b"\x00not a graph")
