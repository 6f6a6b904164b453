"""Keras, torch.export and ONNX files become bundles that answer as the model does, or nothing is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepseek.bundle import open_bundle, verify_bundle
from deepseek.cli import main
from deepseek.cli.support.opening_plain import open_verified
from deepseek.engines.convert.bundle import ConvertOptions, convert_model
from deepseek.errors import CheckError, InputError
from deepseek.optimizers.keras_backend import keras_on_torch

keras = keras_on_torch()


def two_ends() -> Any:
    """A net of two inputs, one of them whole numbers, and two outputs."""
    keras.utils.set_random_seed(0)
    amounts, kind = keras.Input((4,), name="amounts"), keras.Input((1,), dtype="int32", name="kind")
    scaled = keras.layers.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[1.0, 4.0, 9.0, 2.0])(amounts)
    known = keras.layers.Flatten()(keras.layers.Embedding(5, 3)(kind))
    inner = keras.layers.Dense(8, "gelu")(keras.layers.Concatenate()([scaled, known]))
    return keras.Model([amounts, kind], {"risk": keras.layers.Dense(2, "softmax")(inner), "days": inner[:, :1]})


def rows_of_two_ends(num_rows: int, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(seed)
    return {"amounts": random.normal(size=(num_rows, 4)).astype("float32"),
            "kind": random.integers(0, 5, (num_rows, 1)).astype("int32")}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras")
    two_ends().save(folder / "model.keras")
    np.savez(folder / "rows.npz", **rows_of_two_ends(20, seed=1))
    return folder


def served_answers(bundle: Path, rows: dict[str, Any]) -> dict[str, Any]:
    """What a server's adapter answers."""
    adapter = open_verified(bundle, None)
    prepared = adapter.prepare([{name: array[row].tolist() for name, array in rows.items()} for row in range(3)])
    answers: dict[str, Any] = adapter.run(prepared.features.arrays)
    adapter.close()
    return answers


@pytest.mark.slow
def test_a_keras_model_becomes_a_bundle_that_answers_as_it_does(
    folder: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    arguments = [
        "convert",
        str(folder / "model.keras"),
        "--data",
        str(folder / "rows.npz"),
        "--out",
        str(out),
        "--json",
    ]
    assert main(arguments) == 0
    result = json.loads(capfd.readouterr().out)
    assert (result["model"], result["task"], result["export"]) == ("Keras", "tensors", "keras on torch")
    assert result["parity"]["num_rows"] == 20
    assert result["parity"]["max_difference"] < result["parity"]["limit"] == 1e-4
    assert not verify_bundle(out)
    manifest = open_bundle(out).manifest
    assert {(each.name, each.dtype, each.shape) for each in manifest.inputs} == {
        ("amounts", "float32", (4,)), ("kind", "int32", (1,)),
    }  # fmt: skip
    evidence = json.loads((out / "evidence" / "parity.json").read_bytes())
    assert evidence["num_probes"] == evidence["num_compared"] - 20 > 0
    assert manifest.lineage.versions["keras"] == keras.__version__
    fresh = rows_of_two_ends(3, seed=9)
    expected = two_ends()([torch.from_numpy(each) for each in fresh.values()], training=False)
    answers = served_answers(out, fresh)
    for name, tensor in expected.items():
        right = tensor.detach().numpy()
        place = next(key for key in answers if answers[key].shape == right.shape)
        np.testing.assert_allclose(answers[place], right, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_a_model_whose_rows_change_each_other_is_not_written(tmp_path: Path) -> None:
    start = keras.Input((3,), name="x")
    keras.Model(start, start - keras.ops.mean(start, axis=0, keepdims=True)).save(tmp_path / "model.keras")
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).normal(size=(40, 3)).astype("float32"))
    with pytest.raises(CheckError, match="answers otherwise than the model on"):
        convert_model(tmp_path / "model.keras", tmp_path / "rows.npz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_rows_that_do_not_fit_and_a_name_are_said(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", amounts=np.zeros((3, 5)), kind=np.zeros((3, 1)))
    with pytest.raises(InputError, match=r"rows of 'amounts' are float64 \[N, 5\]"):
        convert_model(folder / "model.keras", tmp_path / "rows.npz", tmp_path / "out")
    broken = tmp_path / "cut.keras"
    replace_member(folder / "model.keras", broken, "model.weights.h5", b"no weights")
    with pytest.raises(InputError, match=r"Keras does not load cut\.keras"):
        convert_model(broken, folder / "rows.npz", tmp_path / "out")


def replace_member(source: Path, out: Path, name: str, content: bytes) -> None:
    import zipfile

    with zipfile.ZipFile(source) as old, zipfile.ZipFile(out, "w") as new:
        for each in old.namelist():
            new.writestr(each, content if each == name else old.read(each))


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.inner(x)
        return hidden.softmax(-1), hidden.argmax(-1)


@pytest.mark.slow
def test_a_program_of_torch_export_becomes_a_bundle(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, rows = Net().eval(), torch.randn(20, 4)
    program = torch.export.export(net, (rows[:2],), dynamic_shapes=({0: torch.export.Dim("rows")},))
    torch.export.save(program, tmp_path / "model.pt2")
    np.savez(tmp_path / "rows.npz", x=rows.numpy())
    done = convert_model(tmp_path / "model.pt2", tmp_path / "rows.npz", tmp_path / "out", ConvertOptions(name="net"))
    assert (done.title, done.agreement.holds, len(done.outputs)) == ("torch.export", True, 2)
    fresh = torch.randn(3, 4)
    answers = served_answers(tmp_path / "out", {"x": fresh.numpy()})
    for right, ours in zip(net(fresh), answers.values(), strict=True):
        np.testing.assert_allclose(ours, right.detach().numpy(), atol=1e-6)


@pytest.mark.slow
def test_a_program_with_a_pickled_object_is_not_loaded(tmp_path: Path) -> None:
    import pickle  # noqa: TID251 - what is refused
    import zipfile

    program = torch.export.export(Net().eval(), (torch.randn(2, 4),))
    torch.export.save(program, tmp_path / "plain.pt2")
    marker = tmp_path / "ran"

    class Touch:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (marker,))

    with zipfile.ZipFile(tmp_path / "plain.pt2") as archive:
        inputs = next(name for name in archive.namelist() if "sample_inputs" in name and name.endswith(".pt"))
    replace_member(tmp_path / "plain.pt2", tmp_path / "model.pt2", inputs, pickle.dumps(Touch()))
    np.savez(tmp_path / "rows.npz", x=np.zeros((2, 4), np.float32))
    with pytest.raises(InputError):
        convert_model(tmp_path / "model.pt2", tmp_path / "rows.npz", tmp_path / "out")
    assert not marker.exists()


@pytest.mark.slow
def test_an_onnx_file_becomes_a_bundle(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    start, end = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in ("x", "twice"))
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["twice"])], "net", [start], [end])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "model.onnx")
    np.savez(tmp_path / "rows.npz", x=np.eye(3, dtype=np.float32))
    done = convert_model(tmp_path / "model.onnx", tmp_path / "rows.npz", tmp_path / "out")
    assert (done.export, done.agreement.difference) == ("as it is", 0.0)
    np.testing.assert_array_equal(served_answers(tmp_path / "out", {"x": np.eye(3)})["twice"], 2 * np.eye(3))
