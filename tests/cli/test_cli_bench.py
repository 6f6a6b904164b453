"""`deepseek bench serve`: what it measures on a server of its own and on one that runs, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepseek.cli import main
from support.nets.onnxgraphs import dense
from support.servers.serving import Server, started

QUICK = ("--seconds", "0.3")


@pytest.fixture(scope="module")
def server(cancer_bundle: Path) -> Iterator[Server]:
    with started(cancer_bundle, "--workers", "1") as running:
        yield running


def run_json(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    code = main(["bench", "serve", *map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_an_onnx_file_is_measured_like_any_other_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = dense(tmp_path / "welds.onnx")
    code, document = run_json(capsys, path, *QUICK, "--concurrency", "2", "--rows", "1,30", "--workers", "1")
    assert (code, document["model"]) == (0, "welds")
    assert all(run["num_answers"] and not run["num_failed"] for run in document["runs"])


@pytest.mark.slow
def test_its_own_server_is_measured_with_its_cpu_by_part(
    cancer_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, document = run_json(capsys, cancer_bundle, *QUICK, "--concurrency", "2", "--rows", "1,30", "--workers", "1")
    assert code == 0
    assert [(run["rows"], run["connections"]) for run in document["runs"]] == [(1, 2), (30, 2)]
    for run in document["runs"]:
        assert run["num_failed"] == 0
        assert run["statuses"] == {"200": run["num_answers"]}
        assert run["requests_per_s"] == pytest.approx(run["num_answers"] / run["wall_s"])
        assert run["rows_per_s"] == pytest.approx(run["rows"] * run["requests_per_s"])
        assert 0 < run["p50_ms"] <= run["p90_ms"] <= run["p99_ms"] <= run["max_ms"]
        assert 0 < run["engine_cpu_ms"] < run["cpu_ms"]
        assert run["cpu_ms"] == pytest.approx(run["front_end_cpu_ms"] + run["engine_cpu_ms"])


def test_a_server_that_runs_is_measured_without_cpu(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    code, document = run_json(capsys, "--url", server.url, "--model", "cancer", *QUICK, "--concurrency", "3")
    assert code == 0
    [run] = document["runs"]
    assert run["num_answers"] > 3
    assert run["cpu_ms"] is None


def test_the_table_begins_with_the_best_figure(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "serve", "--url", server.url, *QUICK, "--concurrency", "1,2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("cancer: ")
    assert "requests/s" in out
    assert len(out.splitlines()) == 5


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("nowhere",), "the server did not start: there is no model at nowhere"),
        ((), "give a BUNDLE that is served for this, or --url"),
        (("loans", "--url", "http://127.0.0.1:1"), "one of them"),
        (("loans", "--model", "m"), "--model cannot be used here: it is for a server at --url"),
        (("--url", "http://127.0.0.1:1", "--workers", "2"), "the server at --url has its own settings"),
        (("--url", "https://127.0.0.1:1"), "is encrypted"),
        (("--url", "http://127.0.0.1:1"), "cannot be read"),
        (("loans", "--concurrency", "1,,2"), "not whole numbers from 1 to 10000"),
        (("loans", "--rows", "0"), "not whole numbers from 1 to 100000"),
    ],
)
def test_what_cannot_be_measured_is_one_error(
    words: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, document = run_json(capsys, *words)
    assert code in (2, 3)
    assert reason in document["error"]["message"]
    assert document["error"]["fix"]


def test_a_model_that_is_not_there_is_named(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    code, document = run_json(capsys, "--url", server.url, "--model", "cancr")
    assert code == 2
    assert "Did you mean" in document["error"]["message"]


@pytest.mark.slow
def test_requests_that_fail_are_counted_and_said(cancer_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with started(cancer_bundle, "--workers", "1", "--max-rows", "5") as small:
        code = main(["bench", "serve", "--url", small.url, *QUICK, "--concurrency", "1", "--rows", "9", "--json"])
    captured = capsys.readouterr()
    [run] = json.loads(captured.out)["runs"]
    assert code == 3
    assert "9 rows" in run["refusal"]
    assert run["refusal"] in captured.err
    assert run["num_answers"] == 0
    assert run["statuses"] == {"413": run["num_failed"]}
    assert run["p99_ms"] is None
    assert "not all requests were answered (413: " in captured.err


@pytest.mark.slow
def test_rows_beyond_the_limit_of_a_server_are_said_and_no_success(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "serve", "--url", server.url, *QUICK, "--concurrency", "1", "--rows", "20000"]) == 3
    captured = capsys.readouterr()
    assert captured.out.startswith("cancer: no request was answered right")
    assert "16384" in captured.err
    assert "To mend it" in captured.err
    assert main(["bench", "serve", "--url", server.url, *QUICK, "--concurrency", "1", "--rows", "1"]) == 0
