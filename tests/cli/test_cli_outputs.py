"""Where words and files go: a stdout that is full, closed or read no more; files that are whole or not there."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deepseek.bundle import open_bundle, verify_bundle
from deepseek.cli import VERBS, main
from deepseek.features import FeatureStore, card_payments
from support.rows.loans import for_task, make_loans

NET = "import torch\ndef build(): return torch.nn.Linear(4, 3)\n"
RUN = """
loss = "torch.nn:CrossEntropyLoss"
model.build = "net.py:build"
data.train = "rows.npz"
train.epochs = 1
"""
QUICK = ("--trials", "1", "--candidates", "linear")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows, a bundle, a state of features and a model of transformers."""
    from support.nets.convertible import make_convertible  # brings torch

    folder = tmp_path_factory.mktemp("outputs")
    for_task(make_loans(120), "binary").to_csv(folder / "loans.csv", index=False)
    inputs = np.random.default_rng(0).normal(size=(64, 4))
    np.savez(folder / "rows.npz", x=inputs, y=inputs[:, :3].argmax(1))
    (folder / "net.py").write_text(NET)
    (folder / "run.toml").write_text(RUN)
    (folder / "rules.txt").write_text("Article 1 A loan is repaid within a year.\n")
    make_convertible(folder / "encoder", "albert")
    FeatureStore.open(folder / "state", card_payments("card", "terminal")).close()
    words = [str(folder / "loans.csv"), "--target", "default", "--out", str(folder / "loans"), *QUICK]
    assert main(["ship", *words, "--json"]) == 0
    assert main(["recipe", "compliance", "--example", "--no-encoder", "--out", str(folder / "review"), "--json"]) == 0
    return folder


ARGUMENTS = {
    "data": ("card", "loans.csv"),
    "label": ("new", "loans.csv", "--task", "binary", "--labels", "no,yes", "--drop", "default", "--out", "KEY"),
    "ship": ("loans.csv", "--target", "default", "--overwrite", *QUICK, "--out", "again"),
    "train": ("run.toml", "--out", "KEY"),
    "inspect": ("loans",),
    "verify": ("loans",),
    "evaluate": ("loans", "loans.csv"),
    "predict": ("loans", "loans.csv"),
    "compare": ("loans", "loans", "loans.csv", "--no-speed"),
    "explain": ("loans", "loans.csv", "--row", "1"),
    "cite": ("A loan is repaid within a year.", "--corpus", "rules.txt"),
    "review": ("review", "review-example/contract.txt"),
    "serve": ("loans", "--port", "0"),
    "stream": ("--verify", "state"),
    "observe": ("export", "--list"),
    "bench": ("serve", "loans", "--seconds", "0.1", "--concurrency", "1", "--workers", "1"),
    "convert": ("encoder", "--out", "KEY"),
    "compress": ("loans", "--data", "loans.csv", "--keep", "0.1"),
    "export": ("loans", "--edge", "--tier", "c", "--out", "KEY"),
    "federate": ("init", "KEY", "--sample", "loans.csv", "--target", "default"),
    "recipe": ("--list",),
    "operator": ("new", "robust_gate", "--out", "KEY"),
    "learn": ("labs",),
    "plan": ("100b", "--gpus", "H100x8"),
    "keygen": ("KEY",),
    "migrate": ("loans",),
    "doctor": (),
}
HEAVY = ("ship", "train", "convert", "compress")
#: Verbs that take more than two seconds each to notice that nobody reads: they bring a model, a page or a server.
SLOW_TO_END = ("bench", "compare", "evaluate", "explain", "export", "federate", "review", "stream")


def test_every_verb_is_asked() -> None:
    assert set(ARGUMENTS) == set(VERBS)


def worded(place: Path, verb: str) -> list[str]:
    key = f"key{len(list(place.glob('key*')))}"
    return [verb, *(key if word == "KEY" else word for word in ARGUMENTS[verb])]


def ended(place: Path, verb: str, words: list[str], redirect: str) -> subprocess.CompletedProcess[str]:
    """The verb in a shell of its own, with its stdout sent elsewhere."""
    line = [sys.executable, "-m", "deepseek", *worded(place, verb), *words]
    return subprocess.run(
        ["bash", "-c", f'set -o pipefail; "$@" {redirect}', "-", *line],
        cwd=place, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in HEAVY])
def test_a_stdout_that_is_full_is_one_error_and_exit_code_2(place: Path, verb: str) -> None:
    done = ended(place, verb, ["--json"], "> /dev/full")
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("error:") == 1
    assert "cannot be written: No space left" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("verb", HEAVY)
