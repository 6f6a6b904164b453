"""Whether a certificate is what its issuer wrote, who that is, and whether its level was passed: by the list of labs
that the path had on the date that the certificate names.

verify_certificate(Path("ann.json"), key=Path("school-key.pub")).problems
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from deepseek.bundle.report import Signature, VerificationReport
from deepseek.bundle.sign import load_public_key
from deepseek.errors import IntegrityError
from deepseek.files import read_bounded
from deepseek.learn.certificates.credential import Claim, read_claim
from deepseek.learn.certificates.proof import check_proof, verification_method
from deepseek.learn.certificates.review import Review, read_review, review_problems, same_person
from deepseek.learn.definition.catalog import Catalog, read_catalog

if TYPE_CHECKING:  # contracts brings numpy, which verify does without
    from deepseek.contracts import JsonObject

MAX_BYTES = 1 << 20
#: Any of them says what a file means to be, so that one changed byte does not hide it.
MARKERS = (b"VerifiableCredential", b"OpenBadgeCredential", b"/credentials/v2", b"/spec/ob/v3p0/")
CLOCK = timedelta(minutes=10)  # that two machines may differ by


def is_certificate(path: Path) -> bool:
    """Whether a file says of itself that it is a credential; False for one that cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    return head.lstrip()[:1] == b"{" and any(marker in head for marker in MARKERS)


def verify_certificate(path: Path, *, key: Path | None = None, catalog: Catalog | None = None) -> VerificationReport:
    """Every problem in words. `key`: the public key that must have signed. MissingError for no file, InputError for a
    key that is none."""
    public = None if key is None else load_public_key(key)
    content = read_bounded(path, MAX_BYTES, what="a certificate", smaller="take the file that was issued")
    try:
        document = _decode(content)
        signer = check_proof(document)
        claim, issuer = _read_any(document), str(document["issuer"]["id"])
    except (KeyError, TypeError) as error:
        return VerificationReport((f"{path.name}: it names no issuer: {error}",))
    except IntegrityError as error:
        return VerificationReport((f"{path.name}: {error}",))
    problems = []
    raw = signer.public_bytes_raw()
    if public is not None and raw != public.public_bytes_raw():
        wanted = public.public_bytes_raw().hex()[:16]
        problems.append(f"{path.name} is signed by another key, {raw.hex()[:16]}..., and not by {wanted}...")
    if issuer != verification_method(raw).partition("#")[0]:
        problems.append(f"{path.name} names an issuer who has not signed it")
    catalog, notes = catalog or read_catalog(), list[str]()
    if isinstance(claim, Review):
        problems += review_problems(document, catalog)
    else:
        problems += _level_problems(claim, catalog)
        notes = _notes(claim, catalog)
    if problems:
        return VerificationReport(tuple(problems))
    signature: Signature = "not checked" if key is None else "good"
    return VerificationReport((), hashlib.sha256(content).hexdigest(), signature, 1, tuple(notes))


def _read_any(document: JsonObject) -> Claim | Review:
    """What a certificate or a review says. IntegrityError for another credential."""
    return read_review(document) if "EndorsementCredential" in str(document.get("type")) else read_claim(document)


def read_credential(path: Path) -> JsonObject:
    """The JSON of a certificate or a review. IntegrityError for what is none."""
    return _decode(read_bounded(path, MAX_BYTES, what="a certificate", smaller="take the one that was issued"))


def claim_of(path: Path) -> Claim | Review:
    """What a certificate or a review says; whether it is true is asked of verify_certificate()."""
    return _read_any(read_credential(path))


def _notes(claim: Claim, catalog: Catalog) -> list[str]:
    """What is true and worth knowing: that the path has grown, and which labs other checks have graded."""
    digests = {lab.id: lab.digest for lab in catalog.labs}
    others = [each.lab for each in claim.labs if digests.get(each.lab, each.digest) != each.digest]
    notes = [f"graded by other checks than those of this version: {', '.join(others)}"] if others else []
    return [note for note in (path_note(claim, catalog), *notes) if note]


def path_note(claim: Claim, catalog: Catalog) -> str:
    """That the path has grown since, in a sentence; "" where it has not."""
    num_now, later = len(catalog.of_level(claim.level)), _later_labs(claim, catalog)
    if not later:
        return ""
    return f"of the path as it was on {claim.path_date}: {len(claim.path_labs)} labs; it has {num_now} now"


