"""Every error says what is wrong, what was expected and how to mend it, and names only options that its verb has."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pandas as pd
import pytest

import deepseek
from deepseek.bundle.manifest import canonical_json
from deepseek.cli import main
from support.rows.loans import for_task, make_loans

SRC = Path(deepseek.__file__).parent
ROWS = for_task(make_loans(120), "binary")
SHIP = ("--target", "default", "--out", "out", "--trials", "1", "--candidates", "linear")

FILES: dict[str, bytes | pd.DataFrame] = {
    "rows.csv": ROWS,
    "train.csv": ROWS[:80],
    "later.csv": ROWS[80:],
    "short.csv": ROWS[80:].drop(columns="debt"),
    "wide.csv": ROWS[80:].assign(note=1.5),
    "worded.csv": ROWS[80:].assign(debt="much"),
    "blind.csv": ROWS[80:].drop(columns="default"),
    "holes.csv": ROWS.assign(default=ROWS["default"].where(ROWS.index != 5)),
    "odd.csv": ROWS.assign(default="perhaps"),
    "same.csv": ROWS.assign(default="no"),
    "huge.csv": ROWS.assign(default=ROWS["debt"] * 1e302),
    "leak.csv": ROWS.assign(outcome=ROWS["default"].map({"yes": "A", "no": "B"})),
    "dates.csv": ROWS.assign(default=pd.date_range("2020-01-01", periods=120)),
    "names.csv": ROWS.assign(default=[f"name {i}" for i in range(120)]),
    "weights.csv": ROWS.assign(w=-1.0),
    "empty.csv": b"",
    "head.csv": b"debt,age,default\n",
    "broken.csv": b"debt,default\n1,yes\n2,no,too,many\n",
    "quote.csv": b'debt,default\n1,"yes\n2,no\n',
    "nul.csv": b"debt,default\n1,\x00\n",
    "twice.csv": b"debt,debt\n1,2\n",
    "cut.parquet": b"PAR1",
    "named.parquet": b"debt,default\n",
    "cut.csv.gz": b"\x1f\x8b\x08\x00cut",
    "book.xlsx": b"PK\x03\x04",
    "rows.json": b"[]",
    "bare.csv": ROWS[["default"]],
    "long.csv": b"x" * 600 + b",default\n1,yes\n",
}

CASES: tuple[tuple[str, ...], ...] = (
    ("shp",),
    ("ship",),
    ("ship", "rows.csv"),
    ("ship", "rows.csv", "--target", "default", "--seed", "x"),
    ("ship", "rows.csv", *SHIP, "--target", "defualt"),
    ("ship", "gone.csv", *SHIP),
    *(("ship", name, *SHIP) for name in (
        "holes.csv", "same.csv", "leak.csv", "dates.csv", "names.csv", "empty.csv", "head.csv", "broken.csv",
        "quote.csv", "nul.csv", "twice.csv", "cut.parquet", "named.parquet", "cut.csv.gz", "book.xlsx", "rows.json",
        "long.csv", ".", "huge.csv", "bare.csv",
    )),
    *(("ship", "train.csv", *SHIP, "--test", name) for name in (
        "short.csv", "wide.csv", "worded.csv", "blind.csv", "gone.csv", "empty.csv",
    )),
    *(("ship", "rows.csv", *SHIP, *words) for words in (
        ("--drop", "default"), ("--drop", "agee"), ("--weights", "w"), ("--weights", "default"),
        ("--segment", "regoin"), ("--fairness", "regoin"), ("--monotone", "region=+1"), ("--monotone", "default=+1"),
        ("--split", "alphabet"), ("--split", "time:when"),
        ("--split", "time:region"), ("--split", "group:default"), ("--positive", "maybe"),
        ("--task", "regression"), ("--kind", "agee=text"), ("--max-fpr", "5"), ("--name", "a/b"), ("--out", "full"),
        ("--out", "rows.csv"), ("--out", "rows.csv/x"), ("--out", "."), ("--out", "a:b"), ("--key", "gone.pem"),
        ("--key", "rows.csv"), ("--html", "gone/x.html"), ("--html", "."), ("--example", "cancer"),
    )),
    ("ship", "weights.csv", *SHIP, "--weights", "w"),
    ("inspect", "gone"),
    ("inspect", "rows.csv"),
    ("inspect", "full"),
    ("inspect", "changed"),
    ("inspect", "loans", "--key", "rows.csv"),
    ("verify", "gone"),
    ("verify", "loans", "--key", "gone.pub"),
    ("predict", "loans", "gone.csv"),
    ("predict", "loans", "short.csv"),
    ("predict", "loans", "wide.csv", "--strict"),
    ("predict", "loans", "worded.csv"),
    ("predict", "loans", "later.csv", "--out", "scores.txt"),
    ("predict", "loans", "later.csv", "--out", "gone/scores.csv"),
    ("predict", "old", "later.csv"),
    ("predict", "new", "later.csv"),
    ("evaluate", "loans", "blind.csv"),
    ("evaluate", "loans", "holes.csv"),
    ("evaluate", "loans", "odd.csv"),
    ("evaluate", "loans", "later.csv", "--by", "regoin"),
    ("explain", "loans", "later.csv", "--row", "99"),
    ("explain", "loans", "later.csv", *(["--row", "1"] * 51)),
    ("explain", "loans", "later.csv", "--html", "gone/x.html"),
    ("serve", "gone", "--port", "0"),
    ("serve", "--port", "0"),
    ("serve", "loans", "loans", "--port", "0"),
    ("keygen", "rows.csv"),
    ("keygen", "gone/key"),
    ("migrate", "gone"),
    ("migrate", "old", "--out", "full"),
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with all files and with bundles: a good one, two of other formats, one that lacks a file."""
    folder = tmp_path_factory.mktemp("errors")
    for name, content in FILES.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            content.to_csv(folder / name, index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MODEL_PATH", raising=False)
        assert main(["ship", "rows.csv", *SHIP, "--out", "loans"]) == 0
        for name in ("old", "new", "changed"):
            shutil.copytree("loans", name)
        Path("changed", "model.onnx").unlink()
        top = json.loads(Path("loans/bundle.json").read_bytes())
        Path("new", "bundle.json").write_bytes(canonical_json({**top, "format": 99}))
        Path("old", "decision.json").unlink()
        files = {name: sha256 for name, sha256 in top["files"].items() if name != "decision.json"}
        gone = {"digest", "manifest_sha256"}
        old = {name: value for name, value in top.items() if name not in gone} | {"format": 1, "files": files}
        Path("old", "bundle.json").write_bytes(canonical_json(old))
        Path("full").mkdir()
        Path("full", "thesis.txt").write_text("years of work")
        yield folder


def options_of(verb: str) -> set[str]:
    command = importlib.import_module(f"deepseek.cli.{verb}").command
    return {name for option in command.params if isinstance(option, click.Option) for name in option.opts} | {"--help"}


@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_an_error_says_all_three_and_advises_what_can_be_done(
    words: tuple[str, ...], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    code = main([*words, "--json"])
    out, err = capsys.readouterr()
    error = json.loads(out)["error"]
    assert code == (3 if error["code"] in ("check_failed", "integrity") else 2), err
    assert all(error.values()), error
    assert "Traceback" not in err
    if words[0] != "shp":
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", f"{error['expected']} {error['fix']}"))
        assert named <= options_of(words[0]), f"{words[0]} has no {named - options_of(words[0])}: {error['fix']}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--test", "short.csv"), "the test file short.csv has no column 'debt', which the data file train.csv has"),
        (("--test", "wide.csv"), "the test file wide.csv has a column 'note', which the data file train.csv has not"),
        (("--test", "worded.csv"), "number in the data file train.csv and text in the test file worded.csv"),
        (("--validation", "blind.csv"), "the validation file blind.csv has no column 'default'"),
        (("--validation", "blind.csv", "--drop-missing-target"), "the validation file blind.csv has no column"),
        (("--drop", "agee"), "the data file train.csv has no column 'agee'"),
    ],
)
def test_the_file_that_is_wrong_is_the_one_that_is_named(
    words: tuple[str, ...], said: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ship", "train.csv", *SHIP, *words]) == 2
    assert said in capsys.readouterr().err


def test_the_target_cannot_be_left_out(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ship", "rows.csv", *SHIP, "--drop", "age", "--drop", "default"]) == 2
    assert "drop names 'default', which is the target" in capsys.readouterr().err


@pytest.mark.slow
def test_figures_for_want_of_rows_are_warned_of_in_the_evidence_and_on_stderr(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """24 test rows: too few for any figure by region."""
    out = tmp_path / "few"
    words = ["--segment", "region", "--fairness", "children", "--out", str(out), "--json"]
    assert main(["ship", "rows.csv", *SHIP, *words]) == 0
    said, err = capsys.readouterr()
    written = json.loads((out / "evidence" / "data.json").read_bytes())["warnings"]
    for word in ("24 test rows", "'region'", "'children'"):
        for warnings in (written, json.loads(said)["warnings"]):
            assert sum(word in warning for warning in warnings) == 1, word
        assert sum(line.startswith("warning:") and word in line for line in err.splitlines()) == 1, word
    assert main(["evaluate", str(out), "later.csv", "--by", "children", "--json"]) == 0
    said, err = capsys.readouterr()
    assert ["'children'" in warning for warning in json.loads(said)["warnings"]] == [True]
    assert "'children'" in err


def errors_raised() -> Iterator[tuple[str, ast.Call]]:
    everything = vars(importlib.import_module("deepseek.errors"))
    classes = {name for name, each in everything.items() if isinstance(each, type) and issubclass(each, Exception)}
    for path in sorted(SRC.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if any(name in text for name in classes) else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in classes:
                yield f"{path.relative_to(SRC)}:{node.lineno}", node


@pytest.mark.slow
def test_no_error_is_made_without_all_three() -> None:
    """The few that no command line reaches, too."""
    raised_errors = list(errors_raised())
    assert len(raised_errors) > 200
    short = [where for where, node in raised_errors if {"expected", "fix"} - {word.arg for word in node.keywords}]
    assert short == []
