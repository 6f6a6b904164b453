"""What is not converted is refused by name, before any framework sees it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.engines.convert.bundle import ConvertOptions, convert_model
from deepseek.engines.convert.keras_file import check_keras_file
from deepseek.engines.convert.rows import match_inputs, read_rows
from deepseek.engines.convert.saved_model import check_saved_model
from deepseek.engines.convert.source import HDF5_MAGIC, Source
from deepseek.engines.onnx_file.signature import TensorSpec
from deepseek.errors import InputError, MissingError, TooLargeError

DENSE = {"module": "keras.layers", "class_name": "Dense", "registered_name": None,
         "config": {"name": "dense", "units": 2, "activation": "relu"}}  # fmt: skip


def keras_file(path: Path, layer: dict[str, Any] | None = None, **files: bytes | None) -> Path:
    """A .keras file with one layer; further files by name, or None for one that is left out."""
    config = {"module": "keras", "class_name": "Sequential", "registered_name": "Sequential",
              "config": {"name": "net", "layers": [DENSE if layer is None else layer]}}  # fmt: skip
    contents: dict[str, bytes | None] = {
        "metadata.json": json.dumps({"keras_version": "3.12.0"}).encode(), "config.json": json.dumps(config).encode(),
        "model.weights.h5": b"weights", **files,
    }  # fmt: skip
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            if content is not None:
                archive.writestr(name, content)
    return path


def layer(**changes: Any) -> dict[str, Any]:
    return {**DENSE, **changes}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"class_name": "Lambda"}, "Python code in its Lambda 'dense', which is never run"),
        ({"config": {"activation": {"class_name": "__lambda__", "config": {"value": "eJw="}}}}, "Python code in its _"),
        ({"class_name": "TFSMLayer"}, "another SavedModel"),
        ({"class_name": "TorchModuleWrapper"}, "a pickled torch module"),
        ({"class_name": "MyLayer", "module": "my_package.layers", "registered_name": "mine>MyLayer"},
         "needs the custom object 'mine>MyLayer' ('dense' of 'my_package.layers')"),
        ({"class_name": "MyLayer", "module": None, "registered_name": "MyLayer"}, "custom object 'MyLayer'"),
        ({"config": {"name": "d", "activation": {"class_name": "function", "config": "system", "module": "os",
                                                 "registered_name": "function"}}}, "'system' of 'os'"),
        ({"config": {"name": "d", "x": {"class_name": "function", "config": "get_file", "module": "keras.utils",
                                        "registered_name": "get_file"}}}, "custom object 'get_file'"),
        ({"config": {"name": "words", "vocabulary": "/etc/passwd"}}, "names a file as the vocabulary of 'words'"),
        ({"config": {"name": "words", "ragged": True}}, "works on ragged tensors in 'words'"),
        ({"config": {"name": "words", "sparse": True}}, "works on sparse tensors in 'words'"),
    ],
)  # fmt: skip
def test_a_config_that_would_run_or_read_something_is_refused(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = keras_file(tmp_path / "model.keras", layer(**changes))
    with pytest.raises(InputError) as refusal:
        check_keras_file(path)
    assert words in str(refusal.value)
    assert refusal.value.expected
    assert refusal.value.fix


def test_a_plain_config_passes_and_is_read(tmp_path: Path) -> None:
    assert check_keras_file(keras_file(tmp_path / "model.keras")).keras_version == "3.12.0"


def test_how_a_model_was_compiled_is_not_looked_at_but_within_a_layer_it_is(tmp_path: Path) -> None:
    compiled = {"optimizer": {"class_name": "AdaptiveOptimizer", "module": "deepseek.optimizers.keras_torch",
                              "config": {}, "registered_name": "deepseek>AdaptiveOptimizer"}}  # fmt: skip
    whole = {"module": "keras", "class_name": "Sequential", "registered_name": "Sequential",
             "config": {"name": "net", "layers": [DENSE]}, "compile_config": compiled}  # fmt: skip
    path = keras_file(tmp_path / "model.keras", **{"config.json": json.dumps(whole).encode()})
    assert check_keras_file(path).config["compile_config"] == compiled
    inner = layer(compile_config=compiled)
    with pytest.raises(InputError, match="custom object 'deepseek>AdaptiveOptimizer'"):
        check_keras_file(keras_file(tmp_path / "inner.keras", inner))


def test_a_config_nested_beyond_the_stack_is_refused(tmp_path: Path) -> None:
    deep = b"[" * 200_000 + b"]" * 200_000
    with pytest.raises(InputError, match="no JSON that can be read"):
        check_keras_file(keras_file(tmp_path / "model.keras", **{"config.json": b'{"config": ' + deep + b"}"}))


def test_files_of_keras_2_are_refused_by_name(tmp_path: Path) -> None:
    old = keras_file(tmp_path / "old.keras", **{"metadata.json": b'{"keras_version": "2.15.0"}'})
    with pytest.raises(InputError, match=r"saved by Keras 2\.15\.0"):
        check_keras_file(old)
    (tmp_path / "model.h5").write_bytes(HDF5_MAGIC + b"\0" * 100)
    with pytest.raises(InputError, match=r"Keras 2 or HDF5 file \(\.h5\)"):
        Source.detect(tmp_path / "model.h5")


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no weights: model\.weights\.h5 is missing"):
        check_keras_file(keras_file(tmp_path / "model.keras", **{"model.weights.h5": None}))


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.keras"
    keras_file(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/zeros", bytes(80 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(TooLargeError, match="would unpack 4 files of 83,"):
        check_keras_file(path)


def test_names_that_lead_out_of_the_archive_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="would write outside of its folder"):
        check_keras_file(keras_file(tmp_path / "model.keras", **{"../../evil": b"x"}))


def _field(number: int, data: bytes) -> bytes:
    size, encoded = len(data), bytearray()
    while size > 127:
        encoded.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2]) + bytes(encoded) + bytes([size]) + data


def saved_model(folder: Path, *operators: str, in_function: bool = False, signature: str = "serving_default") -> Path:
    """A SavedModel of nodes alone, in protocol buffers written by hand."""
    folder.mkdir()
    nodes = [_field(1, b"n") + _field(2, operator.encode()) for operator in operators]
    if in_function:
        graph = _field(2, _field(1, b"".join(_field(3, node) for node in nodes)))
    else:
        graph = b"".join(_field(1, node) for node in nodes)
    meta = _field(2, graph) + _field(5, _field(1, signature.encode()))
    (folder / "saved_model.pb").write_bytes(_field(2, meta))
    return folder


@pytest.mark.parametrize("in_function", [False, True])
@pytest.mark.parametrize(
    ("operator", "words"),
    [("EagerPyFunc", "calls Python"), ("ReadFile", "reads or writes files"), ("WriteFile", "reads or writes files"),
     ("RaggedGather", "works on ragged tensors"), ("VarHandleOp", "holds no weights")],
)  # fmt: skip
def test_a_saved_model_that_would_do_more_than_compute_is_not_loaded(
    operator: str, words: str, in_function: bool, tmp_path: Path
) -> None:
    folder = saved_model(tmp_path / "model", "MatMul", operator, in_function=in_function)
    with pytest.raises(InputError, match=words):
        check_saved_model(folder)


def test_a_second_graph_and_a_vocabulary_from_elsewhere_are_refused(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "model", "InitializeTableFromTextFileV2")
    with pytest.raises(InputError, match="reads a vocabulary that is not in it"):
        check_saved_model(folder)
    (folder / "assets").mkdir()
    assert check_saved_model(folder).signatures
    (folder / "saved_model.cpb").write_bytes(b"")
    with pytest.raises(InputError, match=r"a second graph in saved_model\.cpb"):
        check_saved_model(folder)


def test_signatures_of_a_saved_model_are_known_without_tensorflow(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "model", "MatMul", "Relu", signature="score")
    assert check_saved_model(folder).signatures == {"score"}
    with pytest.raises(InputError, match=r"no signature 'serve'.*one of score"):
        check_saved_model(folder, "serve")
    (folder / "saved_model.pb").write_bytes((folder / "saved_model.pb").read_bytes()[:-3])
    with pytest.raises(InputError, match="is not whole"):
        check_saved_model(folder)


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("model.pt", lambda path: keras_zip(path, "archive/data.pkl"), "an archive of something else"),
        ("model.keras", lambda path: path.write_bytes(b"PK\x03\x04cut"), "was cut or changed"),
        ("model.bin", lambda path: path.write_bytes(b"weights"), "no model that is converted here"),
        ("folder", lambda path: path.mkdir(), "holds no model"),
        ("absent.keras", lambda path: None, "there is no model at"),
    ],
)
def test_what_is_no_model_is_said_to_be_none(
    name: str, write: Callable[[Path], object], words: str, tmp_path: Path
) -> None:
    write(tmp_path / name)
    with pytest.raises(InputError, match=words):
        Source.detect(tmp_path / name)


def keras_zip(path: Path, name: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"x")


def test_rows_are_matched_to_inputs_by_name_and_shape(tmp_path: Path) -> None:
    left, right = np.arange(8.0).reshape(4, 2) / 3, np.arange(4)
    np.savez(tmp_path / "rows.npz", left=left, right=right, y=np.zeros(4))
    specs = (TensorSpec("left", "float32", (None, 2)), TensorSpec("right", "int32", (None, 1)))
    rows = read_rows(tmp_path / "rows.npz")
    arrays = match_inputs(rows, specs)
    assert (rows.num_rows, arrays["left"].dtype, arrays["right"].dtype) == (4, np.float32, np.int32)
    np.testing.assert_array_equal(arrays["left"][:4], left.astype(np.float32))
    assert arrays["right"].shape == (len(arrays["left"]), 1)
    assert set(arrays["right"].ravel()) <= set(right), "probes of whole numbers are the user's own"
    assert not arrays["left"][-1].any(), "one probe is all zeros"
    with pytest.raises(InputError, match="the model takes other"):
        match_inputs(rows, (TensorSpec("other", "float32", (None, 2)), specs[1]))
    with pytest.raises(InputError, match=r"rows of 'left' are float64 \[N, 2\].*float32 \[\?, 3\]"):
        match_inputs(rows, (TensorSpec("left", "float32", (None, 3)), specs[1]))


def test_columns_of_a_table_become_one_input(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b,y\n1.5,2,0\n3.25,4,1\n2.5,1,0\n")
    rows = read_rows(tmp_path / "rows.csv")
    arrays = match_inputs(rows, (TensorSpec("x", "float32", (None, 2)),))
    np.testing.assert_array_equal(arrays["x"][:3], np.array([[1.5, 2], [3.25, 4], [2.5, 1]], np.float32))
    with pytest.raises(InputError, match="the rows are 2 columns"):
        match_inputs(rows, (TensorSpec("x", "float32", (None, 3)),))


def test_rows_of_objects_and_of_no_rows_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", x=np.array([{}], object))
    with pytest.raises(InputError, match=r"objects\.npz cannot be read"):
        read_rows(tmp_path / "objects.npz")
    np.savez(tmp_path / "none.npz", x=np.zeros((0, 3)))
    with pytest.raises(InputError, match="as many rows"):
        read_rows(tmp_path / "none.npz")
    with pytest.raises(MissingError):
        read_rows(tmp_path / "absent.npz")


def test_nothing_is_written_for_what_is_refused(tmp_path: Path) -> None:
    path = keras_file(tmp_path / "model.keras", layer(class_name="Lambda"))
    np.savez(tmp_path / "rows.npz", x=np.zeros((2, 3), np.float32))
    with pytest.raises(InputError, match="never run"):
        convert_model(path, tmp_path / "rows.npz", tmp_path / "out")
    with pytest.raises(InputError, match="has no signatures"):
        convert_model(keras_file(path), tmp_path / "rows.npz", tmp_path / "out", ConvertOptions(signature="serve"))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model.keras", "rows.npz"]
