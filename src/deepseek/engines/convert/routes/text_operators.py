"""Texts to whole numbers in operators of ONNX alone, as TextVectorization of Keras does it with those of TensorFlow.

    nodes = GraphNodes("front_0")
    ids = vectorize_texts(nodes, "text", TextSettings(("red", "fox"), sequence_length=4))     # the name of (N, 4)
    nodes.nodes, nodes.constants                                    # what goes before the nodes that read `ids`

ONNX replaces nothing within a text. A text that is split at a character and joined again has lost it, so punctuation
goes a character at a time; each join is a loop over the parts. Letters are lowered in the locale "C", which knows
those of ASCII alone, as tf.strings.lower does. Source: Keras 3, layers/preprocessing/text_vectorization.py and
index_lookup.py; ONNX, docs/Operators.md (StringSplit, StringConcat and StringNormalizer of opset 20).
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.extras import need

OPSET = 20  # from which on texts are split and joined
BLANKS = "\t\n\v\f\r"  # that are between words beside the space itself
PADDING = ""  # the word of what is behind a text's last one
MODES = ("int", "multi_hot", "count", "tf_idf")


@dataclass(frozen=True, slots=True, eq=False)
class TextSettings:
    """What a TextVectorization does, as it was adapted."""

    words: tuple[str, ...]  # in the order of their numbers, padding and unknown words not among them
    lowers: bool = True
    strips: bool = True  # punctuation
    splits: bool = True  # into words; else the whole text is one
    mode: str = "int"  # of MODES
    sequence_length: int | None = None  # of mode int
    width: int = 0  # of the other modes
    weights: NDArray[np.float32] | None = None  # (width,) of tf_idf


@dataclass(slots=True)
class GraphNodes:
    """Nodes and constants of a graph in the making; every name begins with `prefix`."""

    prefix: str
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    num_names: int = 0

    def name(self) -> str:
        self.num_names += 1
        return f"{self.prefix}/{self.num_names}"

    def add(self, operator: str, *inputs: str, domain: str = "", num_outputs: int = 1, **attributes: Any) -> str:
        """A node of these inputs ("" leaves one out). Returns the name of its first output."""
        outputs = [self.name() for _ in range(num_outputs)]
        make = need("onnx", extra="tensorflow").helper.make_node
        self.nodes.append(make(operator, list(inputs), outputs, domain=domain or None, **attributes))
        return outputs[0]

    def constant(self, values: NDArray[Any]) -> str:
        onnx = need("onnx", extra="tensorflow")
        name = self.name()
        if values.dtype.kind == "U":
            texts = [str(each).encode() for each in values.ravel()]
            tensor = onnx.helper.make_tensor(name, onnx.TensorProto.STRING, values.shape, texts)
        else:
            tensor = onnx.numpy_helper.from_array(values, name)
        self.constants.append(tensor)
        return name

    def numbers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))


def vectorize_texts(nodes: GraphNodes, text: str, settings: TextSettings) -> str:
    """Texts (N, 1) or (N,) -> int64 (N, L) in mode int, else float32 (N, width)."""
    texts = nodes.add("Reshape", text, nodes.numbers(-1))
    if settings.lowers:
        texts = nodes.add("StringNormalizer", texts, case_change_action="LOWER", locale="C")
    if settings.strips:
        for character in string.punctuation:
            texts = replace_character(nodes, texts, character, "")
    rows = nodes.add("Shape", texts)
    words = _split_into_words(nodes, texts) if settings.splits else nodes.add("Reshape", texts, nodes.numbers(-1, 1))
    if settings.mode != "int":
        return _count_words(nodes, words, rows, settings)
    length = settings.sequence_length
    if length is not None:
        words = nodes.add("Concat", words, _padding(nodes, rows, length), axis=1)
        words = nodes.add("Slice", words, nodes.numbers(0), nodes.numbers(length), nodes.numbers(1))
    numbers = {PADDING: 0} | {word: place + 2 for place, word in enumerate(settings.words)}
    return look_up(nodes, words, list(numbers), list(numbers.values()), unknown=1)


def replace_character(nodes: GraphNodes, texts: str, character: str, by: str) -> str:
    """Texts (N,) without a character: with `by` in its place, and once more at the end."""
    parts = nodes.add("StringSplit", texts, num_outputs=2, delimiter=character)
    num_parts = nodes.add("Squeeze", nodes.add("Shape", parts, start=1, end=2))
    empty = nodes.add("Expand", nodes.constant(np.array([""])), nodes.add("Shape", texts))
    return nodes.add("Loop", num_parts, "", empty, body=_joining_body(nodes, parts, by))


def _joining_body(nodes: GraphNodes, parts: str, by: str) -> Any:
    """The graph of a loop that puts the next of `parts` (N, P), and `by`, behind each text (N,)."""
    onnx = need("onnx", extra="tensorflow")
    inner = GraphNodes(nodes.name())
    step, condition, joined = inner.name(), inner.name(), inner.name()
    ahead = inner.add("StringConcat", joined, inner.add("Gather", parts, step, axis=1))
    if by:
        ahead = inner.add("StringConcat", ahead, inner.constant(np.array([by])))
    goes_on = inner.add("Identity", condition)
    describe, types = onnx.helper.make_tensor_value_info, onnx.TensorProto
    return onnx.helper.make_graph(
        inner.nodes, f"{inner.prefix}/join",
        [describe(step, types.INT64, []), describe(condition, types.BOOL, []), describe(joined, types.STRING, [None])],
        [describe(goes_on, types.BOOL, []), describe(ahead, types.STRING, [None])], inner.constants,
    )  # fmt: skip


def _split_into_words(nodes: GraphNodes, texts: str) -> str:
    """Texts (N,) -> words (N, W), those of shorter texts behind their end PADDING. onnxruntime splits at spaces."""
    for blank in BLANKS:
        texts = replace_character(nodes, texts, blank, " ")
    return nodes.add("StringSplit", texts, num_outputs=2)


def _padding(nodes: GraphNodes, rows: str, length: int) -> str:
    shape = nodes.add("Concat", rows, nodes.numbers(length), axis=0)
    return nodes.add("Expand", nodes.constant(np.array([[PADDING]])), shape)


def _count_words(nodes: GraphNodes, words: str, rows: str, settings: TextSettings) -> str:
    """Words (N, W) -> how often each is there (N, width), or whether it is, or weighed; place 0 is the unknown ones."""
    words = nodes.add("Concat", words, _padding(nodes, rows, 1), axis=1)
    width = settings.width
    numbers = {PADDING: width} | {word: place + 1 for place, word in enumerate(settings.words)}
    places = look_up(nodes, words, list(numbers), list(numbers.values()), unknown=0)
    values = nodes.constant(np.array([0, 1], np.float32))
    counts = nodes.add("ReduceSum", nodes.add("OneHot", places, nodes.numbers(width + 1), values), nodes.numbers(1),
                       keepdims=0)  # fmt: skip
    counts = nodes.add("Slice", counts, nodes.numbers(0), nodes.numbers(width), nodes.numbers(1))
    if settings.mode == "multi_hot":
        return nodes.add("Min", counts, nodes.constant(np.array(1, np.float32)))
    if settings.weights is not None:
        return nodes.add("Mul", counts, nodes.constant(settings.weights.astype(np.float32)))
    return counts


def look_up(nodes: GraphNodes, keys: str, known: list[Any], numbers: list[int], *, unknown: int) -> str:
    """Texts or int64 of any shape -> int64 of that shape: the number of each key, `unknown` for another one."""
    domain = "ai.onnx.ml"
    if isinstance(known[0], str):
        return nodes.add("LabelEncoder", keys, domain=domain, keys_strings=known, values_int64s=numbers,
                         default_int64=unknown)  # fmt: skip
    return nodes.add("LabelEncoder", keys, domain=domain, keys_int64s=known, values_int64s=numbers,
                     default_int64=unknown)  # fmt: skip