def test_a_stdout_that_is_full_is_one_error_in_verbs_that_bring_much_too(
    place: Path, verb: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, which has torch already."""
    monkeypatch.chdir(place)
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main([*worded(place, verb), "--json"]) == 2
        monkeypatch.undo()
    err = capfd.readouterr().err
    assert err.count("error:") == 1
    assert "cannot be written: No space left" in err
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_stdout_that_is_closed_is_said_before_any_work(place: Path, verb: str) -> None:
    before = sorted(place.iterdir())
    done = ended(place, verb, [], ">&-")
    assert done.returncode == 2
    assert done.stderr.startswith("error: stdout is closed\n")
    assert sorted(place.iterdir()) == before


@pytest.mark.parametrize(
    "verb",
    [
        pytest.param(verb, marks=[pytest.mark.slow] if verb in (*HEAVY, *SLOW_TO_END) else [])
        for verb in VERBS
        if verb not in ("ship", "serve")
    ],
)
def test_a_reader_that_leaves_early_is_met_in_silence(place: Path, verb: str) -> None:
    done = ended(place, verb, [], "| exec <&-")
    lines = [line for line in done.stderr.splitlines() if " s passed" not in line]  # progress of what takes long
    assert (done.returncode, lines) == (0, [])


def test_an_error_whose_reader_has_left_is_still_said_on_stderr(place: Path) -> None:
    done = ended(place, "verify", ["--key", "no.pub", "--json"], "| exec <&-")
    assert done.returncode == 2
    assert done.stderr.count("error:") == 1
    assert "no.pub" in done.stderr


def test_stderr_may_be_closed(place: Path) -> None:
    done = ended(place, "verify", ["--json"], "2>&-")
    assert json.loads(done.stdout)["ok"] is True
    assert done.returncode == 0


def ship_loans(place: Path, capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(["ship", str(place / "loans.csv"), "--target", "default", *QUICK, *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.slow
def test_with_a_report_the_json_is_one_object_and_the_report_is_there(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = ship_loans(place, capsys, "--out", tmp_path / "b", "--html", tmp_path / "why.html", "--json")
    assert code == 0
    assert json.loads(out)["bundle"] == str(tmp_path / "b")
    assert (tmp_path / "why.html").read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert "why.html" in err
    assert {path.name for path in tmp_path.iterdir()} == {"b", "why.html"}


@pytest.mark.slow
def test_a_report_that_fails_after_training_leaves_one_error_object(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "why.html").write_text("the old one")

    def full(self: Path, *_: object, **__: object) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    code, out, _ = ship_loans(place, capsys, "--out", tmp_path / "b", "--html", tmp_path / "why.html", "--json")
    assert code == 2
    assert set(json.loads(out)) == {"error"}
    assert (tmp_path / "why.html").read_text() == "the old one"
    assert {path.name for path in tmp_path.iterdir()} == {"b", "why.html"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--html", "nowhere/why.html"), "nowhere"),
        (("--html", "."), "folder"),
        (("--html", "/dev/null"), "device"),
        (("--html", "/proc/why.html"), "/proc/why.html"),
        (("--html", "b/why.html", "--out", "b"), "in the bundle"),
        (("--out", "/proc/b"), "/proc/b"),
        (("--out", "/proc/more/b"), "/proc/more/b"),
        (("--out", "file/b"), "file/b"),
        (("--out", "."), "the folder you are in"),
        (("--out", "/"), "the folder you are in"),
        (("--out", "a:b"), "a:b"),
        (("--out", "b" * 250), "too long"),
        (("--serve", "--port", "PORT"), "in use"),
        (("--serve", "--host", "no.such.host.invalid"), "no.such.host.invalid"),
    ],
)
def test_what_could_not_be_written_or_served_is_said_before_training(
    words: tuple[str, ...], said: str, place: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: object) -> None:
        pytest.fail("it was trained first")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("deepseek.automl.tabular_run.TabularRun.develop", train)
    (tmp_path / "file").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        where = () if "--out" in words else ("--out", "out")
        code, out, err = ship_loans(
            place, capsys, *(port if word == "PORT" else word for word in words), *where, "--json"
        )
    assert code == 2
    assert said in json.loads(out)["error"]["message"]
    assert said in err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
def test_the_port_is_kept_while_the_model_is_trained(place: Path, tmp_path: Path) -> None:
    """`--serve` answers at the port that was free at the start."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["loans.csv", "--target", "default", *QUICK, "--out", str(tmp_path / "b"), "--serve", "--port", str(port)]
    with subprocess.Popen(
        [sys.executable, "-m", "deepseek", "ship", *words, "--json"], cwd=place, stdout=subprocess.PIPE, text=True
    ) as serving:
        assert serving.stdout is not None
        assert json.loads(serving.stdout.readline())["bundle"] == str(tmp_path / "b")
        assert json.loads(serving.stdout.readline())["url"] == f"http://127.0.0.1:{port}"
        serving.terminate()
    assert serving.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "name"), [("sub/..", None), ("sub/.", "sub"), ("sub/new", "new"), ("sub/new/", "new")]
)
def test_the_folder_names_the_bundle_however_it_is_written(
    path: str, name: str | None, place: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "models" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    code, _, err = ship_loans(place, capsys, "--out", os.path.join("..", "models", path))  # noqa: PTH118 - keeps the dots
    if name is None:
        assert code == 2
        assert "is not empty" in err
    else:
        assert code == 0, err
        folder = tmp_path / "models" / path
        assert open_bundle(folder).manifest.name == name
        assert verify_bundle(folder) == []


@pytest.mark.slow
@pytest.mark.parametrize(("words", "name"), [((), "foo"), (("--name", "mine"), "mine")])
def test_an_example_is_named_by_its_folder(words: tuple[str, ...], name: str, tmp_path: Path) -> None:
    assert main(["ship", "--example", "cancer", "--out", str(tmp_path / "foo"), *words, *QUICK]) == 0
    assert open_bundle(tmp_path / "foo").manifest.name == name


def test_a_report_follows_a_link_and_predictions_may_go_to_it_too(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "real.html").write_text("old")
    (tmp_path / "link.html").symlink_to("real.html")
    rows = [str(place / "loans"), str(place / "loans.csv")]
    assert main(["explain", *rows, "--row", "1", "--html", str(tmp_path / "link.html")]) == 0
    assert (tmp_path / "link.html").is_symlink()
    assert "</html>" in (tmp_path / "real.html").read_text(encoding="utf-8")
