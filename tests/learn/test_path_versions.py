"""A certificate is of the path as it was: it stays true when the path grows, and names no path that never was."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from deepseek.bundle.sign import generate_keys
from deepseek.contracts import JsonObject
from deepseek.errors import CheckError
from deepseek.learn.certificates.credential import LAB_NAME, Claim
from deepseek.learn.certificates.issue import issue
from deepseek.learn.certificates.proof import add_proof
from deepseek.learn.certificates.verify import claim_of, verify_certificate
from deepseek.learn.definition.catalog import Catalog, LevelTable, read_catalog
from deepseek.learn.definition.lab import FIRST_PATH, Lab, Translated
from deepseek.learn.grading.records import CheckResult, Grade
from deepseek.learn.learner.place import LearnerPlace, read_learner
from deepseek.learn.learner.progress import Progress
from deepseek.learn.verbs import LearningPath
from deepseek.look.words import Text

WORDS = Translated("Expert: counting", "专家：计数")
LATER = "2026-11-30"


def path_of(counting: Lab, later: int, *, start: str = FIRST_PATH) -> Catalog:
    """A path of two labs, and of so many that came later."""
    first = [dataclasses.replace(counting.table, since=start)] * 2
    tables = [*first, *[dataclasses.replace(counting.table, since=LATER)] * later]
    labs = tuple(Lab(f"counting_{place}", counting.folder, table) for place, table in enumerate(tables))
    return Catalog(labs, {"expert": LevelTable(WORDS, WORDS, 1.0, len(labs))})


def pass_all(path: LearningPath) -> None:
    check = CheckResult("answer", Text("a", "啊"), 100, True, None, "", 1, 0.1)
    with Progress.open(path.place) as progress:
        for lab in path.catalog.labs:
            progress.record(Grade(lab.id, lab.digest, (check,), 80))


@pytest.fixture
def certificate(counting: Lab, tmp_path: Path) -> Path:
    """Of the path of two labs."""
    place = LearnerPlace(tmp_path / "data")
    path = LearningPath(path_of(counting, 0), place, read_learner(place))
    pass_all(path)
    generate_keys(tmp_path / "school")
    issue(path, "expert", "Ann Li", tmp_path / "school", tmp_path / "ann.json")
    return tmp_path / "ann.json"


def sign_changed(certificate: Path, change: JsonObject, achievement: JsonObject | None = None) -> Path:
    """The certificate with other content, signed again by who has the key."""
    document = json.loads(certificate.read_text("utf-8")) | change
    del document["proof"]
    document["credentialSubject"]["achievement"] |= achievement or {}
    path = certificate.with_name("again.json")
    signed = add_proof(document, certificate.with_name("school"), created="2026-01-01T00:00:00Z")
    path.write_text(json.dumps(signed), encoding="utf-8")
    return path


def test_a_certificate_says_which_labs_its_path_had_and_since_when(certificate: Path) -> None:
    claim = claim_of(certificate)
    assert isinstance(claim, Claim)
    assert (claim.path_date, claim.path_labs) == (FIRST_PATH, ("counting_0", "counting_1"))
    assert all(len(lab.digest) == 64 for lab in claim.labs)


def test_a_certificate_of_an_older_path_is_true_and_says_so(certificate: Path, counting: Lab) -> None:
    now = path_of(counting, 1)
    report = verify_certificate(certificate, key=certificate.with_name("school.pub"), catalog=now)
    assert (report.problems, report.signature) == ((), "good")
    assert report.notes == (f"of the path as it was on {FIRST_PATH}: 2 labs; it has 3 now",)
    assert report.to_dict()["notes"] == list(report.notes)
    assert verify_certificate(certificate, catalog=path_of(counting, 0)).notes == ()


def test_a_level_that_was_not_passed_by_its_own_list_is_refused(certificate: Path, counting: Lab) -> None:
    """The list has both labs, and one was passed."""
    document = json.loads(certificate.read_text("utf-8"))
    path = sign_changed(certificate, {"evidence": document["evidence"][:1]})
    report = verify_certificate(path, catalog=path_of(counting, 1))
    assert report.problems == ("the level expert was not passed: counting_1 are not among its labs",)


@pytest.mark.parametrize(("num_later", "date"), [(0, FIRST_PATH), (1, FIRST_PATH), (1, LATER)])
def test_a_list_that_the_path_never_had_is_refused(certificate: Path, counting: Lab, num_later: int, date: str) -> None:
    """Signed by who has the key: one lab fewer, as if the path had been shorter; or the old list as the new path's."""
    document = json.loads(certificate.read_text("utf-8"))
    results = document["credentialSubject"]["achievement"]["resultDescription"]
    kept = results if date == LATER else results[:1]
    names = {each["id"].removeprefix(LAB_NAME) for each in kept}
    evidence = [each for each in document["evidence"] if each["name"] in names]
    path = sign_changed(certificate, {"evidence": evidence}, {"resultDescription": kept, "version": date})
    (problem,) = verify_certificate(path, catalog=path_of(counting, num_later)).problems
    assert problem.startswith(f"its list is not that of the path of {date}: counting_")


@pytest.mark.parametrize(
    ("date", "words"),
    [("2020-01-01", "there was no such path"), ("2099-01-01", "verify it with a later one"), ("", "no such path")],
)
def test_a_path_of_a_date_that_nobody_knows_is_refused(certificate: Path, counting: Lab, date: str, words: str) -> None:
    path = sign_changed(certificate, {}, {"version": date})
    (problem,) = verify_certificate(path, catalog=path_of(counting, 1)).problems
    assert words in problem


def test_a_certificate_from_before_its_path_is_refused(certificate: Path, counting: Lab) -> None:
    path = sign_changed(certificate, {"validFrom": "2026-01-02T00:00:00Z"})
    (problem,) = verify_certificate(path, catalog=path_of(counting, 1)).problems
    assert "before its path" in problem


def test_a_clock_before_the_path_gives_no_certificate(counting: Lab, tmp_path: Path) -> None:
    place = LearnerPlace(tmp_path / "data")
    path = LearningPath(path_of(counting, 0, start="2999-01-01"), place, read_learner(place))
    pass_all(path)
    generate_keys(tmp_path / "school")
    with pytest.raises(CheckError, match="the clock of this machine says"):
        issue(path, "expert", "Ann Li", tmp_path / "school", tmp_path / "ann.json")
    assert not (tmp_path / "ann.json").exists()


def test_a_level_that_is_not_whole_here_was_passed_by_nobody(certificate: Path, counting: Lab) -> None:
    whole = path_of(counting, 0)
    catalog = Catalog(whole.labs, {"expert": LevelTable(WORDS, WORDS, 1.0, 3)})
    (problem,) = verify_certificate(certificate, catalog=catalog).problems
    assert "is not whole in this version" in problem


def test_the_path_of_this_package_has_the_labs_of_each_date() -> None:
    catalog = read_catalog(())
    for level in catalog.levels:
        for day in catalog.path_dates(level):
            assert catalog.path_on(level, day)
        if dates := catalog.path_dates(level):
            assert catalog.path_on(level, dates[-1]) == catalog.of_level(level)
    assert catalog.path_dates("junior") == (FIRST_PATH, "2026-11-30")
    first = catalog.path_on("junior", FIRST_PATH)
    assert [lab.id for lab in catalog.of_level("junior") if lab not in first] == ["net_of_keras"]