def _later_labs(claim: Claim, catalog: Catalog) -> set[str]:
    return {lab.id for lab in catalog.of_level(claim.level)} - set(claim.path_labs)


def _level_problems(claim: Claim, catalog: Catalog) -> list[str]:
    problems = [*_path_problems(claim, catalog), *_review_problems(claim, catalog)]
    names = [each.lab for each in claim.labs]
    if lacking := sorted(set(claim.path_labs) - set(names)):
        problems.append(f"the level {claim.level} was not passed: {', '.join(lacking)} are not among its labs")
    if len(set(names)) < len(names) or len(set(claim.path_labs)) < len(claim.path_labs):
        problems.append("a lab is named twice")
    scores = {lab.id: lab.table.pass_score for lab in catalog.labs}
    low = [each.lab for each in claim.labs if not scores.get(each.lab, 0) <= each.score <= 100]
    if low:
        problems.append(f"the level {claim.level} was not passed: {', '.join(low)} has too few points")
    return problems + _date_problems(claim)


def _path_problems(claim: Claim, catalog: Catalog) -> list[str]:
    """Whether the list of labs is one that the path has had, by the dates on which it has grown."""
    table, dates, num_labs = catalog.levels.get(claim.level), catalog.path_dates(claim.level), 0
    num_labs = len(catalog.of_level(claim.level))
    if table is None or num_labs < table.num_labs:
        return [f"the level {claim.level} is not whole in this version of the path, so that nobody has passed it here"]
    if claim.path_date not in dates:
        when = f"{claim.path_date[:30]!r}"
        if claim.path_date > dates[-1]:
            return [f"it is of the path of {when}, and this version ends at {dates[-1]}: verify it with a later one"]
        return [f"it is of the path of {when}, and there was no such path: it has changed on {', '.join(dates)}"]
    if claim.issued[:10] < claim.path_date:
        return [f"it was issued on {claim.issued[:10]}, before its path of {claim.path_date} was there"]
    wanted = {lab.id for lab in catalog.path_on(claim.level, claim.path_date)}
    if missing := sorted(wanted - set(claim.path_labs)):
        return [f"its list is not that of the path of {claim.path_date}: {', '.join(missing)} is missing"]
    return []


def _review_problems(claim: Claim, catalog: Catalog) -> list[str]:
    """Labs with a rubric, whose review must be there, whole, signed, and of this holder's work."""
    problems: list[str] = []
    reviewed = set()
    digests = {each.lab: each.digest for each in claim.labs}
    for document in claim.reviews:
        if bad := review_problems(document, catalog):
            problems += [f"a review in it: {problem}" for problem in bad]
            continue
        review = read_review(document)
        if not same_person(review.author, claim.holder):
            problems.append(f"the review of {review.lab} is of the work of {review.author}, and not of {claim.holder}")
        elif digests.get(review.lab) != review.lab_digest:
            problems.append(f"the review of {review.lab} is of other checks than those that graded it")
        else:
            reviewed.add(review.lab)
    needed = [lab.id for lab in catalog.of_level(claim.level) if lab.table.rubric and lab.id in claim.path_labs]
    if not problems:
        problems = [f"{lab} has no signed review of another person" for lab in needed if lab not in reviewed]
    return problems


def _date_problems(claim: Claim) -> list[str]:
    try:
        issued = datetime.fromisoformat(claim.issued)
        is_future = issued > datetime.now(UTC) + CLOCK
    except (ValueError, TypeError):
        return [f"its date is {claim.issued[:30]!r}, which is none"]
    return [f"it is dated {claim.issued}, which is yet to come"] if is_future else []


def _decode(content: bytes) -> JsonObject:
    try:
        document = json.loads(content, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"it was cut or changed: {error}", expected="JSON as deepseek learn certify writes it",
            fix="ask the holder or the issuer for the file as it was issued",
        ) from error  # fmt: skip
    if not isinstance(document, dict):
        raise IntegrityError("it is no certificate", expected="a JSON object", fix="take the file that was issued")
    return document


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A name that stands twice could be read in two ways."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a name stands twice in one object")
    return dict(pairs)
