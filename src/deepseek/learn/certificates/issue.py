"""Issues a certificate: the level must be whole and every lab of it passed.

issue(path, "junior", "Ann Li", Path("school-key"), Path("ann.json"))      # ann.json and ann.html
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deepseek.bundle.sign import load_private_key
from deepseek.contracts import JsonObject
from deepseek.errors import CheckError, InputError
from deepseek.files import atomic_file, check_writable
from deepseek.learn.certificates.credential import Claim, PassedLab, make_credential
from deepseek.learn.certificates.page import certificate_page
from deepseek.learn.certificates.proof import add_proof, verification_method
from deepseek.learn.certificates.review import (
    Review,
    read_review,
    review_problems,
    same_person,
    sign_review,
    submission_digest,
)
from deepseek.learn.certificates.verify import read_credential
from deepseek.learn.definition.lab import Level
from deepseek.learn.grading.grade import grade_folder
from deepseek.learn.learner.progress import Passed, Progress
from deepseek.learn.learner.workspace import find_workspace
from deepseek.learn.verbs import LearningPath
from deepseek.results import Result

MAX_NAME = 120


@dataclass(frozen=True, slots=True, eq=False)
class Issued(Result):
    """A certificate that was written."""

    claim: Claim
    path: Path
    page: Path
    public_key: str  # hexadecimal

    def to_dict(self) -> JsonObject:
        return {
            "level": self.claim.level, "name": self.claim.holder, "certificate": str(self.path), "html": str(self.page),
            "key": self.public_key, "labs": [lab.lab for lab in self.claim.labs],
        }  # fmt: skip

    def summary(self) -> str:
        return f"{self.path}: {self.claim.level}, {self.claim.holder}; the page to print is {self.page}"


@dataclass(frozen=True, slots=True, eq=False)
class Reviewed(Result):
    """A review that was signed."""

    review: Review
    path: Path

    def to_dict(self) -> JsonObject:
        review = self.review
        return {
            "lab": review.lab, "author": review.author, "reviewer": review.reviewer, "review": str(self.path),
            "submission": review.submission, "points": {each.id: each.points for each in review.judgments},
        }  # fmt: skip

    def summary(self) -> str:
        return f"{self.path}: {self.review.reviewer} on {self.review.lab} of {self.review.author}"


def issue(
    path: LearningPath,
    level: Level,
    holder: str,
    key: Path,
    out: Path,
    issuer: str = "",
    reviews: Sequence[Path] = (),
) -> Issued:
    """Write the certificate to `out` (JSON) and its page beside it. CheckError names the labs that are not passed or
    not reviewed, or says that this version has not all labs of the level. `reviews`: signed rubrics, of the labs that
    have one."""
    _check_name("--name", holder)
    _check_name("--issuer", issuer)
    public = load_private_key(key).public_key().public_bytes_raw()
    page = out.with_suffix(".html")
    check_writable(out)
    check_writable(page)
    with Progress.open(path.place) as progress:
        passed = progress.best_gradings()
    labs = _passed_labs(path, level, passed)
    documents = _read_reviews(path, labs, holder, reviews)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    day = path.catalog.path_dates(level)[-1]
    claim = Claim(level, holder.strip(), now, labs, day, tuple(lab.lab for lab in labs), issuer.strip(), documents)
    titles = {lab.id: lab.table.title.en for lab in path.catalog.labs}
    table = path.catalog.levels[level]
    document = make_credential(claim, verification_method(public), table, titles)
    signed = add_proof(document, key, created=now)
    with atomic_file(out) as part:
        part.write_text(json.dumps(signed, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    with atomic_file(page) as part:
        part.write_text(certificate_page(claim, path.catalog, public.hex(), out.name), encoding="utf-8")
    return Issued(claim, out, page, public.hex())


def _check_name(what: str, text: str) -> None:
    if (what == "--name" and not text.strip()) or len(text) > MAX_NAME or not text.isprintable():
        raise InputError(f"{what} is {text[:40]!r}", expected=f"a name of at most {MAX_NAME} characters", fix="mend it")


def _passed_labs(path: LearningPath, level: Level, passed: dict[str, Passed]) -> tuple[PassedLab, ...]:
    labs, table = path.catalog.of_level(level), path.catalog.levels[level]
    if len(labs) < table.num_labs:
        raise CheckError(
            f"the level {level} is not whole in this version: {len(labs)} of its {table.num_labs} labs are there",
            expected="a level whose labs are all there", fix="pass what is there; certify with a later version",
        )  # fmt: skip
    lacking = [lab.id for lab in labs if lab.id not in passed]
    if lacking:
        raise CheckError(
            f"the level {level} is not passed: {len(lacking)} of {len(labs)} labs are missing: {', '.join(lacking)}",
            expected="every lab of the level passed", fix=f"deepseek learn start {lacking[0]}",
        )  # fmt: skip
    changed = [lab.id for lab in labs if passed[lab.id].digest != lab.digest]
    if changed:
        raise CheckError(
            f"{', '.join(changed)} was graded by other checks than those that are here now",
            expected="gradings by these checks", fix=f"deepseek learn check {changed[0]}",
        )  # fmt: skip
    rows = [passed[lab.id] for lab in labs]
    return tuple(PassedLab(row.lab, row.score, row.digest, row.num_hints, row.time) for row in rows)


def _read_reviews(
    path: LearningPath, labs: Sequence[PassedLab], holder: str, files: Sequence[Path]
) -> tuple[JsonObject, ...]:
    """The review of each lab that has a rubric, held to what lies in the learner's folder now, which is graded again:
    what was read is what passes. CheckError says what is missing."""
    documents = {}
    for file in files:
        document = read_credential(file)
        for problem in review_problems(document, path.catalog):
            raise _review_error(file.name, problem)
        documents[read_review(document).lab] = document
    needed = [lab for lab in (path.catalog.lab(each.lab) for each in labs) if lab.table.rubric]
    for lab in needed:
        if lab.id not in documents:
            raise _review_error(lab.id, "it needs a rubric that another person has filled in and signed")
        review = read_review(documents[lab.id])
        if not same_person(review.author, holder):
            raise _review_error(lab.id, f"the review is of the work of {review.author}, and not of {holder}")
        if review.lab_digest != lab.digest:
            raise _review_error(lab.id, "the review is of another version of this lab")
        with Progress.open(path.place) as progress:
            folder = progress.folder(lab.id)
        if folder is None or not folder.is_dir():
            raise _review_error(lab.id, "its folder is not there any more, so that nobody can say what was reviewed")
        if review.submission != submission_digest(folder, lab.table.submits):
            raise _review_error(lab.id, "the review is of other files than those that lie in its folder now")
        if not grade_folder(lab, folder, path.seed(lab)).is_passed:
            raise _review_error(lab.id, "what was reviewed does not pass its checks")
    return tuple(documents[lab.id] for lab in needed)


def _review_error(what: str, problem: str) -> CheckError:
    return CheckError(
        f"{what}: {problem}", expected="a review of what lies in the learner's folder, by another person",
        fix="deepseek learn certify LEVEL --folder FOLDER --rubric rubric.toml --name REVIEWER --key THEIR-KEY, "
        "then --review review.json",
    )  # fmt: skip


def issue_review(
    path: LearningPath, level: Level, folder: Path, rubric: Path, reviewer: str, key: Path, out: Path
) -> Reviewed:
    """Write the signed review of what lies in a learner's folder to `out`."""
    _check_name("--name", reviewer)
    check_writable(out)
    workspace = find_workspace(folder)
    lab = path.catalog.lab(workspace.lab)
    if lab.table.level != level:
        raise InputError(
            f"{folder} is of the lab {lab.id}, of the level {lab.table.level}", expected=level, fix="name that level"
        )
    document = sign_review(lab, workspace.folder, rubric, reviewer, key)
    with atomic_file(out) as part:
        part.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return Reviewed(read_review(document), out)
