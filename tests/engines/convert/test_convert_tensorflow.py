"""TensorFlow's formats become bundles: SavedModel, TensorFlow Lite, and Keras models that need TensorFlow.

Only the worker needs TensorFlow: where it is not installed beside the tests, `make test-tensorflow` makes the
environment `.venv-tensorflow` for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.cli.support.opening_plain import open_verified
from deepseek.engines.convert.bundle import ConvertOptions, convert_model
from deepseek.errors import ExtraError, InputError
from deepseek.extras import is_installed

ROOT = Path(__file__).resolve().parents[3]
PYTHON = Path(sys.executable) if is_installed("tensorflow") else ROOT / ".venv-tensorflow" / "bin" / "python"
has_tensorflow = pytest.mark.skipif(not PYTHON.is_file(), reason="needs TensorFlow: make test-tensorflow")
pytestmark = pytest.mark.slow
#: Written in a process of TensorFlow's own: the models, rows, and what they answer to three fresh rows.
MAKE = """
import os, sys
os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
import keras, numpy as np, tensorflow as tf
folder = sys.argv[1]
keras.utils.set_random_seed(0)
random = np.random.default_rng(0)
rows = random.normal(size=(20, 4)).astype("float32")
fresh = random.normal(size=(3, 4)).astype("float32")
net = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(8, "relu"), keras.layers.Dense(3, "softmax")])
net.export(f"{folder}/saved", verbose=False)
np.savez(f"{folder}/rows.npz", x=rows)
np.savez(f"{folder}/fresh.npz", x=fresh, net=net(fresh).numpy())
double = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Lambda(lambda x: 2 * x), keras.layers.Dense(2)])
double.export(f"{folder}/lambda", verbose=False)
np.savez(f"{folder}/fresh_lambda.npz", x=fresh, double=double(fresh).numpy())
texts, kinds = keras.Input((1,), dtype="string", name="text"), keras.Input((2,), dtype="int32", name="kind")
split = keras.layers.TextVectorization(vocabulary=["red", "fox"], output_sequence_length=4)
count = keras.layers.TextVectorization(vocabulary=["red", "fox"], output_mode="count")
look_up = keras.layers.IntegerLookup(vocabulary=[2, 5], mask_token=0)
read = keras.Model([texts, kinds], {"count": count(texts), "ids": split(texts), "kinds": look_up(kinds),
                                    "score": keras.layers.Dense(2)(keras.layers.Embedding(4, 3)(split(texts)))})
read.save(f"{folder}/texts.keras")
np.savez(f"{folder}/texts.npz", text=np.array([["red fox"], ["a fox"]] * 4), kind=random.integers(0, 7, (8, 2)))
odd = np.array([["Red, red\tFOX -- it's a fox! fox"], [""], ["!!!"], ["FOX red-fox"]])
known = np.array([[0, 2], [5, 7], [2, 2], [-1, 5]], "int32")
answers = read([tf.constant(odd), tf.constant(known)])
expected = {f"expected_{name}": each.numpy() for name, each in answers.items()}
np.savez(f"{folder}/fresh_texts.npz", text=odd, kind=known, **expected)
letters = keras.layers.TextVectorization(vocabulary=["a"], split="character", output_sequence_length=3)
keras.Model(texts, letters(texts)).save(f"{folder}/letters.keras")
words = keras.Input((1,), dtype="string", name="color")
look_up = keras.layers.StringLookup(vocabulary=["red", "blue", "green"], output_mode="one_hot")
colors = keras.Model(words, keras.layers.Dense(2)(look_up(words)))
colors.save(f"{folder}/colors.keras")
named = np.array([["red"], ["blue"], ["gray"], ["green"]] * 4)
np.savez(f"{folder}/colors.npz", color=named)
np.savez(f"{folder}/fresh_colors.npz", color=named[1:4], colors=colors(tf.constant(named[1:4])).numpy())

