"""A rubric is filled in and signed by another person, of what lies in the folder: anything else is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from deepseek.bundle.sign import generate_keys
from deepseek.errors import CheckError, InputError
from deepseek.learn.certificates.issue import issue, issue_review
from deepseek.learn.certificates.proof import add_proof
from deepseek.learn.certificates.verify import verify_certificate
from deepseek.learn.definition.catalog import Catalog, LevelTable
from deepseek.learn.definition.lab import Lab, Translated, read_lab
from deepseek.learn.learner.place import LearnerPlace, read_learner
from deepseek.learn.verbs import LearningPath, begin, check
from learn.conftest import EXAMPLES, solve

pytestmark = pytest.mark.slow  # the work is graded before and at the signing

WORDS = Translated("Expert: counting", "专家：计数")
REASON = "I have read it twice and tried it."
RUBRIC = """
[[rubric]]
id = "design"
title = { en = "The design names what it does without", zh = "设计说明了舍弃了什么" }
[[rubric]]
id = "price"
title = { en = "The price is named", zh = "说明了代价" }
"""


@pytest.fixture(scope="module")
def reviewed_lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The example lab, with a rubric and the author's key among what is handed in."""
    folder = tmp_path_factory.mktemp("labs") / "counting"
    shutil.copytree(EXAMPLES / "counting", folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / "lab.toml").read_text("utf-8")
    (folder / "lab.toml").write_text(
        text.replace("submits = [", 'submits = ["author.pub", ') + RUBRIC, encoding="utf-8"
    )
    return read_lab(folder)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, reviewed_lab: Lab) -> tuple[LearningPath, Path]:
    """A path whose lab was passed, and the folder of keys and rubrics; tests change nothing in it."""
    base = tmp_path_factory.mktemp("reviews")
    place = LearnerPlace(base / "data")
    catalog = Catalog((reviewed_lab,), {"expert": LevelTable(WORDS, WORDS, 1.0, 1)})
    path = LearningPath(catalog, place, read_learner(place))
    folder = begin(path, "counting", base / "work").folder
    for name in ("ann", "bo", "school"):
        generate_keys(base / name)
    shutil.copyfile(base / "ann.pub", folder / "author.pub")
    solve(folder)
    assert check(path, "counting").grade.is_passed
    (base / "rubric.toml").write_text(rubric())
    return path, base


def rubric(
    author: str = "Ann Li", *, points: int = 3, reason: str = REASON, criteria: tuple[str, ...] = ("design", "price")
) -> str:
    rows = "".join(f'[[criteria]]\nid = "{each}"\npoints = {points}\nreason = "{reason}"\n' for each in criteria)
    return f'author = "{author}"\n{rows}'


def review(path: LearningPath, base: Path, out: Path, *, name: str = "Bo Wu", key: str = "bo", text: str = "") -> Path:
    file = base / "rubric.toml"
    if text:
        file = out.with_name("rubric.toml")
        file.write_text(text)
    issue_review(path, "expert", base / "work", file, name, base / key, out)
    return out


def test_a_certificate_carries_the_review_and_both_are_verified(
    done: tuple[LearningPath, Path], tmp_path: Path
) -> None:
    path, base = done
    signed = review(path, base, tmp_path / "review.json")
    assert verify_certificate(signed, key=base / "bo.pub", catalog=path.catalog).problems == ()
    assert verify_certificate(signed, key=base / "ann.pub", catalog=path.catalog).problems
    issue(path, "expert", "Ann Li", base / "school", tmp_path / "ann.json", reviews=[signed])
    report = verify_certificate(tmp_path / "ann.json", key=base / "school.pub", catalog=path.catalog)
    assert (report.problems, report.signature) == ((), "good")
    assert "Bo Wu" in (tmp_path / "ann.html").read_text("utf-8")


def test_no_certificate_without_a_review(done: tuple[LearningPath, Path], tmp_path: Path) -> None:
    path, base = done
    with pytest.raises(CheckError, match="needs a rubric that another person has filled in and signed"):
        issue(path, "expert", "Ann Li", base / "school", tmp_path / "ann.json")
    assert not (tmp_path / "ann.json").exists()


