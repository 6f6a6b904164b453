"""What a result says, when a bar holds, and the page that is made of all results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import run_all
from result import claim, finish, options, write_result


@pytest.mark.parametrize(
    ("ours", "ratio", "op", "holds"),
    [(1.0, 0.99, "<=", True), (1.0, 1.01, "<=", False), (1.0, None, ">=", True), (0.9, None, ">=", False)],
)
def test_a_bar_speaks_of_the_ratio_where_there_is_one(ours: float, ratio: float | None, op: str, holds: bool) -> None:
    assert claim("c", ours=ours, ratio=ratio, unit="x", op=op, bar=1.0)["holds"] is holds


def test_a_claim_without_a_bar_is_not_judged() -> None:
    assert claim("c", ours=1.0, unit="x")["holds"] is None


def test_a_result_names_commit_machine_versions_and_what_was_not_run(tmp_path: Path) -> None:
    claims = [claim("size", ours=1.0, rival=20.0, rival_name="R", ratio=20.0, unit="MB", op=">=", bar=10.0)]
    path = write_result("demo", claims, "python demo.py", not_run=["seed 2"], versions={"R": "1.0"}, folder=tmp_path)
    record = json.loads(path.read_text())
    assert record["claims"] == claims
    assert record["commit"]
    assert record["date"].endswith("+00:00")
    assert record["machine"]["num_cores"] >= 1
    assert {"numpy", "python", "R"} <= set(record["versions"])
    assert record["not_run"] == ["seed 2"]


def test_a_script_ends_with_3_only_when_a_bar_is_missed(tmp_path: Path) -> None:
    good, bad = (claim("c", ours=ours, unit="x", op=">=", bar=1.0) for ours in (1.0, 0.9))
    shown = claim("d", ours=1.0, unit="x")
    for claims, code in (([good, shown], 0), ([good, bad], 3), ([], 0)):
        assert finish("demo", claims, not_run=["e"], folder=tmp_path) == code
        record = json.loads((tmp_path / "demo.json").read_text())
        assert (record["claims"], record["not_run"]) == (claims, ["e"])


def test_a_run_of_one_claim_takes_its_place_in_the_record_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [claim(name, ours=1.0, unit="x") for name in ("a", "b")]
    finish("demo", both, not_run=["c"], folder=tmp_path)
    before = json.loads((tmp_path / "demo.json").read_text())
    again = claim("a", ours=2.0, unit="x")
    monkeypatch.setattr("sys.argv", ["demo.py", "--only", "a", "--quick"])
    finish("demo", [again], not_run=["b"], folder=tmp_path)
    assert json.loads((tmp_path / "demo.json").read_text()) == before  # a longer run is not overwritten by a quick one
    monkeypatch.setattr("sys.argv", ["demo.py", "--only", "a"])
    finish("demo", [again], not_run=["b"], folder=tmp_path)
    record = json.loads((tmp_path / "demo.json").read_text())
    measured = record["claims"][0].pop("measured")
    assert measured["command"] == "python demo.py --only a"
    assert measured["commit"]
    assert record == before | {"claims": [again, both[1]]}
    finish("demo", [claim("c", ours=3.0, unit="x")], not_run=[], folder=tmp_path)
    record = json.loads((tmp_path / "demo.json").read_text())
    assert [each["claim"] for each in record["claims"]] == ["a", "b", "c"]
    assert record["not_run"] == []
    finish("other", [again], not_run=["b"], folder=tmp_path)
    assert "measured" not in json.loads((tmp_path / "other.json").read_text())["claims"][0]


def test_every_script_takes_quick_and_one_of_its_claims() -> None:
    parser = options("What it is.\n\nMore.", {"a": 1, "b": 2}, quick="Less.")
    assert parser.description == "What it is."
    assert vars(parser.parse_args(["--only", "b"])) == {"quick": False, "only": "b"}
    with pytest.raises(SystemExit):
        parser.parse_args(["--only", "c"])


def test_a_claim_with_a_field_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lacks unit"):
        write_result(
            "demo", [{k: v for k, v in claim("c", ours=1.0, unit="x").items() if k != "unit"}], "x", folder=tmp_path
        )


def test_the_page_shows_losses_like_wins(tmp_path: Path) -> None:
    claims = [
        claim("won", ours=1.0, unit="s", op="<=", bar=2.0),
        claim("lost", ours=3.0, unit="s", op="<=", bar=2.0, note="the price of a check"),
        claim("shown", ours=4.0, unit="s"),
    ]
    write_result("demo", claims, "python demo.py", not_run=["seed 2"], folder=tmp_path)
    page = run_all.page(run_all.read_results(tmp_path))
    assert "1 of 2 bars hold" in page
    assert "| lost | 3 s |  |  | <= 2 | **no** |" in page
    assert "the price of a check" in page
    assert "Not run: seed 2." in page


@pytest.mark.parametrize(("codes", "whole"), [([], 0), ([0, 0], 0), ([0, 3], 3), ([3, 2], 1), ([0, -9], 1)])
def test_a_missed_bar_is_3_and_a_broken_script_is_1(codes: list[int], whole: int) -> None:
    assert run_all.exit_code(codes) == whole


def test_every_script_in_the_list_is_there() -> None:
    assert all((run_all.HERE / f"{name}.py").exists() for name in run_all.SCRIPTS)
