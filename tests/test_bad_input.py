"""Whatever a user gives: a word on what is wrong, what was expected and how to mend it, exit code 2 (3 for a check that
failed), and never a traceback. What can be read is read: other encodings, missing values, many columns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepseek.automl.ship import ship
from deepseek.cli import main
from support.rows.loans import for_task, make_loans

ROWS = for_task(make_loans(120), "binary")
SOME_MISSING = ROWS["default"].where(ROWS.index != 5)
QUICK = ("--trials", "1", "--candidates", "linear")


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def error(self) -> dict[str, str]:
        """The error object that --json prints."""
        error: dict[str, str] = json.loads(self.out)["error"]
        return error


Ask = Callable[..., Answer]


@pytest.fixture
def ask(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ask:
    """One command line, run in this process, inside a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Answer:
        capfd.readouterr()
        code = main([str(word) for word in words])
        captured = capfd.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Answer(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real bundle: numbers and a category, no value missing."""
    out = tmp_path_factory.mktemp("shipped") / "loans"
    ship(ROWS, target="default", out=out, trials=2, candidates=("linear",))
    return out


def written(folder: Path, frame: pd.DataFrame | str | bytes, name: str = "rows.csv") -> Path:
    path = folder / name
    if isinstance(frame, pd.DataFrame):
        frame.to_csv(path, index=False)
    else:
        path.write_bytes(frame if isinstance(frame, bytes) else frame.encode())
    return path


def csv(frame: pd.DataFrame) -> str:
    return str(frame.to_csv(index=False))


def broken_line() -> str:
    lines = csv(ROWS).splitlines()
    lines[40] += ",one,too,many"
    return "\n".join(lines) + "\n"


def duplicate_column() -> str:
    head, _, rest = csv(ROWS).partition("\n")
    return head.replace("age", "debt") + "\n" + rest


def leaking() -> pd.DataFrame:
    return ROWS.assign(outcome=np.where(ROWS["default"] == "yes", "A", "B"))


def free_text() -> pd.DataFrame:
    notes = [f"he{i} saw her{i * 7} by it{i * 3}" for i in range(60)]
    return pd.DataFrame({"note": notes, "default": ["a", "b"] * 30})


#: name: (the file, further options, exit code, words that the message must hold)
SHIP: dict[str, tuple[pd.DataFrame | str | bytes, tuple[str, ...], int, tuple[str, ...]]] = {
    "an unknown target": (ROWS, ("--target", "defualt"), 2, ("defualt", "default")),
    "an unknown column to drop": (ROWS, ("--drop", "agee"), 2, ("agee", "age")),
    "an unknown column of weights": (ROWS, ("--weights", "w"), 2, ("'w'",)),
    "an unknown column to split by": (ROWS, ("--split", "time:when"), 2, ("when",)),
    "a way to split that there is not": (ROWS, ("--split", "alphabetic"), 2, ("random", "time:COLUMN")),
    "an unknown family": (ROWS, ("--candidates", "xgbost"), 2, ("xgbost", "xgboost")),
    "an unknown metric": (ROWS, ("--metric", "f2"), 2, ("f2", "log_loss")),
    "an unknown kind": (ROWS, ("--kind", "age=colour"), 2, ("colour", "numeric")),
    "a kind that does not fit": (ROWS, ("--kind", "region=numeric"), 2, ("region", "number")),
    "an empty file": (b"", (), 2, ("empty",)),
    "a header without rows": ("debt,age,default\n", (), 2, ("row",)),
    "one class only": (ROWS.assign(default="no"), (), 2, ("one class", "two")),
    "a target with missing values": (ROWS.assign(default=SOME_MISSING), (), 2, ("missing", "--drop-missing-target")),
    "a broken line": (broken_line(), (), 2, ("41", "8", "5")),
    "a duplicate column": (duplicate_column(), (), 2, ("debt", "twice|duplicate|two columns|more than once")),
    "bytes that are no text": (bytes(range(256)) * 40, (), 2, ()),
    "a column that is the target": (leaking(), (), 3, ("outcome", "--allow")),
    "a per cent for a share": (ROWS, ("--max-fpr", "5"), 2, ("0.05",)),
    "costs that name no label": (ROWS, ("--costs", '{"maybe": {"no": 1}}'), 2, ("maybe", "yes")),
    "limits that cannot be met": (ROWS, ("--max-fpr", "0.001", "--min-recall", "0.999"), 3, ("recall",)),
    "a constraint on a category": (ROWS, ("--monotone", "region=+1"), 2, ("region", "numeric")),
    "a budget that is no time": (ROWS, ("--budget", "soon"), 2, ("120s",)),
    "a seed below zero": (ROWS, ("--seed", "-1"), 2, ("seed",)),
    "rows without columns": (ROWS[["default"]], (), 2, ("column",)),
    "free text alone, called an identifier": (free_text(), ("--kind", "note=identifier"), 2, ("column", "learn")),
    "a target of names": (ROWS.assign(default=[f"name {i}" for i in range(120)]), (), 2, ("120", "classes")),
    "a target of dates": (ROWS.assign(default=pd.date_range("2020-01-01", periods=120)), (), 2, ("dates",)),
    "an infinite target": (ROWS.assign(default=[np.inf, *np.linspace(0, 1, 119)]), (), 2, ("infinite|inf",)),
}  # fmt: skip


@pytest.mark.parametrize("case", SHIP)
def test_ship_refuses_with_a_word(ask: Ask, tmp_path: Path, case: str) -> None:
    data, options, code, words = SHIP[case]
    target = () if "--target" in options else ("--target", "default")
    answer = ask("ship", written(tmp_path, data), *target, "--out", tmp_path / "out", *QUICK, *options, "--json")
    assert answer.code == code, answer.err
    holds_words(answer, words)
    assert not (tmp_path / "out").exists(), "a run that failed left a bundle behind"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rows.csv"], "something half made was left behind"


def holds_words(answer: Answer, words: tuple[str, ...]) -> None:
    """What is wrong, with what was expected or how to mend it; the same on stderr."""
    error = answer.error
    said = " ".join(error.values())
    for word in words:
        assert any(choice.lower() in said.lower() for choice in word.split("|")), f"{word!r} is not in: {said}"
    assert error["message"]
    assert error["expected"] or error["fix"], f"no way out is named: {said}"
    assert error["message"][:40] in answer.err


def test_rows_in_two_parts_are_refused_and_named(ask: Ask, tmp_path: Path) -> None:
    train, test = written(tmp_path, ROWS), written(tmp_path, ROWS[:40], "test.csv")
    answer = ask("ship", train, "--target", "default", "--test", test, "--out", tmp_path / "out", *QUICK, "--json")
    assert answer.code == 3
    holds_words(answer, ("40 of 40", "--allow"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["evaluate", "predict", "explain"])
class TestVerbsThatReadABundle:
    """The verbs that take a bundle and rows."""

    def test_an_unknown_column_is_named_with_the_nearest(
        self, ask: Ask, bundle: Path, tmp_path: Path, verb: str
    ) -> None:
        strict = ["--strict"] if verb == "predict" else []  # it passes over what the model does not read otherwise
        answer = ask(verb, bundle, written(tmp_path, ROWS.assign(agee=1.0)), *strict, "--json")
        assert answer.code == 2
        holds_words(answer, ("agee", "age"))

    def test_a_missing_column_is_named(self, ask: Ask, bundle: Path, tmp_path: Path, verb: str) -> None:
        answer = ask(verb, bundle, written(tmp_path, ROWS.drop(columns="debt")), "--json")
        assert answer.code == 2
        holds_words(answer, ("debt",))

    def test_a_value_of_the_wrong_type_is_named_with_its_row(
        self, ask: Ask, bundle: Path, tmp_path: Path, verb: str
    ) -> None:
        rows = ROWS.astype({"debt": object})
        rows.loc[7, "debt"] = "much"
        answer = ask(verb, bundle, written(tmp_path, rows), "--json")
        assert answer.code == 2
        holds_words(answer, ("debt", "much", "7|8|9", "number"))

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b"", ("empty",)),
            ("debt,age,region,children,default\n", ("row",)),
            (broken_line(), ("41",)),
            (duplicate_column(), ("debt",)),
        ],
        ids=["empty", "no rows", "broken line", "duplicate column"],
    )
    def test_a_table_that_cannot_be_read_is_refused(
        self, ask: Ask, bundle: Path, tmp_path: Path, verb: str, data: str | bytes, words: tuple[str, ...]
    ) -> None:
        answer = ask(verb, bundle, written(tmp_path, data), "--json")
        assert answer.code == 2
        holds_words(answer, words)

    def test_a_file_that_is_not_there_is_named(self, ask: Ask, bundle: Path, verb: str) -> None:
        answer = ask(verb, bundle, "nowhere.csv", "--json")
        assert answer.code == 2
        holds_words(answer, ("nowhere.csv",))

    def test_a_bundle_that_is_not_there_is_named(self, ask: Ask, tmp_path: Path, verb: str) -> None:
        answer = ask(verb, tmp_path / "nothing", written(tmp_path, ROWS), "--json")
        assert answer.code == 2
        holds_words(answer, ("nothing",))

    def test_a_missing_value_where_none_was_seen_is_imputed(
        self, ask: Ask, bundle: Path, tmp_path: Path, verb: str
    ) -> None:
        rows = ROWS.copy()
        rows.loc[3, "debt"] = np.nan
        rows.loc[4, "region"] = None
        answer = ask(verb, bundle, written(tmp_path, rows), "--json")
        assert answer.code == 0, answer.err
        if verb == "predict":
            assert json.loads(answer.out)["num_flags"] == 2

    def test_a_file_in_gbk_is_read(self, ask: Ask, bundle: Path, tmp_path: Path, verb: str) -> None:
        text = csv(ROWS.replace({"region": {"north": "北方"}}))
        answer = ask(verb, bundle, written(tmp_path, text.encode("gbk")), "--json")
        assert answer.code == 0, answer.err


@pytest.mark.parametrize("verb", ["evaluate", "predict", "explain"])
def test_a_changed_byte_of_a_bundle_is_a_failed_check(
    ask: Ask, bundle: Path, tmp_path: Path, verb: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    import shutil

    copy = tmp_path_factory.mktemp("copy") / "loans"
    shutil.copytree(bundle, copy)
    data = bytearray((copy / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "model.onnx").write_bytes(bytes(data))
    answer = ask(verb, copy, written(tmp_path, ROWS), "--json")
    assert answer.code == 3
    holds_words(answer, ("model.onnx",))


def test_answers_that_are_not_known_are_named_by_evaluate(ask: Ask, bundle: Path, tmp_path: Path) -> None:
    answer = ask("evaluate", bundle, written(tmp_path, ROWS.assign(default="perhaps")), "--json")
    assert answer.code == 2
    holds_words(answer, ("perhaps", "no, yes"))


def test_evaluate_without_answers_says_so(ask: Ask, bundle: Path, tmp_path: Path) -> None:
    answer = ask("evaluate", bundle, written(tmp_path, ROWS.drop(columns="default")), "--json")
    assert answer.code == 2
    holds_words(answer, ("default", "predict"))


def test_evaluate_by_a_column_that_is_not_there_says_so(ask: Ask, bundle: Path, tmp_path: Path) -> None:
    answer = ask("evaluate", bundle, written(tmp_path, ROWS), "--by", "regoin", "--json")
    assert answer.code == 2
    holds_words(answer, ("regoin", "region"))


def test_rows_of_one_class_can_be_evaluated(ask: Ask, bundle: Path, tmp_path: Path) -> None:
    answer = ask("evaluate", bundle, written(tmp_path, ROWS[ROWS["default"] == "no"]), "--json")
    assert answer.code == 0, answer.err
    assert "auc" not in json.loads(answer.out)["metrics"]


def test_predict_into_a_folder_that_is_not_there_says_so(ask: Ask, bundle: Path, tmp_path: Path) -> None:
    answer = ask("predict", bundle, written(tmp_path, ROWS), "--out", tmp_path / "no" / "scores.parquet", "--json")
    assert answer.code == 2
    assert "no" in answer.error["message"]


@pytest.mark.slow
def test_a_table_in_gbk_ships_and_keeps_its_labels(ask: Ask, tmp_path: Path) -> None:
    rows = ROWS.rename(columns={"region": "地区"}).replace({"default": {"yes": "违约", "no": "正常"}})
    path = written(tmp_path, csv(rows).encode("gbk"))
    answer = ask("ship", path, "--target", "default", "--out", tmp_path / "out", *QUICK, "--json")
    assert answer.code == 0, answer.err
    manifest = json.loads((tmp_path / "out" / "bundle.json").read_text(encoding="utf-8"))
    assert set(manifest["labels"]) == {"违约", "正常"}
    assert "地区" in [entry["name"] for entry in manifest["inputs"]]


def test_ten_thousand_columns_ship_and_answer(ask: Ask, tmp_path: Path) -> None:
    """Many columns of one byte each: read, fitted, exported, explained."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 9, (60, 10_000))
    frame = pd.DataFrame(values, columns=[f"c{i}" for i in range(10_000)])
    frame["default"] = np.where(values[:, 17] + rng.normal(size=60) > 4, "yes", "no")
    path = written(tmp_path, frame)
    answer = ask("ship", path, "--target", "default", "--out", tmp_path / "out", *QUICK, "--json")
    if answer.code == 0:
        assert ask("predict", tmp_path / "out", path, "--json").code == 0
    else:
        assert answer.code == 2, answer.err
        holds_words(answer, ("columns",))


@pytest.mark.parametrize("words", [("ship", "rows.csv", "--target", "nope"), ("predict", "nowhere", "rows.csv")])
def test_a_real_process_ends_with_the_code_and_without_a_traceback(tmp_path: Path, words: tuple[str, ...]) -> None:
    written(tmp_path, ROWS)
    done = subprocess.run(
        [sys.executable, "-m", "deepseek", *words], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stdout
    assert done.stderr.strip()