@pytest.mark.parametrize(
    ("name", "key", "text", "words"),
    [
        ("Ann LI", "bo", "", "has reviewed work of their own"),
        ("Bo Wu", "ann", "", "has reviewed work of their own"),
        ("Bo Wu", "bo", rubric(points=1), "design has 1 points"),
        ("Bo Wu", "bo", rubric(points=5), "design has 5 points"),
        ("Bo Wu", "bo", rubric(reason="fine"), "design has no reason"),
        ("Bo Wu", "bo", rubric(criteria=("design",)), "price is missing"),
        ("Bo Wu", "bo", rubric(criteria=("design", "price", "color")), "no criterion color"),
        ("Bo Wu", "bo", rubric(criteria=("design", "price", "price")), "judged twice"),
        ("Bo Wu", "bo", rubric(author=""), "has no name"),
    ],
)
def test_a_review_that_is_none_is_not_signed(
    done: tuple[LearningPath, Path], tmp_path: Path, name: str, key: str, text: str, words: str
) -> None:
    path, base = done
    with pytest.raises(CheckError, match=words):
        review(path, base, tmp_path / "review.json", name=name, key=key, text=text)
    assert not (tmp_path / "review.json").exists()


def test_a_review_of_other_files_or_of_another_person_gives_no_certificate(
    done: tuple[LearningPath, Path], tmp_path: Path
) -> None:
    path, base = done
    other = review(path, base, tmp_path / "other.json", text=rubric(author="Cy Xu"))
    with pytest.raises(CheckError, match="of the work of Cy Xu, and not of Ann Li"):
        issue(path, "expert", "Ann Li", base / "school", tmp_path / "ann.json", reviews=[other])
    signed = review(path, base, tmp_path / "review.json")
    answer = base / "work" / "answer.json"
    before = answer.read_bytes()
    answer.write_bytes(before + b"\n")
    try:
        with pytest.raises(CheckError, match="of other files than those that lie in its folder now"):
            issue(path, "expert", "Ann Li", base / "school", tmp_path / "ann.json", reviews=[signed])
    finally:
        answer.write_bytes(before)


def test_a_changed_review_is_refused_alone_and_within_a_certificate(
    done: tuple[LearningPath, Path], tmp_path: Path
) -> None:
    """By the reviewer's own signature, although the certificate around it is signed again by the school."""
    path, base = done
    signed = review(path, base, tmp_path / "review.json")
    issue(path, "expert", "Ann Li", base / "school", tmp_path / "ann.json", reviews=[signed])
    certificate = json.loads((tmp_path / "ann.json").read_text("utf-8"))
    del certificate["proof"]
    for change, words in (("4", "does not fit"), (None, "no signed review of another person")):
        document = json.loads(json.dumps(certificate))
        if change is None:
            del document["endorsement"]
        else:
            document["endorsement"][0]["credentialSubject"]["result"][0]["value"] = change
        forged = add_proof(document, base / "school", created="2026-11-30T00:00:00Z")
        (tmp_path / "forged.json").write_text(json.dumps(forged), encoding="utf-8")
        (problem,) = verify_certificate(tmp_path / "forged.json", catalog=path.catalog).problems
        assert words in problem
    text = signed.read_text("utf-8")
    signed.write_text(text.replace('"value": "3"', '"value": "4"', 1), encoding="utf-8")
    assert "does not fit" in verify_certificate(signed, catalog=path.catalog).problems[0]


def test_a_lab_without_a_rubric_is_not_reviewed(learning_path: LearningPath, done: tuple[LearningPath, Path]) -> None:
    _, base = done
    folder = begin(learning_path, "counting", base / "plain").folder
    with pytest.raises(InputError, match="has no rubric"):
        issue_review(learning_path, "expert", folder, base / "rubric.toml", "Bo Wu", base / "bo", base / "no.json")
