"""Bundles of several modalities made by hand in milliseconds: real readers, a real graph, no training.

Each modality speaks by the mean of its array; the first two also by their product, which neither says alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from deepseek.bundle import EngineEntry, Manifest, Output, write_bundle
from deepseek.data import find_kinds, fit_preprocessor, read_table
from deepseek.data.media.audio import AudioReader
from deepseek.data.media.image import ImageReader
from deepseek.data.media.scan import ScanReader
from deepseek.data.media.series import SeriesReader
from deepseek.data.media.source import Limits
from deepseek.data.media.text import TextReader
from deepseek.data.media.video import VideoReader
from deepseek.data.samples.preparer import PRESENT_SUFFIX, TABLE_ARRAY, MediaColumn, SamplePreparer
from support.nets.onnxgraphs import node

TEXTS = ["sleeps well at night", "coughs at night", "says nothing"]
READERS: Mapping[str, Any] = {
    "photo": ImageReader(size=(8, 8), channels=1), "cough": AudioReader(rate_hz=8_000, seconds=0.1),
    "ct": ScanReader(size=(4, 6, 6), window=(40.0, 400.0), spacing_mm=(1.0, 1.0, 1.0)),
    "pulse": SeriesReader(length=6, fill=(0.5, -0.5), names=("left", "right")),
    "film": VideoReader(num_frames=2, size=(8, 8), seconds=0.5, sound_rate=8_000),
}  # fmt: skip
SCALES = {"uint8": 1 / 128, "int64": 0.02, "float32": 1.0}
TOGETHER, BIAS = 0.7, -0.4
PRIORS = {0: [1.5], 2: [0.75, 0.25], 3: [0.5, 0.3, 0.2]}  # mean, or shares of classes, in a training that never was
SLOPES = (-0.5, 1.0, 0.2)  # of three classes: how much of the sum is each one's margin
TYPES = {"uint8": TensorProto.UINT8, "int64": TensorProto.INT64, "float32": TensorProto.FLOAT}


def preparer_of(columns: tuple[str, ...]) -> SamplePreparer:
    """Of these columns in this order; "note" is a text, "age" and "sex" the table."""
    media = [MediaColumn(name, READERS[name].kind, READERS[name]) for name in columns if name in READERS]
    if "note" in columns:
        media.append(MediaColumn("note", "text", TextReader.fit(TEXTS, num_tokens=8)))
    table = None
    if "age" in columns:
        training = read_table(
            {"age": np.linspace(20.5, 60.25, 40), "sex": np.array(["f", "m"] * 20, object), "ill": [0, 1] * 20}
        )
        table = fit_preprocessor(training, find_kinds(training, target="ill"), target="ill")
    return SamplePreparer(tuple(media), table, ("ill",), Limits(max_pixels=1_000_000))


def sampled_bundle(
    out: Path,
    columns: tuple[str, ...],
    *,
    labels: tuple[str, ...] = ("no", "yes"),
    weights: Mapping[str, NDArray[np.float32]] | None = None,
) -> Path:
    """A bundle whose graph is graph_of()."""
    preparer = preparer_of(columns)
    outputs = (
        (Output("label", "str"), Output("probabilities", "float32", (len(labels),)))
        if labels
        else (Output("value", "float32"),)
    )
    manifest = Manifest(
        name=out.name, version="1", created="2026-01-01T00:00:00+00:00",
        task={0: "regression", 2: "binary"}.get(len(labels), "multiclass"), target="ill", outputs=outputs,
        inputs=preparer.inputs(), labels=labels,
        threshold=0.5 if len(labels) == 2 else None, engines=(EngineEntry("onnxruntime", "model.onnx", 0.0),),
    )  # fmt: skip
    example = {"note": "text"} if "note" in columns else {}
    documents = {
        "decision.json": {"threshold": 0.5 if len(labels) == 2 else None}
        if labels
        else {"interval": {"level": 0.9, "half_width": 8.0}},
        "example.json": example | (preparer.table.example() if preparer.table else {}),
        "model.json": {
            "kind": "fused",
            "calibration": {"slope": 1.0, "bias": [0.0] * max(1, len(labels) - (len(labels) == 2))},
            "prior": PRIORS[len(labels)],
        },
    }
    files = {name: json.dumps(document).encode() for name, document in documents.items()}
    graph = graph_of(preparer, len(labels), weights or {})
    return write_bundle(out, manifest, files | {"samples.json": preparer.to_bytes(), "model.onnx": graph}).path


def graph_of(preparer: SamplePreparer, num_labels: int, arrays: Mapping[str, NDArray[np.float32]]) -> bytes:
    """told = BIAS + the sum of the means of what is there + TOGETHER * product of the first two. The mean is of what an
    array is times its weights, where `arrays` has some."""
    shapes = {name: array for column in preparer.media for name, array in column.arrays.items()}
    if preparer.table is not None:
        shapes[TABLE_ARRAY] = ((len(preparer.table.feature_names),), "float32")
    inputs, nodes, said = [], [], []
    for at, (name, (shape, dtype)) in enumerate(shapes.items()):
        inputs.append(helper.make_tensor_value_info(name, TYPES[dtype], ["N", *shape]))
        inputs.append(helper.make_tensor_value_info(name + PRESENT_SUFFIX, TensorProto.BOOL, ["N"]))
        nodes += [
            helper.make_node("Cast", [name], [f"w{at}"], to=TensorProto.FLOAT),
            node("Mul", f"w{at} {f'net.{name}.weight' if name in arrays else 'whole'}", f"f{at}"),
            node("Flatten", f"f{at}", f"v{at}", axis=1), node("ReduceMean", f"v{at}", f"m{at}", axes=[1]),
            helper.make_node("Cast", [name + PRESENT_SUFFIX], [f"b{at}"], to=TensorProto.FLOAT),
            node("Unsqueeze", f"b{at} one", f"t{at}"), node("Mul", f"m{at} t{at}", f"p{at}"),
            node("Mul", f"p{at} scale_{dtype}", f"s{at}"),
        ]  # fmt: skip
        said.append(f"s{at}")
    second = said[min(1, len(said) - 1)]
    nodes += [
        helper.make_node("Sum", said, ["sum"]), node("Mul", f"s0 {second}", "product"),
        node("Mul", "product together", "both"), node("Add", "sum both", "all"), node("Add", "all bias", "told"),
        *_answer(num_labels),
        helper.make_node("Concat", said, ["gates"], axis=1), node("Unsqueeze", "gates two", "voices"),
        node("Identity", "voices", "attention"),
    ]  # fmt: skip
    weights: dict[str, NDArray[Any]] = {
        "one": np.array([1]), "two": np.array([2]), "together": np.float32([TOGETHER]), "bias": np.float32([BIAS]),
        "whole": np.float32([1]), "slopes": np.float32(SLOPES),
        **{f"scale_{dtype}": np.float32([scale]) for dtype, scale in SCALES.items()},
        **{f"net.{name}.weight": array for name, array in arrays.items()},
    }  # fmt: skip
    outputs = [("margin", ["N", 3 if num_labels == 3 else 1]), ("output", ["N", max(1, num_labels)])]
    outputs += [("voices", ["N", len(said), 1]), ("gates", ["N", len(said)]), ("attention", ["N", len(said), 1])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs]
    constants = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "sampled", inputs, ends, constants), opset_imports=[helper.make_opsetid("", 17)],
        ir_version=10,
    )  # fmt: skip
    data: bytes = model.SerializeToString()
    return data


def _answer(num_labels: int) -> list[Any]:
    """What was told -> margin and output."""
    if num_labels == 3:
        return [node("Mul", "told slopes", "margin"), node("Softmax", "margin", "output", axis=1)]
    if num_labels == 0:
        return [node("Identity", "told", "margin"), node("Identity", "told", "output")]
    return [
        node("Identity", "told", "margin"), node("Sigmoid", "told", "yes"), node("Sub", "whole yes", "no"),
        node("Concat", "no yes", "output", axis=1),
    ]  # fmt: skip
