"""Texts become numbers by operators of ONNX as they do by a few lines of Python."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from deepseek.engines.convert.routes.text_operators import OPSET, GraphNodes, TextSettings, look_up, vectorize_texts

WORDS = ("red", "fox", "dont", "42", "É")
TEXTS = [
    "Don't PANIC, É the fox -- 42!", "", "  a\tred\nfox\r\nfox\v\fred ", "!!!", "RED  Fox; é", "red-fox red",
    "fox " * 9, string.punctuation + " red " + string.punctuation, "日本 red\u00a0fox",
]  # fmt: skip


def open_nodes(nodes: GraphNodes, start: Any, output: str, kind: str) -> Callable[[Any], Any]:
    """What a graph of these nodes makes of its input."""
    end = onnx.helper.make_tensor_value_info(output, getattr(onnx.TensorProto, kind), None)
    graph = onnx.helper.make_graph(nodes.nodes, "texts", [start], [end], nodes.constants)
    versions = [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid("ai.onnx.ml", 3)]
    model = onnx.helper.make_model(graph, opset_imports=versions, ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda values: session.run(None, {start.name: values})[0]


def reader_of(settings: TextSettings, kind: str = "INT64") -> Callable[[list[str]], Any]:
    """Texts to numbers by a graph."""
    nodes = GraphNodes("front")
    name = vectorize_texts(nodes, "text", settings)
    start = onnx.helper.make_tensor_value_info("text", onnx.TensorProto.STRING, [None, 1])
    compute = open_nodes(nodes, start, name, kind)
    return lambda texts: compute(np.array(texts, object)[:, None])


def words_of(text: str, settings: TextSettings) -> list[str]:
    if settings.lowers:
        text = "".join(each.lower() if each.isascii() else each for each in text)
    if settings.strips:
        text = "".join(each for each in text if each not in string.punctuation)
    return [word for word in text.replace("\u00a0", "_").split() if word] if settings.splits else [text]


@pytest.mark.parametrize(("lowers", "strips"), [(True, True), (True, False), (False, True), (False, False)])
def test_the_words_of_each_text_in_their_order(lowers: bool, strips: bool) -> None:
    settings = TextSettings(WORDS, lowers, strips, sequence_length=5)
    expected = np.zeros((len(TEXTS), 5), np.int64)
    for row, text in enumerate(TEXTS):
        for place, word in enumerate(words_of(text, settings)[:5]):
            expected[row, place] = WORDS.index(word) + 2 if word in WORDS else 1
    read = reader_of(settings)
    np.testing.assert_array_equal(read(TEXTS), expected)
    for row, text in enumerate(TEXTS):
        np.testing.assert_array_equal(read([text]), expected[row : row + 1])


def test_a_text_that_is_not_split_is_one_word() -> None:
    settings = TextSettings(("red fox", "red"), splits=False)
    assert reader_of(settings)(["Red fox!", "red", "", "fox"]).tolist() == [[2], [3], [0], [1]]


@pytest.mark.parametrize("mode", ["count", "multi_hot", "tf_idf"])
def test_how_often_each_word_is_there(mode: str) -> None:
    width = 8  # two places more than there are words
    weights = np.arange(1, width + 1, dtype=np.float32) if mode == "tf_idf" else None
    settings = TextSettings(WORDS, mode=mode, width=width, weights=weights)
    expected = np.zeros((len(TEXTS), width), np.float32)
    for row, text in enumerate(TEXTS):
        for word in words_of(text, settings):
            expected[row, WORDS.index(word) + 1 if word in WORDS else 0] += 1
    expected = np.minimum(expected, 1) if mode == "multi_hot" else expected * (1 if weights is None else weights)
    np.testing.assert_array_equal(reader_of(settings, "FLOAT")(TEXTS), expected)


def test_whole_numbers_have_their_number_and_the_others_one() -> None:
    nodes = GraphNodes("front")
    name = look_up(nodes, "k", [0, 2, 5], [0, 2, 3], unknown=1)
    start = onnx.helper.make_tensor_value_info("k", onnx.TensorProto.INT64, [None, 2])
    answer = open_nodes(nodes, start, name, "INT64")(np.array([[0, 2], [5, 7], [-1, 2]], np.int64))
    assert answer.tolist() == [[0, 2], [3, 1], [1, 2]]
