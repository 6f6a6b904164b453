"""Whether a certificate is what its issuer wrote, who that is, and whether its level was passed.

verify_certificate(Path("ann.json"), key=Path("school-key.pub")).problems
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from deepseek.bundle.report import VerificationReport
from deepseek.bundle.sign import load_public_key
from deepseek.errors import IntegrityError
from deepseek.files import read_bounded
from deepseek.learn.certificates.credential import Claim, read_claim
from deepseek.learn.certificates.proof import check_proof, verification_method
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
        claim = read_claim(document)
    except IntegrityError as error:
        return VerificationReport((f"{path.name}: {error}",))
    problems = []
    raw = signer.public_bytes_raw()
    if public is not None and raw != public.public_bytes_raw():
        wanted = public.public_bytes_raw().hex()[:16]
        problems.append(f"{path.name} is signed by another key, {raw.hex()[:16]}..., and not by {wanted}...")
    if document["issuer"]["id"] != verification_method(raw).partition("#")[0]:
        problems.append(f"{path.name} names an issuer who has not signed it")
    problems += _level_problems(claim, catalog or read_catalog())
    if problems:
        return VerificationReport(tuple(problems))
    return VerificationReport((), hashlib.sha256(content).hexdigest(), "not checked" if key is None else "good", 1)


def claim_of(path: Path) -> Claim:
    """What a certificate says; whether it is true is asked of verify_certificate()."""
    return read_claim(_decode(read_bounded(path, MAX_BYTES, what="a certificate", smaller="take the one issued")))


def graded_by_other_checks(claim: Claim, catalog: Catalog) -> list[str]:
    """The labs whose checks are others here than those that graded them: of another version, or changed."""
    digests = {lab.id: lab.digest for lab in catalog.labs}
    return [each.lab for each in claim.labs if digests.get(each.lab, each.digest) != each.digest]


def _level_problems(claim: Claim, catalog: Catalog) -> list[str]:
    problems = []
    known = {lab.id for lab in catalog.of_level(claim.level)}
    lacking = sorted(known - {each.lab for each in claim.labs})
    if lacking:
        problems.append(f"the level {claim.level} was not passed: {', '.join(lacking)} are not among its labs")
    table = catalog.levels.get(claim.level)
    if table is not None and not lacking and len(claim.labs) < table.num_labs:
        problems.append(
            f"the level {claim.level} was not passed: it has {table.num_labs} labs, and {len(claim.labs)} are named"
        )
    if len({each.lab for each in claim.labs}) < len(claim.labs):
        problems.append("a lab is named twice")
    scores = {lab.id: lab.table.pass_score for lab in catalog.labs}
    low = [each.lab for each in claim.labs if not scores.get(each.lab, 0) <= each.score <= 100]
    if low:
        problems.append(f"the level {claim.level} was not passed: {', '.join(low)} has too few points")
    try:
        issued = datetime.fromisoformat(claim.issued)
        is_future = issued > datetime.now(UTC) + CLOCK
    except (ValueError, TypeError):
        problems.append(f"its date is {claim.issued[:30]!r}, which is none")
    else:
        if is_future:
            problems.append(f"it is dated {claim.issued}, which is yet to come")
    return problems


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