class Two(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((None, 4), name="x"), tf.TensorSpec((None,), tf.int32, name="k")])
    def score(self, x, k):
        return {"sum": tf.reduce_sum(x, 1) * tf.cast(k, tf.float32), "first": x[:, 0]}

    @tf.function(input_signature=[tf.TensorSpec(None, name="x")])
    def anything(self, x):
        return {"twice": 2 * x}

class Saving(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((None, 4), name="x")])
    def save(self, x):
        tf.raw_ops.SaveV2(prefix=f"{folder}/written", tensor_names=["x"], shape_and_slices=[""], tensors=[x])
        return {"y": 2 * x}

class Python(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((None, 4), name="x")])
    def python(self, x):
        return {"y": tf.ensure_shape(tf.py_function(lambda v: v, [x], tf.float32), (None, 4))}

class Words(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((None, 1), tf.string, name="text")])
    def words(self, text):
        return {"y": tf.strings.regex_replace(text, "[0-9]", "#")}

class Ragged(tf.Module):
    @tf.function(input_signature=[tf.RaggedTensorSpec((None, None), tf.float32)])
    def ragged(self, x):
        return {"y": tf.reduce_sum(x, 1)}

class Within(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((None, 4), name="x")])
    def within(self, x):
        return {"y": tf.RaggedTensor.from_tensor(x, padding=0.0).to_tensor(0.0)}

words, ragged, within = Words(), Ragged(), Within()
tf.saved_model.save(within, f"{folder}/within", signatures={"serving_default": within.within})
tf.saved_model.save(words, f"{folder}/words", signatures={"serving_default": words.words})
tf.saved_model.save(ragged, f"{folder}/ragged", signatures={"serving_default": ragged.ragged})
two, python = Two(), Python()
tf.saved_model.save(two, f"{folder}/two", signatures={"score": two.score, "anything": two.anything})
tf.saved_model.save(python, f"{folder}/python", signatures={"serving_default": python.python})
saving = Saving()
tf.saved_model.save(saving, f"{folder}/saving", signatures={"serving_default": saving.save})
np.savez(f"{folder}/two.npz", x=rows, k=random.integers(0, 5, 20).astype("int32"))

def lite(quantized):
    converter = tf.lite.TFLiteConverter.from_keras_model(net)
    if quantized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([row[None]] for row in rows)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return converter.convert()

open(f"{folder}/net.tflite", "wb").write(lite(False))
open(f"{folder}/int8.tflite", "wb").write(lite(True))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tensorflow")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KERAS")}
    subprocess.run([str(PYTHON), "-W", "ignore", "-c", MAKE, str(folder)], check=True, env=environment)
    return folder


def convert(folder: Path, source: str, data: str, out: Path, **options: Any) -> Any:
    return convert_model(folder / source, folder / data, out, ConvertOptions(python=PYTHON, **options))


def served_answers(bundle: Path, rows: dict[str, Any]) -> list[Any]:
    adapter = open_verified(bundle, None)
    count = len(next(iter(rows.values())))
    prepared = adapter.prepare([{name: array[row].tolist() for name, array in rows.items()} for row in range(count)])
    answers = list(adapter.run(prepared.features.arrays).values())
    adapter.close()
    return answers


@has_tensorflow
@pytest.mark.parametrize(("source", "title"), [("saved", "TensorFlow SavedModel"), ("net.tflite", "TensorFlow Lite")])
def test_a_net_by_its_formats_answers_as_keras_does(folder: Path, source: str, title: str, tmp_path: Path) -> None:
    done = convert(folder, source, "rows.npz", tmp_path / "out")
    assert (done.title, done.agreement.holds) == (title, True)
    fresh = np.load(folder / "fresh.npz")
    (answer,) = served_answers(tmp_path / "out", {done.inputs[0].partition(":")[0]: fresh["x"]})
    np.testing.assert_allclose(answer, fresh["net"], atol=1e-5)


