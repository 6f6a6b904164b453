"""`ship` of rows that hold pictures and texts: the bundle answers as training did, and leaks are refused by name."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import deepseek as ds
from deepseek.bundle import verification
from deepseek.cli import main
from deepseek.contracts import Flag
from deepseek.data import read_table
from deepseek.data.batches import table_file
from deepseek.data.media.source import BrokenError
from deepseek.engines import MultimodalRuntime
from deepseek.errors import CheckError, InputError
from support.nets.torchless import told_without_torch
from support.servers.serving import started

pytestmark = pytest.mark.slow  # what they share takes ten seconds to make

NUM = 240


def write(root: Path, *, only_ill_have_notes: bool = False) -> Path:
    """patients.csv and its pictures: bright above for the well, below for the ill; the note says it in most rows."""
    draw = np.random.default_rng(0)
    lines = ["scan,note,age,patient,ill"]
    for row in range(NUM):
        ill = row // 2 % 2
        pixels = draw.integers(0, 100, (16, 16), np.uint8)
        pixels[8 * ill : 8 * ill + 8] += 60
        Image.fromarray(pixels).save(root / f"{row}.png")
        note = ("sleeps well", "coughs at night")[ill] if draw.random() < 0.8 else "says nothing"
        if only_ill_have_notes and not ill:
            note = ""
        scan = "" if row % 11 == 0 else f"{row}.png"
        lines.append(f"{scan},{note},{draw.integers(20, 80)},p{row // 2},{('no', 'yes')[ill]}")
    (root / "patients.csv").write_text("\n".join(lines) + "\n")
    return root / "patients.csv"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    root = tmp_path_factory.mktemp("patients")
    data = write(root)
    shipment = ds.ship(
        data, target="ill", split="group:patient", out=root / "bundle", trials=4, workers=0,
        kinds={"note": "text"}, segments=["age"],
    )  # fmt: skip
    return root, shipment


@pytest.mark.slow
def test_bundles_of_pictures_and_texts_are_compared(shipped: Any, tmp_path: Path) -> None:
    root, shipment = shipped
    copy = shutil.copytree(shipment.path, tmp_path / "copy")
    frame = read_table(root / "patients.csv")
    result = ds.compare([shipment.path, copy], frame, files=root, by=("age",))
    assert result.comparisons[0].verdict == "identical"
    assert (result.group_by, result.num_groups) == ("patient", NUM // 2)
    assert result.models[0].speed[1].cpu_ms > 0


def test_the_bundle_is_whole_and_learned_from_pictures_and_texts(shipped: Any) -> None:
    _root, shipment = shipped
    assert verification(shipment.path)["ok"]
    assert shipment.metrics["accuracy"].value > 0.9
    manifest = json.loads((shipment.path / "bundle.json").read_text())
    assert {each["name"]: each["modality"] for each in manifest["inputs"]} == {
        "scan": "image", "note": "text", "age": "numeric",
    }  # fmt: skip
    worth = json.loads((shipment.path / "evidence/modalities.json").read_text())["modalities"]
    assert set(worth) == {"scan", "note", "table"}
    assert worth["scan"]["without"]["accuracy"]["value"] < shipment.metrics["accuracy"].value


def test_answers_are_those_of_training_for_paths_and_for_bytes(shipped: Any) -> None:
    root, shipment = shipped
    with ds.load(shipment.path) as runtime:
        assert isinstance(runtime, MultimodalRuntime)
        whole = runtime.predict(root / "patients.csv")
        record = {"scan": "5.png", "note": "coughs at night", "age": 40, "patient": "p2", "ill": "no"}
        by_path = runtime.predict([record], root=root)
        coded = base64.b64encode((root / "5.png").read_bytes()).decode()
        by_bytes = runtime.predict([{**record, "scan": {"b64": coded}}])
    assert len(whole) == NUM
    assert whole.labels_known == ("no", "yes")
    np.testing.assert_array_equal(by_path.probabilities, by_bytes.probabilities)


def test_one_sample_differs_by_less_than_a_hundred_thousandth_from_many(shipped: Any) -> None:
    root, shipment = shipped
    with MultimodalRuntime.open(shipment.path) as runtime:
        table = read_table(root / "patients.csv")
        whole = runtime.predict(table, root=root).probabilities
        for row in (0, 5, 77):
            alone = runtime.predict(table.take(np.array([row])), root=root).probabilities
            np.testing.assert_allclose(alone[0], whole[row], atol=1e-5)


@pytest.mark.slow
def test_by_the_shell_the_same_seed_and_epochs_give_the_same_digest(shipped: Any, tmp_path: Path, capsys: Any) -> None:
    root, shipment = shipped
    command = ["ship", str(root / "patients.csv"), "--target", "ill", "--split", "group:patient", "--trials", "4"]
    command += ["--kind", "note=text", "--segment", "age", "--name", "bundle", "--out", str(tmp_path / "again")]
    assert main([*command, "--workers", "2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["digest"] == shipment.digest
    assert document["model"] == "fused"
    assert document["engine"] == "onnxruntime"


def test_no_torch_is_needed_to_answer(shipped: Any) -> None:
    root, shipment = shipped
    assert told_without_torch(shipment.path, root / "patients.csv").count("'") == 8


def test_predict_reads_files_below_the_folder_and_masks_broken_ones(shipped: Any, tmp_path: Path, capsys: Any) -> None:
    _root, shipment = shipped
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.png").write_text("no picture")
    (tmp_path / "new.csv").write_text("scan,note,age\na.png,coughs at night,50\n")
    command = ["predict", str(shipment.path), str(tmp_path / "new.csv"), "--files", str(tmp_path / "files"), "--json"]
    assert main(command) == 2
    assert "a.png (row 0, column 'scan')" in capsys.readouterr().err
    assert main([*command, "--broken", "mask"]) == 0
    said = capsys.readouterr()
    assert "masked: row 0" in said.err
    assert json.loads(said.out)["predictions"][0]["prediction"] in ("no", "yes")


def test_a_note_that_only_the_ill_have_is_refused_by_name(tmp_path: Path) -> None:
    data = write(tmp_path, only_ill_have_notes=True)
    options: dict[str, Any] = {"target": "ill", "split": "group:patient", "trials": 1, "workers": 0}
    with pytest.raises(CheckError, match="whether 'note' is there tells the class") as error:
        ds.ship(data, out=tmp_path / "b", kinds={"note": "text"}, **options)
    assert "presence:note" in error.value.fix
    assert not (tmp_path / "b").exists()


def test_broken_files_are_named_at_once_and_their_rows_can_be_left_out(
    shipped: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _root, shipment = shipped
    data = write(tmp_path)
    (tmp_path / "9.png").write_bytes(b"")
    (tmp_path / "70.png").write_text("no picture")
    (tmp_path / "200.png").unlink()
    monkeypatch.setattr(table_file, "batch_num_rows", lambda _: 64)  # four parts: all files of all parts are named
    assert main(["predict", str(shipment.path), str(data), "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["message"].startswith("3 files cannot be read: ")
    assert [f"{row}.png" in error["message"] for row in (9, 70, 200, 10)] == [True, True, True, False]
    with pytest.raises(BrokenError, match="3 files cannot be read"):
        ds.evaluate(shipment.path, read_table(data), files=tmp_path)
    assert main(["predict", str(shipment.path), str(data), "--broken", "skip", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["row_id"] for row in result["skipped"]] == [9, 70, 200]
    assert "9.png (row 9, column 'scan') is empty" in result["skipped"][0]["reason"]
    assert [row["row_id"] for row in result["predictions"]] == [row for row in range(NUM) if row not in (9, 70, 200)]


@pytest.mark.slow
def test_a_budget_below_one_pass_buys_a_part_of_the_rows_and_says_so(tmp_path: Path) -> None:
    data = write(tmp_path)
    shipped = ds.ship(data, target="ill", out=tmp_path / "b", budget_s=0.01, workers=0, drop=("note", "patient"))
    assert shipped.num_trials == 1
    (warning,) = [warning for warning in shipped.warnings if "the budget was enough" in warning]
    assert re.search(r"learn from \d+ of \d+ rows, each once", warning)


def test_what_is_for_tables_alone_is_refused(tmp_path: Path) -> None:
    data = write(tmp_path)
    with pytest.raises(InputError, match="monotone is for tables alone"):
        ds.ship(data, target="ill", out=tmp_path / "b", monotone={"age": 1})


@pytest.mark.slow
def test_a_value_is_learned_with_its_interval_and_a_broken_file_ends_the_run_or_is_masked_and_told(
    tmp_path: Path,
) -> None:
    data = write(tmp_path)
    text = data.read_text().replace(",no\n", ",20.5\n").replace(",yes\n", ",41.25\n")
    data.write_text(text)
    options: dict[str, Any] = {
        "target": "ill",
        "split": "group:patient",
        "task": "regression",
        "trials": 8,
        "workers": 0,
    }
    picture = (tmp_path / "9.png").read_bytes()
    (tmp_path / "9.png").write_bytes(b"")
    with pytest.raises(BrokenError, match=r"9\.png \(row 9, column 'scan'\) is empty"):
        ds.ship(data, out=tmp_path / "b", **options)
    assert not (tmp_path / "b").exists()
    shipment = ds.ship(data, out=tmp_path / "b", broken="mask", **options)
    assert any("1 files in 'scan' could not be read and were masked" in each for each in shipment.warnings)
    (tmp_path / "9.png").write_bytes(picture)
    with ds.load(shipment.path) as runtime:
        predictions = runtime.predict(data)
    assert predictions.values is not None
    assert 15 < predictions.values.min() < 28
    assert 34 < predictions.values.max() < 50
    assert predictions.intervals is not None
    assert shipment.metrics["rmse"].value < 7


def test_flags_name_the_row_of_the_table(shipped: Any) -> None:
    _root, shipment = shipped
    with MultimodalRuntime.open(shipment.path) as runtime:
        records: list[dict[str, Any]] = [{"scan": None, "note": "coughs", "age": 50}] * 100
        records[90] = {"scan": None, "note": "coughs", "age": None}
        predictions = runtime.predict(records)
    assert predictions.flags == (Flag(90, "age", "imputed"),)


def test_the_other_verbs_answer_as_predict_does(shipped: Any, capsys: Any) -> None:
    root, shipment = shipped
    data = root / "patients.csv"
    with MultimodalRuntime.open(shipment.path) as runtime:
        predictions = runtime.predict(data)
    want = read_table(data).column("ill")
    assert main(["evaluate", str(shipment.path), str(data), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["num_rows"] == NUM
    assert document["metrics"]["accuracy"]["value"] == pytest.approx((predictions.labels == want).mean())
    assert main(["explain", str(shipment.path), str(data), "--row", "5", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["explanations"]
    assert set(row["values"]) == {"scan", "note", "table"}
    assert row["base_value"] + sum(row["values"].values()) + row["residual"] == pytest.approx(row["output"])


@pytest.mark.slow
def test_a_server_answers_as_predict_does(shipped: Any) -> None:
    root, shipment = shipped
    with MultimodalRuntime.open(shipment.path) as runtime, started(shipment.path, "--workers", "1") as server:
        records = read_table(root / "patients.csv").drop(["ill", "patient"]).records()[:40]
        wanted = runtime.predict(records, root=root).probabilities
        for record in records:
            if record["scan"]:
                record["scan"] = {"b64": base64.b64encode((root / record["scan"]).read_bytes()).decode()}
        answer = httpx.post(f"{server.url}/v1/models/bundle:predict", json={"instances": records}).json()
        probabilities = [[row["probabilities"][label] for label in ("no", "yes")] for row in answer["predictions"]]
        np.testing.assert_allclose(np.array(probabilities), wanted, atol=1e-5)


@pytest.mark.slow
def test_ship_by_the_shell(tmp_path: Path, capsys: Any) -> None:
    write(tmp_path)
    command = ["ship", str(tmp_path / "patients.csv"), "--target", "ill", "--split", "group:patient", "--trials", "2"]
    assert main([*command, "--out", str(tmp_path / "b"), "--workers", "0", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["model"] == "fused"
    assert document["engine"] == "onnxruntime"
