"""Linear models and perceptrons as arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepseek.nn.dense import Linear, Perceptron, smooth_clip


def small() -> Perceptron:
    """One number, one code of three levels, one hidden unit, one margin: small enough for a pencil."""
    return Perceptron(
        numeric=np.array([1], np.int32),
        centre=np.array([10.0], np.float32),
        scale=np.array([2.0], np.float32),
        codes=np.array([0], np.int32),
        embeddings=[np.array([[0.0], [1.0], [-1.0]], np.float32)],
        weights=[np.array([[1.0], [2.0]], np.float32), np.array([[3.0]], np.float32)],
        biases=[np.array([0.5], np.float32), np.array([-1.0], np.float32)],
        skip=np.array([[0.25], [0.0]], np.float32),
        baseline=np.zeros(2, np.float32),
    )


def test_a_perceptron_is_what_a_pencil_says() -> None:
    # x0 = [(14 - 10) / 2, 1] = [2, 1]; hidden relu(2 + 2 + .5) = 4.5; margin 3 * 4.5 - 1 + .25 * 2 = 13
    assert small().margin(np.array([[1, 14]], np.float32)).tolist() == [[13.0]]
    # x0 = [-2, -1]; hidden relu(-2 - 2 + .5) = 0; margin -1 - .5
    assert small().margin(np.array([[2, 6]], np.float32)).tolist() == [[-1.5]]


def test_a_skewed_number_enters_by_its_signed_logarithm() -> None:
    model = replace(small(), logged=np.array([True]), centre=np.zeros(1, np.float32), scale=np.ones(1, np.float32))
    joined = model.join(np.array([[0, np.e - 1], [0, 1 - np.e], [0, 0]], np.float32))
    np.testing.assert_allclose(joined[:, 0], [1, -1, 0], atol=1e-6)


def test_a_clip_leaves_the_middle_and_holds_the_ends() -> None:
    # 4 / sqrt(1 + (4 / 3)^2) = 4 / (5 / 3)
    clipped = smooth_clip(np.array([0.01, 4, -4, 1e10, 1e20, 3e38, np.inf, -np.inf], np.float32), 3.0)
    np.testing.assert_allclose(clipped, [0.01, 2.4, -2.4, 3, 3, 3, 3, -3], rtol=1e-5)
    assert clipped.dtype == np.float32


@pytest.mark.filterwarnings("error")
def test_numbers_too_far_for_float32_are_at_the_clip() -> None:
    model = replace(small(), clip=3.0, scale=np.array([1e-20], np.float32), centre=np.array([-3e38], np.float32))
    joined = model.join(np.array([[0, 1e30], [0, 3e38], [0, -3e38]], np.float32))
    assert joined[:, 0].tolist() == [3, 3, 0]


def test_a_code_outside_the_table_reads_as_other() -> None:
    other = small().margin(np.array([[0, 11]], np.float32))
    for code in (3, 400, -1):
        np.testing.assert_array_equal(small().margin(np.array([[code, 11]], np.float32)), other)


def test_every_position_of_the_joined_input_names_its_feature() -> None:
    assert small().owner.tolist() == [1, 0]


def test_arrays_round_trip_in_the_order_of_layers_beyond_ten() -> None:
    rng = np.random.default_rng(0)
    deep = Perceptron(
        numeric=np.arange(2, dtype=np.int32), centre=np.zeros(2, np.float32), scale=np.ones(2, np.float32),
        codes=np.zeros(0, np.int32), embeddings=[],
        weights=[rng.normal(size=(2, 2)).astype(np.float32) for _ in range(12)],
        biases=[rng.normal(size=2).astype(np.float32) for _ in range(12)],
        skip=np.zeros((2, 2), np.float32), baseline=np.zeros(2, np.float32), logged=np.array([True, False]),
    )  # fmt: skip
    features = rng.normal(size=(5, 2)).astype(np.float32)
    np.testing.assert_array_equal(Perceptron.from_arrays(deep.arrays()).margin(features), deep.margin(features))


def test_what_float16_holds_is_stored_so_and_the_rest_as_it_is() -> None:
    tenth = np.float32(0.1)  # float16 has 11 binary digits: not enough for a tenth
    model = replace(small(), skip=np.array([[tenth], [0.0]], np.float32), clip=3.0)
    model = replace(model, weights=[model.weights[0], np.array([[1e6]], np.float32)])
    stored = model.arrays()
    assert {name: stored[name].dtype.name for name in ("embedding_0", "weight_0", "weight_1", "skip", "bias_0")} == {
        "embedding_0": "float16", "weight_0": "float16", "weight_1": "float32", "skip": "float32", "bias_0": "float32",
    }  # fmt: skip
    again, rows = Perceptron.from_arrays(stored), np.array([[1, 14], [2, 1e30]], np.float32)
    assert again.weights[0].dtype == again.embeddings[0].dtype == np.float32
    assert again.clip == 3.0
    np.testing.assert_array_equal(again.margin(rows), model.margin(rows))


def test_arrays_of_bundles_from_before_the_clip_answer_as_they_did() -> None:
    stored = small().arrays()
    older = {{"centre": "mean"}.get(name, name): array for name, array in stored.items() if name != "clip"}
    assert Perceptron.from_arrays(older).margin(np.array([[1, 14]], np.float32)).tolist() == [[13.0]]


def test_a_linear_model_is_a_product_and_round_trips() -> None:
    model = Linear(np.array([[2.0], [-1.0]]), np.array([0.5]), np.zeros(2))
    assert model.margin(np.array([[3, 4]], np.float32)).tolist() == [[2.5]]
    again = Linear.from_arrays(model.arrays())
    assert again.margin(np.array([[3, 4]], np.float32)).tolist() == [[2.5]]
