"""A rubric that a person has filled in about what a learner made, signed: an Open Badges endorsement.

    document = sign_review(lab, folder, Path("rubric.toml"), "Bo Wu", Path("bo-key"))
    review_problems(document, catalog)       # in words; empty: it fits its signature, its lab and its rubric

It names the bytes that were read (their digest), the author by name and key, and the reviewer, who must be another.
Source: Open Badges Specification 3.0 (1EdTech, 2024), B.8 EndorsementCredential.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from deepseek.bundle.sign import load_private_key, load_public_key
from deepseek.config import build_dataclass, read_toml
from deepseek.errors import CheckError, InputError, IntegrityError, MissingError
from deepseek.learn.certificates.credential import CONTEXTS, LAB_NAME
from deepseek.learn.certificates.proof import add_proof, check_proof, verification_method
from deepseek.learn.definition.catalog import Catalog
from deepseek.learn.definition.lab import Lab

if TYPE_CHECKING:  # contracts brings numpy, which verify does without
    from deepseek.contracts import JsonObject

TYPES = ("VerifiableCredential", "EndorsementCredential")
SUBMISSION_NAME = "urn:deepseek:learn:submission:sha256:"
AUTHOR_KEY = "author.pub"  # of what is handed in
MIN_POINTS, MAX_POINTS = 2, 4
MIN_REASON = 20  # characters


@dataclass(frozen=True, slots=True)
class Judgment:
    """What a reviewer says on one criterion."""

    id: str
    points: int  # 0 to 4
    reason: str


@dataclass(frozen=True, slots=True)
class Rubric:
    """rubric.toml as a reviewer fills it in."""

    author: str  # whose work it is
    criteria: tuple[Judgment, ...]


@dataclass(frozen=True, slots=True)
class Review:
    """What a signed review says."""

    lab: str
    lab_digest: str
    submission: str  # sha256 over what was handed in
    author: str
    author_did: str
    reviewer: str
    reviewer_did: str
    time: str  # UTC, ISO 8601 with a Z
    judgments: tuple[Judgment, ...]


def sign_review(lab: Lab, folder: Path, rubric: Path, reviewer: str, key: Path) -> JsonObject:
    """The signed review of what lies in `folder`. InputError for a lab without a rubric, CheckError names what is
    missing in the rubric, or that author and reviewer are one."""
    if not lab.table.rubric:
        raise InputError(
            f"the lab {lab.id} has no rubric", expected="a lab that a person reviews", fix="choose another"
        )
    filled = build_dataclass(Rubric, read_toml(rubric))
    author_key = load_public_key(folder / AUTHOR_KEY).public_bytes_raw()
    method = verification_method(load_private_key(key).public_key().public_bytes_raw())
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    review = Review(
        lab.id, lab.digest, submission_digest(folder, lab.table.submits), filled.author.strip(), _did(author_key),
        reviewer.strip(), method.partition("#")[0], now, filled.criteria,
    )  # fmt: skip
    problems = content_problems(review, lab)
    if problems:
        raise CheckError(
            f"{rubric} is not a whole review: {'; '.join(problems)}",
            expected="every criterion judged, by another person",
            fix="fill it in; what does not reach 2 points goes back to its author with the reasons",
        )  # fmt: skip
    return add_proof(_make_document(review), key, created=now)


def submission_digest(folder: Path, submits: Sequence[str]) -> str:
    """sha256 over names and bytes of what is handed in. MissingError for what is not there, InputError for a link."""
    total = hashlib.sha256()
    for path in sorted(path for item in submits for path in _files_of(folder, item)):
        name = path.relative_to(folder).as_posix()
        total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def _files_of(folder: Path, item: str) -> list[Path]:
    root = folder / item
    if not root.exists():
        raise MissingError(f"{root} is not there", expected="what the lab asks for", fix="name the learner's folder")
    paths = [path for path in (root.rglob("*") if root.is_dir() else (root,)) if "__pycache__" not in path.parts]
    link = next((path for path in paths if path.is_symlink()), None)
    if link is not None:
        raise InputError(f"{link} is a link", expected="the file itself", fix="put it there")
    return [path for path in paths if path.is_file()]


def review_problems(document: JsonObject, catalog: Catalog) -> list[str]:
    """What is wrong with a signed review, in words."""
    try:
        review = read_review(document)
    except IntegrityError as error:
        return [str(error)]
    lab = next((lab for lab in catalog.labs if lab.id == review.lab), None)
    return content_problems(review, lab)


def read_review(document: JsonObject) -> Review:
    """What a review says, whose signature fits. IntegrityError for a changed one, or one of another kind."""
    signer = _did(check_proof(document).public_bytes_raw())
    try:
        if not set(TYPES) <= set(document["type"]) or document["@context"][0] != CONTEXTS[0]:
            raise KeyError("type")
        subject = document["credentialSubject"]
        lab, _, lab_digest = str(subject["lab"]).removeprefix(LAB_NAME).partition(":sha256:")
        judgments = tuple(
            Judgment(str(each["resultDescription"]), int(each["value"]), str(each["comment"]))
            for each in subject["result"]
        )
        review = Review(
            lab, lab_digest, str(subject["id"]).removeprefix(SUBMISSION_NAME), str(subject["author"]["name"]),
            str(subject["author"]["id"]), str(document["issuer"]["name"]), str(document["issuer"]["id"]),
            str(document["validFrom"]), judgments,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise IntegrityError(
            f"it is no review of this learning path: {error}", expected="a rubric that a reviewer has signed",
            fix="take the JSON that deepseek learn certify --rubric has written",
        ) from error  # fmt: skip
    if review.reviewer_did != signer:
        raise IntegrityError(
            "the review names a reviewer who has not signed it", expected="the review as it was signed",
            fix="ask the reviewer for it",
        )  # fmt: skip
    return review


def content_problems(review: Review, lab: Lab | None) -> list[str]:
    """What is wrong with what a review says. `lab`: None where this version has no such lab."""
    problems = []
    if same_person(review.reviewer, review.author) or review.reviewer_did == review.author_did:
        problems.append(f"{review.reviewer or 'nobody'} has reviewed work of their own: another person has to")
    if not review.author or not review.reviewer:
        problems.append("author or reviewer has no name")
    names = [judgment.id for judgment in review.judgments]
    if lab is not None and lab.digest == review.lab_digest:
        wanted = {criterion.id for criterion in lab.table.rubric}
        if lacking := sorted(wanted - set(names)):
            problems.append(f"the rubric is not filled in: {', '.join(lacking)} is missing")
        if unknown := sorted(set(names) - wanted):
            problems.append(f"the rubric has no criterion {', '.join(unknown)}")
    if not names or len(set(names)) < len(names):
        problems.append("a criterion is judged twice, or none is")
    for judgment in review.judgments:
        if not MIN_POINTS <= judgment.points <= MAX_POINTS:
            problems.append(f"{judgment.id} has {judgment.points} points; {MIN_POINTS} to {MAX_POINTS} pass")
        if len(judgment.reason.strip()) < MIN_REASON:
            problems.append(f"{judgment.id} has no reason of {MIN_REASON} characters")
    return problems


def same_person(one: str, other: str) -> bool:
    """
    >>> same_person("Ann  Li", "ann li"), same_person("Ann Li", "Bo Wu")
    (True, False)
    """
    return one.casefold().split() == other.casefold().split()


def _did(public: bytes) -> str:
    return verification_method(public).partition("#")[0]


def _make_document(review: Review) -> JsonObject:
    return {
        "@context": list(CONTEXTS),
        "id": f"urn:uuid:{uuid.uuid4()}",
        "type": list(TYPES),
        "name": f"Review of {review.lab}",
        "issuer": {"id": review.reviewer_did, "type": ["Profile"], "name": review.reviewer},
        "validFrom": review.time,
        "credentialSubject": {
            "id": f"{SUBMISSION_NAME}{review.submission}",
            "type": ["EndorsementSubject"],
            "endorsementComment": f"{review.reviewer} has read what {review.author} made, and judged each criterion.",
            "lab": f"{LAB_NAME}{review.lab}:sha256:{review.lab_digest}",
            "author": {"id": review.author_did, "type": ["Profile"], "name": review.author},
            "result": [
                {
                    "type": ["Result"], "resultDescription": each.id, "value": str(each.points), "comment": each.reason,
                }
                for each in review.judgments
            ],
        },
    }  # fmt: skip