@has_tensorflow
def test_a_lambda_layer_of_a_saved_model_is_a_graph_like_any_other(folder: Path, tmp_path: Path) -> None:
    done = convert(folder, "lambda", "rows.npz", tmp_path / "out")
    fresh = np.load(folder / "fresh_lambda.npz")
    (answer,) = served_answers(tmp_path / "out", {done.inputs[0].partition(":")[0]: fresh["x"]})
    np.testing.assert_allclose(answer, fresh["double"], atol=1e-5)


@has_tensorflow
def test_texts_are_looked_up_in_the_bundle(folder: Path, tmp_path: Path) -> None:
    done = convert(folder, "colors.keras", "colors.npz", tmp_path / "out")
    assert done.inputs == ("color: str [?, 1]",)
    fresh = np.load(folder / "fresh_colors.npz")
    (answer,) = served_answers(tmp_path / "out", {"color": fresh["color"]})
    np.testing.assert_allclose(answer, fresh["colors"], atol=1e-6)


@has_tensorflow
def test_texts_are_split_and_whole_numbers_looked_up_in_the_bundle(folder: Path, tmp_path: Path) -> None:
    done = convert(folder, "texts.keras", "texts.npz", tmp_path / "out")
    assert done.export == "keras on tensorflow, look-up by operators of ONNX"
    fresh = np.load(folder / "fresh_texts.npz")
    answers = served_answers(tmp_path / "out", {"text": fresh["text"], "kind": fresh["kind"]})
    for name, answer in zip(("count", "ids", "kinds", "score"), answers, strict=True):  # as Keras sorts them
        expected = fresh[f"expected_{name}"]
        assert answer.dtype == expected.dtype
        np.testing.assert_allclose(answer, expected, atol=1e-6)


@has_tensorflow
def test_a_signature_of_two_inputs_and_two_outputs(folder: Path, tmp_path: Path) -> None:
    done = convert(folder, "two", "two.npz", tmp_path / "out", signature="score")
    assert [each.partition(":")[0] for each in done.inputs] == ["k", "x"]
    first, total = served_answers(tmp_path / "out", {"k": np.array([2, 3]), "x": np.ones((2, 4))})
    np.testing.assert_allclose(first, [1, 1])
    np.testing.assert_allclose(total, [8, 12])


@has_tensorflow
@pytest.mark.parametrize(
    ("source", "data", "options", "words"),
    [
        ("python", "rows.npz", {}, "calls Python in its operator EagerPyFunc"),
        ("saving", "rows.npz", {}, "reads or writes files in its operator SaveV2"),
        ("two", "rows.npz", {"signature": "anything"}, "no known number of axes"),
        ("two", "rows.npz", {"signature": "other"}, "has no signature 'other'"),
        ("int8.tflite", "rows.npz", {}, "is quantized to int8"),
        ("ragged", "rows.npz", {}, "takes ragged tensors.*dense tensors.*pad the sequences"),
        ("within", "rows.npz", {}, "works on ragged tensors in its operator RaggedTensorToTensor"),
        ("words", "colors.npz", {}, "cannot be exported.*StaticRegexReplace"),
        ("letters.keras", "colors.npz", {}, "the TextVectorization 'text_vectorization.*' splits by character"),
    ],
)
def test_what_is_not_converted_is_named(
    folder: Path, source: str, data: str, options: dict[str, str], words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        convert(folder, source, data, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    assert not list(folder.glob("written*"))


@pytest.mark.skipif(is_installed("tensorflow"), reason="for a Python without TensorFlow")
def test_without_tensorflow_it_is_said_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"\x1c\0\0\0TFL3" + b"\0" * 40)
    np.savez(tmp_path / "rows.npz", x=np.zeros((2, 4), np.float32))
    with pytest.raises(ExtraError, match=r"has no tensorflow.*\[tensorflow\].*name its Python with --python"):
        convert_model(tmp_path / "model.tflite", tmp_path / "rows.npz", tmp_path / "out")
