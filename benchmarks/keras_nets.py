"""The models of keras_models.py: 40 architectures of keras.applications and 60 small nets, all with random weights.

    for case in cases(): model, rows = case.build(seed=0)

Small nets hold one layer each, with what it needs before and behind it. Architectures read small pictures, so that a
run ends; their layers are all there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

NUM_ROWS = 12
#: Architecture -> side of its pictures.
ARCHITECTURES = {
    "MobileNet": 64, "MobileNetV2": 64, "MobileNetV3Small": 64, "MobileNetV3Large": 64, "EfficientNetB0": 64,
    "EfficientNetV2B0": 64, "ResNet50": 64, "ResNet50V2": 64, "VGG16": 32, "VGG19": 32, "Xception": 75,
    "InceptionV3": 75, "DenseNet121": 64, "NASNetMobile": 64, "ConvNeXtTiny": 64, "EfficientNetB1": 64,
    "EfficientNetB2": 64, "EfficientNetV2B1": 64, "EfficientNetV2B2": 64, "EfficientNetV2B3": 64, "ConvNeXtSmall": 64,
    "ResNet101": 64, "ResNet101V2": 64, "DenseNet169": 64, "DenseNet201": 64, "EfficientNetB3": 64,
    "EfficientNetB4": 64, "EfficientNetV2S": 64, "ConvNeXtBase": 64, "ResNet152": 64, "ResNet152V2": 64,
    "InceptionResNetV2": 75, "EfficientNetB5": 64, "EfficientNetV2M": 64, "EfficientNetB6": 64, "EfficientNetB7": 64,
    "EfficientNetV2L": 64, "ConvNeXtLarge": 64, "NASNetLarge": 64, "ConvNeXtXLarge": 64,
}  # fmt: skip
NUM_QUICK = 4  # architectures of --quick


@dataclass(frozen=True)
class Case:
    """One model. `build` returns it and its rows by input (N, ...)."""

    name: str
    is_architecture: bool
    build: Callable[[], tuple[Any, dict[str, np.ndarray]]]


def cases() -> Iterator[Case]:
    """All 100, the small nets first, the architectures by their size."""
    for name, (shape, layers) in small_nets().items():
        yield Case(name, False, lambda shape=shape, layers=layers: _small(shape, layers))
    for name, make in nets_of_several_ends().items():
        yield Case(name, False, make)
    for name, side in ARCHITECTURES.items():
        yield Case(name, True, lambda name=name, side=side: _architecture(name, side))


def _architecture(name: str, side: int) -> tuple[Any, dict[str, np.ndarray]]:
    import keras

    make = getattr(keras.applications, name)
    model = make(weights=None, input_shape=(side, side, 3), classes=10, classifier_activation="softmax")
    _settle(model)
    rows = np.random.default_rng(1).integers(0, 256, (NUM_ROWS, side, side, 3)).astype("float32")
    return model, {model.inputs[0].name: rows / (1 if "Efficient" in name or "ConvNeXt" in name else 255)}


def _settle(model: Any) -> None:
    """Give the moving means and variances of batch normalization numbers of a trained model."""
    import keras

    random = np.random.default_rng(3)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(random.normal(0, 0.1, layer.moving_mean.shape))
            layer.moving_variance.assign(random.uniform(0.5, 1.5, layer.moving_variance.shape))


def _small(shape: tuple[Any, ...], layers: Callable[[Any, Any], Any]) -> tuple[Any, dict[str, np.ndarray]]:
    """A net of one input; a shape that begins with a word is of that type."""
    import keras

    kind, size = (shape[0], shape[1:]) if isinstance(shape[0], str) else ("float32", shape)
    start = keras.Input(size, dtype=kind, name="x")
    model = keras.Model(start, layers(keras, start))
    _settle(model)
    random = np.random.default_rng(2)
    whole = tuple(7 if side is None else side for side in size)
    if kind == "string":
        words = np.array(["red", "blue", "green", "a red fox", "Oslo, Rome!"])
        rows = words[random.integers(0, len(words), (NUM_ROWS, *whole))]
    elif kind == "int32":
        rows = random.integers(0, 9, (NUM_ROWS, *whole)).astype("int32")
    else:
        rows = random.normal(size=(NUM_ROWS, *whole)).astype("float32")
    return model, {"x": rows}


def _adapted(layer: Any, values: Any) -> Any:
    layer.adapt(values)
    return layer


def small_nets() -> dict[str, tuple[tuple[Any, ...], Callable[[Any, Any], Any]]]:
    """Name -> shape of a row, and what is done with it (keras, tensor) -> tensor."""
    picture, series, row = (12, 12, 3), (9, 4), (6,)
    nets: dict[str, tuple[tuple[Any, ...], Callable[[Any, Any], Any]]] = {
        f"Dense {name}": (row, lambda k, x, name=name: k.layers.Dense(5, name)(x))
        for name in ("relu", "gelu", "selu", "softplus", "hard_sigmoid", "mish", "softmax")
    }
    nets |= {
        "LeakyReLU": (row, lambda k, x: k.layers.LeakyReLU(0.2)(x)),
        "PReLU": (row, lambda k, x: k.layers.PReLU("random_normal")(x)),
        "Conv1D causal": (series, lambda k, x: k.layers.Conv1D(5, 3, padding="causal")(x)),
        "Conv2D strides": (picture, lambda k, x: k.layers.Conv2D(5, 3, 2, "same")(x)),
        "Conv2D dilated": (picture, lambda k, x: k.layers.Conv2D(4, 3, dilation_rate=2, padding="same")(x)),
        "Conv2D groups": (picture, lambda k, x: k.layers.Conv2D(6, 3, groups=3)(x)),
        "Conv3D": ((5, 6, 6, 2), lambda k, x: k.layers.Conv3D(3, 3)(x)),
        "DepthwiseConv2D": (picture, lambda k, x: k.layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x)),
        "SeparableConv2D": (picture, lambda k, x: k.layers.SeparableConv2D(5, 3)(x)),
        "Conv2DTranspose": (picture, lambda k, x: k.layers.Conv2DTranspose(4, 3, 2, "same")(x)),
        "Conv1DTranspose": (series, lambda k, x: k.layers.Conv1DTranspose(3, 4, 2, "valid")(x)),
        "MaxPooling2D same": (picture, lambda k, x: k.layers.MaxPooling2D(3, 2, "same")(x)),
        "AveragePooling2D same": (picture, lambda k, x: k.layers.AveragePooling2D(3, 2, "same")(x)),
        "AveragePooling1D": (series, lambda k, x: k.layers.AveragePooling1D(2)(x)),
        "GlobalMaxPooling2D": (picture, lambda k, x: k.layers.GlobalMaxPooling2D()(x)),
        "GlobalAveragePooling1D": (series, lambda k, x: k.layers.GlobalAveragePooling1D()(x)),
        "BatchNormalization": (picture, lambda k, x: k.layers.BatchNormalization()(x)),
        "LayerNormalization": (series, lambda k, x: k.layers.LayerNormalization()(x)),
        "GroupNormalization": ((5, 5, 6), lambda k, x: k.layers.GroupNormalization(3)(x)),
        "RMSNormalization": (row, lambda k, x: k.layers.RMSNormalization()(x)),
        "UnitNormalization": (row, lambda k, x: k.layers.UnitNormalization()(x)),
        "LSTM": (series, lambda k, x: k.layers.LSTM(5)(x)),
        "LSTM sequences": (series, lambda k, x: k.layers.LSTM(5, return_sequences=True)(x)),
        "GRU": (series, lambda k, x: k.layers.GRU(5)(x)),
        "SimpleRNN": (series, lambda k, x: k.layers.SimpleRNN(5)(x)),
        "Bidirectional LSTM": (series, lambda k, x: k.layers.Bidirectional(k.layers.LSTM(4))(x)),
        "LSTM of free length": ((None, 4), lambda k, x: k.layers.LSTM(5)(x)),
        "ConvLSTM2D": ((3, 6, 6, 2), lambda k, x: k.layers.ConvLSTM2D(3, 3)(x)),
        "TimeDistributed": (series, lambda k, x: k.layers.TimeDistributed(k.layers.Dense(3))(x)),
        "Embedding": (("int32", 7), lambda k, x: k.layers.Embedding(9, 4)(x)),
        "Embedding with mask": (
            ("int32", 7), lambda k, x: k.layers.LSTM(3)(k.layers.Embedding(9, 4, mask_zero=True)(x))
        ),
        "MultiHeadAttention": (series, lambda k, x: k.layers.MultiHeadAttention(2, 3)(x, x)),
        "MultiHeadAttention causal": (
            series, lambda k, x: k.layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)
        ),
        "GroupQueryAttention": (series, lambda k, x: k.layers.GroupQueryAttention(4, 4, 2)(x, x)),
        "AdditiveAttention": (series, lambda k, x: k.layers.AdditiveAttention()([x, x])),
        "EinsumDense": (series, lambda k, x: k.layers.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d")(x)),
        "Reshape and Permute": (series, lambda k, x: k.layers.Permute((2, 1))(k.layers.Reshape((6, 6))(x))),
        "Padding and cropping": (picture, lambda k, x: k.layers.Cropping2D(2)(k.layers.ZeroPadding2D((1, 3))(x))),
        "UpSampling2D bilinear": (picture, lambda k, x: k.layers.UpSampling2D(2, interpolation="bilinear")(x)),
        "Resizing": (picture, lambda k, x: k.layers.Resizing(7, 9)(x)),
        "CenterCrop": (picture, lambda k, x: k.layers.CenterCrop(6, 8)(x)),
        "Operations": (series, lambda k, x: k.ops.sum(x[:, ::2] * 2 + 1, axis=1)),
        "Rescaling": (picture, lambda k, x: k.layers.Rescaling(1 / 127.5, -1)(x)),
        "Normalization": (
            row, lambda k, x: _adapted(k.layers.Normalization(), np.random.default_rng(0).normal(3, 2, (50, 6)))(x)
        ),
        "Discretization": (row, lambda k, x: k.layers.Discretization([-1.0, 0.0, 0.5])(x)),
        "CategoryEncoding": (
            ("int32", 4), lambda k, x: k.layers.CategoryEncoding(9, output_mode="multi_hot")(x)
        ),
        "IntegerLookup": (("int32", 3), lambda k, x: k.layers.IntegerLookup(vocabulary=[2, 5, 7])(x)),
        "StringLookup": (("string", 1), lambda k, x: k.layers.StringLookup(vocabulary=["red", "blue", "green"])(x)),
        "TextVectorization": (
            ("string", 1), lambda k, x: k.layers.TextVectorization(vocabulary=["red", "fox", "rome"],
                                                                   output_sequence_length=4)(x)
        ),
        "Hashing": (("int32", 3), lambda k, x: k.layers.Hashing(5)(x)),
    }  # fmt: skip
    return nets


def nets_of_several_ends() -> dict[str, Callable[[], tuple[Any, dict[str, np.ndarray]]]]:
    """Nets of two inputs or two outputs."""
    return {"Two inputs": _two_inputs, "Two outputs": _two_outputs, "A net in a net": _nested}


def _pair_rows() -> dict[str, np.ndarray]:
    random = np.random.default_rng(4)
    return {name: random.normal(size=(NUM_ROWS, 5)).astype("float32") for name in ("left", "right")}


def _two_inputs() -> tuple[Any, dict[str, np.ndarray]]:
    import keras

    left, right = keras.Input((5,), name="left"), keras.Input((5,), name="right")
    joined = [keras.layers.Dot(1)([left, right]), keras.layers.Maximum()([left, right]), left - right]
    model = keras.Model({"left": left, "right": right}, keras.layers.Dense(3)(keras.layers.Concatenate()(joined)))
    return model, _pair_rows()


def _two_outputs() -> tuple[Any, dict[str, np.ndarray]]:
    import keras

    start = keras.Input((5,), name="left")
    inner = keras.layers.Dense(4, "tanh")(start)
    ends = {"kind": keras.layers.Dense(3, "softmax")(inner), "value": keras.layers.Dense(1)(inner)}
    return keras.Model(start, ends), {"left": _pair_rows()["left"]}


def _nested() -> tuple[Any, dict[str, np.ndarray]]:
    import keras

    inner = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(4)])
    start = keras.Input((5,), name="left")
    return keras.Model(start, keras.layers.Add()([inner(start), inner(start * 2)])), {"left": _pair_rows()["left"]}
