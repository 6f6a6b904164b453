"""Linear models and perceptrons as arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deepseek.nn.dense import Linear, Perceptron


def small() -> Perceptron:
    """One number, one code of three levels, one hidden unit, one margin: small enough for a pencil."""
    return Perceptron(
        numeric=np.array([1], np.int32),
        mean=np.array([10.0], np.float32),
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
    model = replace(small(), logged=np.array([True]), mean=np.zeros(1, np.float32), scale=np.ones(1, np.float32))
    joined = model.join(np.array([[0, np.e - 1], [0, 1 - np.e], [0, 0]], np.float32))
    np.testing.assert_allclose(joined[:, 0], [1, -1, 0], atol=1e-6)


def test_a_code_outside_the_table_reads_as_other() -> None:
    other = small().margin(np.array([[0, 11]], np.float32))
    for code in (3, 400, -1):
        np.testing.assert_array_equal(small().margin(np.array([[code, 11]], np.float32)), other)


def test_every_position_of_the_joined_input_names_its_feature() -> None:
    assert small().owner.tolist() == [1, 0]


def test_arrays_round_trip_in_the_order_of_layers_beyond_ten() -> None:
    rng = np.random.default_rng(0)
    deep = Perceptron(
        numeric=np.arange(2, dtype=np.int32), mean=np.zeros(2, np.float32), scale=np.ones(2, np.float32),
        codes=np.zeros(0, np.int32), embeddings=[],
        weights=[rng.normal(size=(2, 2)).astype(np.float32) for _ in range(12)],
        biases=[rng.normal(size=2).astype(np.float32) for _ in range(12)],
        skip=np.zeros((2, 2), np.float32), baseline=np.zeros(2, np.float32), logged=np.array([True, False]),
    )  # fmt: skip
    features = rng.normal(size=(5, 2)).astype(np.float32)
    np.testing.assert_array_equal(Perceptron.from_arrays(deep.arrays()).margin(features), deep.margin(features))


def test_a_linear_model_is_a_product_and_round_trips() -> None:
    model = Linear(np.array([[2.0], [-1.0]]), np.array([0.5]), np.zeros(2))
    assert model.margin(np.array([[3, 4]], np.float32)).tolist() == [[2.5]]
    again = Linear.from_arrays(model.arrays())
    assert again.margin(np.array([[3, 4]], np.float32)).tolist() == [[2.5]]
