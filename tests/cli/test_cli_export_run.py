"""`deepseek export RUN`: a table net and a picture net, trained by `train`, through every verb that takes a bundle."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from deepseek.bundle import write_bundle
from deepseek.cli import main
from deepseek.compress.targets.opener import open_target
from deepseek.compress.targets.target import Plan
from deepseek.engines import open_runtime
from support.servers.serving import started

NETS = """
import torch
from torch import nn

class Table(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, width), nn.Linear(width, width), nn.Linear(width, 3)
    def forward(self, x):
        hidden = torch.relu(self.first(x))
        return self.last(hidden + torch.tanh(self.second(hidden)))

class Picture(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(),
            nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 1),
        )
    def forward(self, x):
        return self.layers(x)

class Value(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 1)
    def forward(self, x):
        return self.linear(x)[:, 0]

class Branch(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 3)
    def forward(self, x):
        return self.linear(x) if x.sum() > 0 else self.linear(-x)

def binary_loss(output, target):
    return nn.functional.binary_cross_entropy_with_logits(output[:, 0], target.float())
"""
MEAN, STD = 0.5, 0.25


def write_run(folder: Path, name: str, model: str, data: str, loss: str = "torch.nn:CrossEntropyLoss") -> Path:
    (folder / f"{name}.toml").write_text(
        f'loss = "{loss}"\n[model]\nbuild = "nets.py:{model}"\n[data]\ntrain = "{data}.npz"\n'
        f'validation = "{data}-later.npz"\n[train]\nepochs = 6\nlr = 0.02\nlog_every = 2\n'
    )
    return folder / f"{name}.toml"


def save_rows(folder: Path, name: str, inputs: np.ndarray, target: np.ndarray) -> None:
    np.savez(folder / f"{name}.npz", x=inputs[:256], y=target[:256])
    np.savez(folder / f"{name}-later.npz", x=inputs[256:], y=target[256:])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of a table and of pictures, and the runs "table", "picture", "value" trained on them."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "nets.py").write_text(NETS)
    random = np.random.default_rng(0)
    inputs = random.normal(size=(320, 5)).astype(np.float32)
    save_rows(folder, "rows", inputs, inputs[:, :3].argmax(1))
    save_rows(folder, "values", inputs, (inputs[:, 0] - 2 * inputs[:, 3]).astype(np.float32))
    pixels = random.integers(0, 200, (320, 3, 16, 16))
    target = random.integers(0, 2, 320)
    pixels[target == 1, 0] += 55  # more red
    save_rows(folder, "pictures", ((pixels / 255 - MEAN) / STD).astype(np.float32), target)
    with (folder / "table.csv").open("w", newline="") as file:
        lines = [["a", "b", "c", "d", "e", "kind"]]
        lines += [[*map(str, row.tolist()), "xyz"[int(row[:3].argmax())]] for row in inputs[256:]]
        csv.writer(file).writerows(lines)
    (folder / "pics").mkdir()
    with (folder / "pics" / "table.csv").open("w", newline="") as file:
        rows = [["photo", "red"]]
        for row in range(256, 320):
            Image.fromarray(pixels[row].transpose(1, 2, 0).astype(np.uint8)).save(folder / "pics" / f"{row}.png")
            rows.append([f"{row}.png", ["no", "yes"][target[row]]])
        csv.writer(file).writerows(rows)
    for name, model, data, loss in (
        ("table", "Table", "rows", "torch.nn:CrossEntropyLoss"),
        ("picture", "Picture", "pictures", "nets.py:binary_loss"),
        ("value", "Value", "values", "torch.nn:MSELoss"),
    ):
        assert (
            main(["train", str(write_run(folder, name, model, data, loss)), "--out", str(folder / "runs" / name)]) == 0
        )
    return folder


TABLE = ["--input", "5", "--labels", "x,y,z", "--columns", "a,b,c,d,e", "--target", "kind"]
PICTURE = ["--input", "3x16x16", "--labels", "no,yes", "--columns", "photo", "--target", "red",
           "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25"]  # fmt: skip


@pytest.fixture(scope="module")
def table_bundle(folder: Path) -> Path:
    assert main(["export", str(folder / "runs" / "table"), *TABLE, "--out", str(folder / "kinds")]) == 0
    return folder / "kinds"


@pytest.fixture(scope="module")
def picture_bundle(folder: Path) -> Path:
    assert main(["export", str(folder / "runs" / "picture"), *PICTURE, "--out", str(folder / "reds")]) == 0
    return folder / "reds"


def said(capsys: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def module_outputs(folder: Path, name: str, model: str, inputs: np.ndarray) -> np.ndarray:
    """What the trained module itself gives, in torch."""
    import torch
    from safetensors.torch import load_file

    namespace: dict[str, Any] = {}
    exec(compile((folder / "nets.py").read_text(), "nets.py", "exec"), namespace)
    module = namespace[model]()
    module.load_state_dict(load_file(folder / "runs" / name / "model.safetensors"))
    with torch.inference_mode():
        return np.asarray(module.eval()(torch.from_numpy(inputs)).double())


def test_a_table_answers_as_its_module_does_and_says_how_well(folder: Path, table_bundle: Path, capsys: Any) -> None:
    with np.load(folder / "rows-later.npz") as arrays:
        logits = module_outputs(folder, "table", "Table", arrays["x"])
    power = np.exp(logits - logits.max(1, keepdims=True))
    capsys.readouterr()
    with open_runtime(table_bundle) as runtime:
        prediction = runtime.predict(folder / "table.csv")
    assert prediction.labels_known == ("x", "y", "z")
    np.testing.assert_allclose(prediction.probabilities, power / power.sum(1, keepdims=True), atol=1e-5)
    assert main(["evaluate", str(table_bundle), str(folder / "table.csv"), "--json"]) == 0
    measured = said(capsys)["metrics"]["accuracy"]["value"]
    assert measured == pytest.approx(np.mean(logits.argmax(1) == np.load(folder / "rows-later.npz")["y"]))
    assert main(["inspect", str(table_bundle), "--json"]) == 0
    inspected = said(capsys)
    assert inspected["metrics"]["accuracy"]["value"] == pytest.approx(measured)
    parity = json.loads((table_bundle / "evidence" / "parity.json").read_text())
    assert {"zero", "at its least", "at its largest", "far above the data"} <= set(parity["edges"]["cases"])
    assert parity["module"]["rows"][0] == 1
    assert main(["verify", str(table_bundle)]) == 0


def test_a_row_of_a_table_is_explained_by_its_columns(folder: Path, table_bundle: Path, capsys: Any) -> None:
    assert main(["explain", str(table_bundle), str(folder / "table.csv"), "--row", "2", "--json"]) == 0
    row = said(capsys)["explanations"][0]
    assert set(row["values"]) == {"a", "b", "c", "d", "e"}
    total = row["base_value"] + sum(row["values"].values()) + row["residual"]
    assert total == pytest.approx(row["output"], abs=1e-4)
    assert abs(row["residual"]) < 1e-4
    assert max(row["values"], key=lambda name: abs(row["values"][name])) in "abc"


def test_pictures_are_read_from_files_and_answered_as_the_module_does(
    folder: Path, picture_bundle: Path, capsys: Any
) -> None:
    with np.load(folder / "pictures-later.npz") as arrays:
        logits = module_outputs(folder, "picture", "Picture", arrays["x"])[:, 0]
    capsys.readouterr()
    with open_runtime(picture_bundle) as runtime:
        prediction = runtime.predict(folder / "pics" / "table.csv")
    np.testing.assert_allclose(prediction.probabilities[:, 1], 1 / (1 + np.exp(-logits)), atol=1e-5)
    assert main(["evaluate", str(picture_bundle), str(folder / "pics" / "table.csv"), "--json"]) == 0
    assert said(capsys)["metrics"]["accuracy"]["value"] > 0.9
    assert main(["explain", str(picture_bundle), str(folder / "pics" / "table.csv"), "--row", "1", "--json"]) == 0
    row = said(capsys)["explanations"][0]
    assert set(row["values"]) == {"photo"}
    assert row["base_value"] + row["values"]["photo"] + row["residual"] == pytest.approx(row["output"], abs=1e-4)
    assert row["parts"]
    parity = json.loads((picture_bundle / "evidence" / "parity.json").read_text())
    assert "photo missing" in parity["edges"]["cases"]


@pytest.mark.parametrize("kind", ["table", "picture"])
def test_a_bundle_of_a_run_is_compressed_to_int8_and_answers_alike(
    kind: str, folder: Path, table_bundle: Path, picture_bundle: Path, tmp_path: Path
) -> None:
    """By the target behind `compress`, without its timings: whether it is slower here is for no test to say."""
    bundle, data = (
        (table_bundle, folder / "table.csv") if kind == "table" else (picture_bundle, folder / "pics" / "table.csv")
    )
    target = open_target(bundle, data)
    assert target.methods() == ("int8",)
    (tmp_path / "made").mkdir()
    variant = target.make(Plan(("int8",)), tmp_path / "made")
    assert variant.size_bytes < 0.75 * target.original.size_bytes
    exact, smaller = (target.backends(one)[0] for one in (target.original, variant))
    assert target.evaluator.score(target.outputs(smaller)).value == pytest.approx(
        target.evaluator.score(target.outputs(exact)).value, abs=0.1
    )
    manifest, files = target.describe(variant, smaller.engine)
    write_bundle(tmp_path / "small", manifest, files)
    target.close()
    with open_runtime(tmp_path / "small") as runtime, open_runtime(bundle) as original:
        changed = runtime.predict(data).probabilities - original.predict(data).probabilities
    assert 0 < np.abs(changed).max() < 0.2


@pytest.mark.slow
def test_bundles_of_runs_are_served_with_explanations(table_bundle: Path, picture_bundle: Path) -> None:
    with started(table_bundle, picture_bundle, "--workers", "1") as server, httpx.Client(base_url=server.url) as client:
        assert sorted(server.models) == ["kinds", "reds"]
        for name, num_columns in (("kinds", 5), ("reds", 1)):
            example = client.get(f"/v1/models/{name}/example").json()
            (answer,) = client.post(f"/v1/models/{name}:predict", json=example).json()["predictions"]
            assert answer
            (row,) = client.post(f"/v1/models/{name}:explain", json=example).json()["explanations"]
            assert len(row["values"]) == num_columns
            total = row["base_value"] + sum(row["values"].values()) + row["residual"]
            assert total == pytest.approx(row["output"], abs=1e-3)


@pytest.mark.slow
def test_a_module_of_one_output_without_labels_predicts_a_value(folder: Path, capsys: Any) -> None:
    verb = ["export", str(folder / "runs" / "value"), "--input", "5", "--out", str(folder / "difference"), "--json"]
    assert main(verb) == 0
    exported = said(capsys)
    assert exported["task"] == "regression"
    assert exported["metrics"]["r2"]["value"] > exported["baseline"]["r2"]["value"]
    with np.load(folder / "values-later.npz") as arrays, open_runtime(folder / "difference") as runtime:
        values = module_outputs(folder, "value", "Value", arrays["x"])
        records = [{f"x{place}": float(number) for place, number in enumerate(row)} for row in arrays["x"][:4]]
        np.testing.assert_allclose(runtime.predict(records).values, values[:4], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("run", "options", "words"),
    [
        ("table", ["--input", "6", "--labels", "x,y,z"], "the run was trained on rows of 5"),
        ("table", ["--input", "5x5", "--labels", "x,y,z"], "the shape of a row is 5x5"),
        ("table", ["--input", "five", "--labels", "x,y,z"], "'five' is no shape"),
        ("table", ["--labels", "x,y,z"], "say the shape of a row"),
        ("table", ["--edge"], "a run becomes a bundle first"),
        ("table", ["--input", "5", "--labels", "x,y"], "there are 2 labels (x, y), and the module gives 3 numbers"),
        ("table", ["--input", "5"], "the module gives 3 numbers a row, and there are no labels"),
        ("table", ["--input", "5", "--labels", "x,x,z"], "each once"),
        ("table", ["--input", "5", "--labels", "x,y,z", "--columns", "a,b"], "there are 2 names of columns"),
        ("table", ["--input", "5", "--labels", "x,y,z", "--pixels", "byte"], "is given for a table"),
        ("picture", ["--input", "3x16x16", "--labels", "no,yes"], "say how they were scaled"),
        ("picture", ["--input", "3x16x16", "--labels", "no,yes", "--mean", "1,2"], "one a channel"),
        ("nowhere", ["--input", "5"], "there is no run at"),
        ("weights.pt", ["--input", "5"], "may be a pickle by its name"),
    ],
)
def test_what_does_not_fit_is_said_in_words(
    run: str, options: list[str], words: str, folder: Path, tmp_path: Path, capsys: Any
) -> None:
    capsys.readouterr()
    if run == "weights.pt":
        (folder / "runs" / run).write_bytes(b"\x80\x02}q\x00.")
    assert main(["export", str(folder / "runs" / run), *options, "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_a_module_that_cannot_be_traced_is_refused(folder: Path, tmp_path: Path, capsys: Any) -> None:
    run = write_run(folder, "branch", "Branch", "rows")
    assert main(["train", str(run), "--out", str(folder / "runs" / "branch"), "--set", "train.epochs=1"]) == 0
    verb = ["export", str(folder / "runs" / "branch"), "--input", "5", "--labels", "x,y,z"]
    assert main([*verb, "--out", str(tmp_path / "out")]) == 2
    assert "the module cannot be traced" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_not_whole_is_refused(folder: Path, tmp_path: Path, capsys: Any) -> None:
    def export(run: Path) -> str:
        code = main(["export", str(run), "--input", "5", "--labels", "x,y,z", "--out", str(tmp_path / "out")])
        assert code in (2, 3)
        assert not (tmp_path / "out").exists()
        err: str = capsys.readouterr().err
        assert "Traceback" not in err
        return err

    capsys.readouterr()
    run = folder / "runs" / "half"
    shutil.copytree(folder / "runs" / "table", run)
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "status": "stopped", "stopped_step": 24}))
    assert "is not finished: it was stopped, saved after step 24 (epoch 6 of 6)" in export(run)
    (run / "run.json").write_text(json.dumps({**record, "status": "running"}))
    assert "is under way or was killed" in export(run)
    (run / "run.json").write_text(json.dumps(record))
    (run / "model.safetensors").rename(run / "model.pt")
    assert "has no model.safetensors; model.pt may be a pickle" in export(run)
    (run / "model.pt").rename(run / "model.safetensors")
    with (run / "model.safetensors").open("ab") as file:
        file.write(b" ")
    assert "is not what the run wrote" in export(run)
    (run / "run.json").write_text("{")
    assert "cannot be read" in export(run)
    (run / "run.json").unlink()
    assert "there is no run.json" in export(run)


def test_a_module_that_answers_with_probabilities_is_refused(folder: Path, tmp_path: Path, capsys: Any) -> None:
    run = folder / "runs" / "sigmoid"
    shutil.copytree(folder / "runs" / "table", run)
    record = json.loads((run / "run.json").read_text())
    record["job"]["loss"] = "torch.nn:BCELoss"
    (run / "run.json").write_text(json.dumps(record))
    verb = ["export", str(run), "--input", "5", "--labels", "x,y,z", "--out", str(tmp_path / "out")]
    assert main(verb) == 3
    assert "BCEWithLogitsLoss" in capsys.readouterr().err
