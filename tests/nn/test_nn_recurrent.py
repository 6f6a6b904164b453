"""Nets over a course in time: the plain arrays, torch and ONNX answer alike, and explanations add up."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.contracts import Float32
from deepseek.nn.model import Model, Part
from deepseek.nn.recurrent.weights import CLIP, Course, SequenceWeights

torch = pytest.importorskip("torch")
NUM_STEPS, NUM_SIGNALS = 6, 3
NUM_FEATURES = NUM_STEPS * NUM_SIGNALS + 2  # the last but one is read beside the course, the last by nobody


def rows(num_rows: int = 7) -> Float32:
    return np.random.default_rng(0).normal(scale=2, size=(num_rows, NUM_FEATURES)).astype(np.float32)


@pytest.fixture(scope="module", params=["lstm_attention", "tcn"])
def pair(request: pytest.FixtureRequest) -> tuple[SequenceWeights, object]:
    """Plain arrays, and the torch module that they are of."""
    from deepseek.nn.recurrent.modules import LstmAttentionNet, TcnNet

    torch.manual_seed(0)
    kind = {"lstm_attention": LstmAttentionNet, "tcn": TcnNet}[request.param]
    net = kind(num_signals=NUM_SIGNALS, num_extras=1, width=5, dropout=0.5).eval()
    places = np.arange(NUM_STEPS * NUM_SIGNALS, dtype=np.int32).reshape(NUM_STEPS, NUM_SIGNALS)
    course = Course(places, np.array([NUM_FEATURES - 2], np.int32), np.float32([3]), np.float32([2]))
    return net.to_weights(course, rows().mean(axis=0), scale=40.0, mean=80.0), net


def test_arrays_answer_what_the_module_answers(pair: tuple[SequenceWeights, object]) -> None:
    weights, net = pair
    steps, extras = weights.course.steps(rows()), weights.course.extras(rows())
    with torch.no_grad():
        expected = net(torch.as_tensor(steps), torch.as_tensor(extras)).numpy() * 40 + 80  # type: ignore[operator]
    np.testing.assert_allclose(weights.margin(rows())[:, 0], expected, rtol=1e-5)


def test_the_graph_answers_what_the_arrays_answer(pair: tuple[SequenceWeights, object]) -> None:
    pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    from deepseek.engines import export_onnx

    weights, _ = pair
    model = Model("regression", (), "target units", (Part("net", weights),))
    session = ort.InferenceSession(export_onnx(model, NUM_FEATURES), providers=["CPUExecutionProvider"])
    (output,) = session.run(["output"], {"features": rows()})
    np.testing.assert_allclose(output, weights.margin(rows()), rtol=1e-5)


def test_a_model_with_such_a_part_reads_back(pair: tuple[SequenceWeights, object]) -> None:
    weights, _ = pair
    files = Model("regression", (), "target units", (Part("net", weights),)).to_files()
    again = Model.from_files(files.__getitem__)
    again.check(NUM_FEATURES)
    assert again.parts[0].kind == weights.kind
    np.testing.assert_array_equal(again.score(rows()).margin[:, 0], weights.margin(rows())[:, 0].astype(np.float32))


def test_contributions_add_up_and_what_is_not_read_has_none(pair: tuple[SequenceWeights, object]) -> None:
    weights, _ = pair
    values, base = weights.contributions(rows(), 0)
    np.testing.assert_allclose(base + values.sum(axis=1), weights.margin(rows())[:, 0], rtol=1e-6)
    assert (values[:, -1] == 0).all()
    np.testing.assert_allclose(values[:, 0], values[:, NUM_SIGNALS])  # even over the steps of a signal
    alone = rows(1)
    alone[:, :] = weights.baseline
    alone[:, -2] += 5
    values, _ = weights.contributions(alone, 0)
    assert np.flatnonzero(np.abs(values[0]) > 1e-5).tolist() == [NUM_FEATURES - 2]


def test_a_value_far_outside_reads_no_further_than_the_clip(pair: tuple[SequenceWeights, object]) -> None:
    weights, _ = pair
    at_clip, beyond = rows(1), rows(1)
    at_clip[0, 0], beyond[0, 0] = CLIP, 1e30
    np.testing.assert_array_equal(weights.margin(at_clip), weights.margin(beyond))


def test_states_never_look_ahead_and_attention_is_a_share() -> None:
    from deepseek.nn.recurrent.modules import LstmAttentionNet

    course = Course(np.zeros((NUM_STEPS, 1), np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32),
                    np.zeros(0, np.float32))  # fmt: skip
    steps = np.random.default_rng(1).normal(size=(2, NUM_STEPS, 1)).astype(np.float32)
    lstm = LstmAttentionNet(num_signals=1, num_extras=0, width=4, dropout=0.0).to_weights(
        course, np.zeros(1, np.float32), scale=1.0, mean=0.0
    )
    np.testing.assert_allclose(lstm.attention(lstm.states(steps)).sum(axis=1), 1, rtol=1e-6)
    later = steps.copy()
    later[:, -1] += 9
    np.testing.assert_array_equal(lstm.states(later)[:, :-1], lstm.states(steps)[:, :-1])
