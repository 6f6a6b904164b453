"""A bundle behind the gate: lossy engines are measured on this machine, on the user's rows, and kept with a digest."""

from __future__ import annotations

import itertools
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.bundle import EngineEntry, Manifest, Output, write_bundle
from deepseek.contracts import Float32, Scores
from deepseek.data import find_kinds, fit_preprocessor, read_table
from deepseek.engines import Runtime
from deepseek.engines import lossy_precision as gated
from deepseek.engines.lossy_precision import choose_lossy_engines, measure_lossy_engines
from deepseek.engines.onnx import Int8Engine
from deepseek.engines.onnx_file.rows import RowsFile
from deepseek.engines.process.served_model import ServedTable
from deepseek.engines.registry import LOSSY_KINDS, Source
from deepseek.engines.tabular.export import export_onnx
from deepseek.engines.tolerance import Tolerance
from deepseek.errors import DeepseekError, IntegrityError
from deepseek.nn.dense import Perceptron
from deepseek.nn.model import Model, Part
from support.servers.serving import started

LOOSE, TIGHT = Tolerance(-1, 1, 0), Tolerance(1, 0, 1)
NUM_ROWS, NUM_COLUMNS = 300, 24


def columns_of(seed: int) -> dict[str, Any]:
    numbers = np.random.default_rng(seed).normal(size=(NUM_ROWS, NUM_COLUMNS))
    return {f"x{place}": numbers[:, place] for place in range(NUM_COLUMNS)}


