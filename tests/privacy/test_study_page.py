"""The page of a study, of a bundle and of a coordinator's folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from deepseek.bundle.manifest import canonical_json
from deepseek.cli import main
from deepseek.errors import MissingError
from deepseek.privacy.bundles.page import read_study_page, render_study
from deepseek.privacy.bundles.transcript import MessageRecord, RoundRecord
from deepseek.privacy.simulation.simulate import SimulationOptions, simulate
from support.federation import loans_study, loans_table, make_federation


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "bundle"
    study = loans_study("rounds.num_rounds=4", "rounds.lr=0.3")
    simulate(study, loans_table(num_rows=400), SimulationOptions(num_parties=3, out=folder))
    return folder


def test_the_page_of_a_bundle_has_parties_rounds_and_curves(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    assert main(["federate", "page", str(bundle), "--out", str(out), "--json"]) == 0
    text = out.read_text()
    for words in (
        "3 parties learn “default”",
        "4 rounds",
        "party-1",
        "party-3",
        "all data in one place",
        "各方留出的行",
        "chained",
    ):
        assert words in text
    assert text.count("<svg") == 8  # two curves of figures, parties and bytes, each narrow and wide
    assert "the answer of each party" in text


def test_the_page_of_a_study_that_goes_on_says_how_far_it_is(tmp_path: Path) -> None:
    federation = make_federation(tmp_path, "rounds.num_rounds=9", "rounds.min_parties=2", "protection.secure_sums=true")
    previous = ""
    for task, kind in enumerate(["moments", "training", "training"]):
        message = MessageRecord("ada", "masked", 1000, "ab", "cd")
        record = RoundRecord(task, kind, 0, ("ada", "bob"), ("cyd",), (message,), "ef", previous)
        path = federation.folder.path / "coordinator" / str(task) / "record.json"
        path.parent.mkdir(parents=True)
        path.write_bytes(canonical_json(asdict(record)))
        previous = record.digest
    page = read_study_page(federation.folder.path)
    text = render_study(page)
    assert "2 of 9 rounds are over" in text
    assert "sums over parties alone" in text
    assert "There are no figures." in text
    assert page.transcript.is_chained()


def test_a_folder_that_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="neither"):
        read_study_page(tmp_path)
