"""`ship --against`: the verdict stands in the summary, in the JSON, in the evidence and in the report, and is fair."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepseek.automl.comparison.against import RunSplit, _fresh_rows
from deepseek.automl.comparison.learned import learned_rows
from deepseek.automl.ship import ship
from deepseek.automl.shipped import ShipResult
from deepseek.bundle import Lineage, open_bundle, verify_bundle
from deepseek.cli import main
from deepseek.data import read_table
from deepseek.errors import InputError, MissingError
from deepseek.explain.report.evidence import evidence_sections
from deepseek.explain.report.page import read_evidence
from support.rows.loans import make_loans

USUAL = {"target": "default", "trials": 2, "candidates": ("linear",), "seed": 0}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return make_loans(600)[["debt", "age", "region", "default"]]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory, frame: pd.DataFrame) -> ShipResult:
    """A model that reads the age alone, made of the first 300 rows."""
    return ship(frame[:300][["age", "default"]], out=tmp_path_factory.mktemp("old") / "loans", **USUAL)


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory, frame: pd.DataFrame, old: ShipResult) -> ShipResult:
    out = tmp_path_factory.mktemp("new") / "loans"
    return ship(frame[:300], test=frame[300:], out=out, against=old.path, segments=("region",), **USUAL)


def test_the_answer_stands_in_summary_json_and_evidence(new: ShipResult, old: ShipResult) -> None:
    assert new.against is not None
    (comparison,) = new.against.comparisons
    assert comparison.verdict == "better"
    assert f"{new.path} is better than {old.path}, more than noise: log loss" in new.summary()
    document = json.loads(json.dumps(new.to_dict(), allow_nan=False))["against"]
    assert document["comparisons"][0]["verdict"] == "better"
    evidence = json.loads((new.path / "evidence/against.json").read_text("utf-8"))
    assert evidence == document
    assert evidence["comparisons"][0]["rows"] == [], "no value of a row goes into a bundle"
    assert evidence["comparisons"][0]["segments"]["region"]
    assert verify_bundle(new.path) == []
    assert new.against.models[1].metrics["log_loss"].value == pytest.approx(new.metrics["log_loss"].value)


def test_the_report_shows_it(new: ShipResult) -> None:
    sections = {section.id: section.body for section in evidence_sections(read_evidence(open_bundle(new.path)))}
    assert "is better than" in sections["against"]
    assert "Log loss" in sections["search"]


@pytest.mark.slow
def test_the_older_bundle_may_lie_where_the_new_one_goes(
    quick_ship: Callable[..., ShipResult], frame: pd.DataFrame
) -> None:
    first = quick_ship(frame[:200])
    second = quick_ship(frame[:200], against=first.path)
    assert second.against is not None
    assert second.against.comparisons[0].verdict == "identical"
    assert "(before)" in second.summary()
    assert second.digest == first.digest, "the comparison is evidence, and no part of the model"
    assert "against" not in first.to_dict()
    assert second.against.learned_from == {}, "equal rows, equal split: none of them has seen the test rows"


def test_other_questions_and_columns_that_miss_are_refused_before_anything_is_trained(
    quick_ship: Callable[..., ShipResult], frame: pd.DataFrame, new: ShipResult, tmp_path: Path
) -> None:
    progress: list[str] = []

    def note(message: str, share: float) -> None:
        progress.append(message)

    with pytest.raises(MissingError, match="lacks 'debt', 'region'"):
        quick_ship(frame[["age", "default"]], against=new.path, progress=note)
    with pytest.raises(InputError, match=r"target of .* is 'default', that of the new model 'region'"):
        quick_ship(frame, target="region", against=new.path, progress=note)
    with pytest.raises(MissingError):
        quick_ship(frame, against=tmp_path / "gone", progress=note)
    assert not any("trial" in message for message in progress)


@pytest.mark.slow
def test_the_exit_code_stays_0_for_a_worse_model(
    new: ShipResult, frame: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    worse = frame[:300].assign(debt=rng.permutation(frame["debt"][:300]), region="north")
    worse.to_csv(tmp_path / "worse.csv", index=False)
    frame[300:].to_csv(tmp_path / "test.csv", index=False)
    verb = ["ship", str(tmp_path / "worse.csv"), "--target", "default", "--out", str(tmp_path / "loans")]
    verb += ["--trials", "1", "--test", str(tmp_path / "test.csv"), "--against", str(new.path), "--json"]
    assert main(verb) == 0
    assert json.loads(capsys.readouterr().out)["against"]["comparisons"][0]["verdict"] == "worse"


def test_rows_that_the_older_one_has_learned_from_are_found_and_left_out(old: ShipResult, frame: pd.DataFrame) -> None:
    table = read_table(frame[:300][["age", "default"]])
    manifest = open_bundle(old.path).manifest
    learned = learned_rows(manifest, table)
    assert learned is not None
    assert len(learned) == 240
    assert table.take(learned).digest() == manifest.lineage.data
    assert learned_rows(manifest, read_table(frame)) is None
    unseen = np.setdiff1d(np.arange(300), learned)
    fresh = _fresh_rows("old", manifest, RunSplit(table, np.concatenate([learned[:9], unseen]), "", is_own=False))
    assert fresh.rows.tolist() == list(range(9, 69))
    assert fresh.exposure is None
    assert fresh.warnings == ("old has learned from 9 of the 69 test rows: the two are compared on the other 60",)
    mostly = _fresh_rows("old", manifest, RunSplit(table, np.append(learned, unseen[:29]), "", is_own=False))
    assert (len(mostly.rows), mostly.exposure) == (269, "some")
    elsewhere = read_table(frame[300:])
    maybe = _fresh_rows("old", manifest, RunSplit(elsewhere, np.arange(50), "", is_own=False))
    assert (len(maybe.rows), maybe.exposure) == (50, "maybe")
    assert _fresh_rows("old", manifest, RunSplit(elsewhere, np.arange(50), "", is_own=True)).exposure is None


def test_a_bundle_that_does_not_say_how_it_was_split_has_learned_from_who_knows(
    old: ShipResult, frame: pd.DataFrame
) -> None:
    table, manifest = read_table(frame[:300][["age", "default"]]), open_bundle(old.path).manifest
    assert learned_rows(replace(manifest, lineage=Lineage()), table) is None
    silent = replace(manifest.lineage, config={})
    assert learned_rows(replace(manifest, lineage=silent), table) is None
    whole = replace(manifest.lineage, data=table.digest())
    assert learned_rows(replace(manifest, lineage=whole), table).tolist() == list(range(300))