def csv_of(path: Path, seed: int, num_rows: int = NUM_ROWS) -> Path:
    columns = columns_of(seed)
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(lines[: num_rows + 1]))
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four wide perceptrons of random weights, which int8 computes faster than float32."""
    columns = columns_of(0) | {"y": np.array(["no", "yes"] * (NUM_ROWS // 2))}
    table = read_table(columns)
    preprocessor = fit_preprocessor(table, find_kinds(table, target="y"), target="y")
    width = preprocessor.table(table).features.shape[1]
    rng = np.random.default_rng(0)

    def perceptron() -> Perceptron:
        sizes = [width, 384, 384, 1]
        pairs = list(itertools.pairwise(sizes))
        return Perceptron(
            numeric=np.arange(width, dtype=np.int32), centre=np.zeros(width, np.float32),
            scale=np.ones(width, np.float32), codes=np.empty(0, np.int32), embeddings=[],
            weights=[np.float32(np.float16(rng.normal(size=pair) * np.sqrt(2 / pair[0]))) for pair in pairs],
            biases=[np.zeros(many, np.float32) for _, many in pairs],
            skip=np.zeros((width, 1), np.float32), baseline=np.zeros(width, np.float32),
        )  # fmt: skip

    model = Model("binary", ("no", "yes"), "log-odds", tuple(Part("mlp", perceptron(), 0.25) for _ in range(4)))
    manifest = Manifest(
        name="wide", version="1", created="2026-01-01T00:00:00+00:00", task="binary", target="y",
        inputs=preprocessor.inputs(),
        outputs=(Output("label", "str"), Output("probabilities", "float32", (2,))), labels=("no", "yes"),
        threshold=0.5, engines=(EngineEntry("onnxruntime", "model.onnx", 0.0),),
    )  # fmt: skip
    files = {
        "preprocess.json": preprocessor.to_bytes(),
        "model.onnx": export_onnx(model, width),
        "decision.json": json.dumps({"threshold": 0.5}).encode(),
        "example.json": json.dumps(preprocessor.example()).encode(),
        **model.to_files(),
    }
    return write_bundle(tmp_path_factory.mktemp("gated") / "wide", manifest, files).path


@pytest.fixture
def measured_paths() -> Iterator[list[str]]:
    """What was measured, in this process and quickly."""
    precisions: list[str] = []

    def here(_: str, question: dict[str, Any], **more: Any) -> Any:
        precisions.append(question["path"])
        return json.loads(json.dumps(gated._handle_request(question | {"budget_s": 1.0})))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gated, "run_in_subprocess", here)
        yield precisions


PACE_S = {"onnxruntime": 2e-3, "onnxruntime-int8": 1e-3}  # of a call; which is faster is the processor's affair


@pytest.mark.slow
def test_int8_is_near_and_serves_where_it_is_faster(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure_really = gated.measure_engine

    def measure_paced(kind: str, source: Source, features: Float32, budget_s: float) -> dict[int, float]:
        seconds = measure_really(kind, source, features, budget_s)
        return dict.fromkeys(seconds, PACE_S.get(kind, 4e-3))

    monkeypatch.setattr(gated, "measure_engine", measure_paced)
    rows, copy = csv_of(tmp_path / "rows.csv", 1), tmp_path / "copy.onnx"
    record = measure_lossy_engines(bundle, LOOSE, rows=rows, int8_file=copy, budget_s=2).to_dict()
    table = {row["kind"]: row for row in record["table"]}
    assert {"onnxruntime", "torch", "torch-bf16", "onnxruntime-int8"} <= set(table)
    row = table["onnxruntime-int8"]
    assert row["passes"]
    assert 1e-5 < row["difference"] < 0.1
    assert row["agreement"] > 0.9
    assert table["torch"]["difference"] < 1e-5
    assert record["engines"][-1][0] == "onnxruntime-int8"
    assert copy.exists()


def test_a_tight_gate_lets_nothing_lossy_pass(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.onnx"
    record = measure_lossy_engines(
        bundle, TIGHT, rows=csv_of(tmp_path / "rows.csv", 1), int8_file=copy, budget_s=0.5
    ).to_dict()
    assert {row["kind"] for row in record["table"] if row["passes"]} >= {"onnxruntime"}
    assert not {row["kind"] for row in record["table"] if row["passes"]} & LOSSY_KINDS
    assert not {kind for kind, _ in record["engines"]} & LOSSY_KINDS
    assert (record["int8"], copy.exists()) == (None, False)


def test_a_copy_that_gives_no_number_for_a_row_of_zeros_alone_does_not_pass(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Int8Engine.score

    def without_zeros(self: Int8Engine, features: Float32) -> Scores:
        scores = whole(self, features)
        return Scores(scores.margin, np.where(features.any(axis=1)[:, None], scores.output, np.float32(np.nan)))

    monkeypatch.setattr(Int8Engine, "score", without_zeros)
    rows, copy = csv_of(tmp_path / "rows.csv", 1), tmp_path / "copy.onnx"
    record = measure_lossy_engines(bundle, LOOSE, rows=rows, int8_file=copy, budget_s=0.1).to_dict()
    (row,) = (row for row in record["table"] if row["kind"] == "onnxruntime-int8")
    assert (row["passes"], row["says"]) == (False, "zero: output is not finite")


@pytest.mark.parametrize("num_rows", [None, 5])
def test_without_enough_rows_nothing_lossy_is_tried(num_rows: int | None, bundle: Path, tmp_path: Path) -> None:
    rows = None if num_rows is None else csv_of(tmp_path / "rows.csv", 1, num_rows)
    record = measure_lossy_engines(bundle, LOOSE, rows=rows, int8_file=tmp_path / "copy.onnx").to_dict()
    assert record["engines"] == [["onnxruntime", 1]]
    assert "give --lossy-rows" in record["table"][0]["says"]


@pytest.mark.slow
def test_what_was_chosen_is_kept_and_a_changed_copy_is_made_again(
    bundle: Path, tmp_path: Path, measured_paths: list[str]
) -> None:
    rows, cache = RowsFile.read(csv_of(tmp_path / "rows.csv", 1)), tmp_path / "a" / "cache"
    with Runtime.open(bundle) as runtime:
        first = choose_lossy_engines(runtime, LOOSE, rows, cache)
        assert choose_lossy_engines(runtime, LOOSE, rows, cache) == first
        assert len(measured_paths) == 1
        assert first.int8 is not None
        spec = {"path": str(bundle), "digest": runtime.manifest.digest, "lossy": first.to_dict()}
        features = runtime.prepare_table(read_table(rows.path)).features
        opened = ServedTable.open(spec)
        difference = np.abs(opened.run({"features": features})["output"] - runtime.score(features).output).max()
        assert 1e-5 < difference < 0.1
        Path(first.int8[0]).write_bytes(b"poison")
        with pytest.raises(IntegrityError, match="was changed"):
            ServedTable.open(spec)
        choose_lossy_engines(runtime, LOOSE, rows, cache)
        choose_lossy_engines(runtime, TIGHT, rows, cache)
        choose_lossy_engines(runtime, LOOSE, RowsFile.read(csv_of(tmp_path / "other.csv", 2)), cache)
    assert len(measured_paths) == 4


@pytest.mark.slow
def test_a_server_answers_with_what_the_gate_lets_pass(bundle: Path, tmp_path: Path) -> None:
    rows = csv_of(tmp_path / "rows.csv", 1)
    options = ("--lossy", "cosine=-1,difference=1,agreement=0", "--lossy-rows", rows, "--log-level", "info")
    with started(bundle, *options, "--workers", "1", environ={"XDG_CACHE_HOME": str(tmp_path)}) as server:
        record = {name: float(values[0]) for name, values in columns_of(1).items()}
        body = {"instances": [record] * 64}
        probabilities = np.array([each["probabilities"]["yes"] for each in asked_of(server, body)])
        assert server.stop() == 0
        assert server.process.stderr is not None
        lines = [json.loads(line) for line in server.process.stderr if "engines were chosen" in line]
    assert {"onnxruntime-int8", "torch-bf16"} <= {row["kind"] for row in lines[0]["deepseek"]["measured"]}
    with Runtime.open(bundle) as runtime:
        exact = runtime.predict([record] * 64).probabilities
    assert exact is not None
    is_lossy = any(kind in " ".join(lines[0]["deepseek"]["engines"]) for kind in LOSSY_KINDS)
    assert (0 if is_lossy else -1) < np.abs(probabilities - exact[:, 1]).max() < (0.1 if is_lossy else 1e-5)


def asked_of(server: Any, body: dict[str, Any]) -> Any:
    data = json.dumps(body).encode()
    request = urllib.request.Request(f"{server.url}/v1/models/wide:predict", data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["predictions"]


def test_rows_of_another_table_and_a_cache_that_cannot_be_written_to_are_refused(
    bundle: Path, tmp_path: Path, measured_paths: list[str]
) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    (tmp_path / "file").touch()
    with Runtime.open(bundle) as runtime:
        with pytest.raises(DeepseekError):
            choose_lossy_engines(runtime, LOOSE, RowsFile.read(tmp_path / "rows.csv"), tmp_path / "cache")
        with pytest.raises(DeepseekError, match="cannot be written to"):
            choose_lossy_engines(runtime, LOOSE, None, tmp_path / "file")
