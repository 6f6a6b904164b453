"""A certificate is verified anywhere; one changed byte, another key, a level that was not passed: refused by name."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.bundle.sign import generate_keys
from deepseek.contracts import JsonObject
from deepseek.errors import CheckError, ExtraError, InputError, IntegrityError
from deepseek.learn.certificates.issue import issue
from deepseek.learn.certificates.proof import (
    add_proof,
    canonical_bytes,
    check_proof,
    decode_base58,
    encode_base58,
    hash_data,
    key_of_method,
)
from deepseek.learn.certificates.verify import is_certificate, verify_certificate
from deepseek.learn.grading.records import CheckResult, Grade
from deepseek.learn.learner.progress import Progress
from deepseek.learn.verbs import LearningPath
from deepseek.look.words import Text

#: Appendix B.2 of Data Integrity EdDSA Cryptosuites v1.0 (W3C Recommendation, 2025).
VECTOR: JsonObject = {
    "@context": ["https://www.w3.org/ns/credentials/v2", "https://www.w3.org/ns/credentials/examples/v2"],
    "id": "urn:uuid:58172aac-d8ba-11ed-83dd-0b3aef56cc33",
    "type": ["VerifiableCredential", "AlumniCredential"],
    "name": "Alumni Credential",
    "description": "A minimum viable example of an Alumni Credential.",
    "issuer": "https://vc.example/issuers/5678",
    "validFrom": "2023-01-01T00:00:00Z",
    "credentialSubject": {"id": "did:example:abcdefgh", "alumniOf": "The School of Examples"},
}
VECTOR_HASH = "59b7cb6251b8991add1ce0bc83107e3db9dbbab5bd2c28f687db1a03abc92f19"
VECTOR_KEY = "z6MkrJVnaZkeFzdQyMZu1cgjg7k1pZZ6pvBQ7XJPt4swbTQ2"
VECTOR_PROOF = {
    "type": "DataIntegrityProof", "cryptosuite": "eddsa-jcs-2022", "created": "2023-02-24T23:36:38Z",
    "verificationMethod": f"https://vc.example/issuers/5678#{VECTOR_KEY}", "proofPurpose": "assertionMethod",
    "@context": VECTOR["@context"],
}  # fmt: skip
VECTOR_VALUE = "z63t83Y53KfzJ5ZosfKTnqfMcKB2dmTrfjSaQjeNNjAD5srBowQfmWqeRb8rRjmeEuCBEsddF9LsVogtuTsijJKh4"


@pytest.fixture
def passed_path(learning_path: LearningPath) -> LearningPath:
    """A path whose lab was passed."""
    (lab,) = learning_path.catalog.labs
    check = CheckResult("answer", Text("a", "啊"), 100, True, None, "", 1, 0.1)
    with Progress.open(learning_path.place) as progress:
        progress.record(Grade(lab.id, lab.digest, (check,), 80))
    return learning_path


@pytest.fixture
def certificate(passed_path: LearningPath, tmp_path: Path) -> Path:
    generate_keys(tmp_path / "school")
    issue(passed_path, "expert", "Ann Li", tmp_path / "school", tmp_path / "ann.json", "Example School")
    return tmp_path / "ann.json"


def test_the_signature_of_the_recommendation_fits() -> None:
    """Computed by others: their document, their key, their signature."""
    data = hash_data(VECTOR, VECTOR_PROOF)
    assert data[32:].hex() == VECTOR_HASH
    key_of_method(f"did:key:{VECTOR_KEY}#{VECTOR_KEY}").verify(decode_base58(VECTOR_VALUE, 64), data)


def test_a_certificate_is_verified_with_and_without_the_key(certificate: Path, passed_path: LearningPath) -> None:
    catalog = passed_path.catalog
    assert is_certificate(certificate)
    assert verify_certificate(certificate, catalog=catalog).signature == "not checked"
    report = verify_certificate(certificate, key=certificate.with_name("school.pub"), catalog=catalog)
    assert (report.problems, report.signature) == ((), "good")
    page = certificate.with_suffix(".html").read_text("utf-8")
    assert "Ann Li has passed" in page
    assert "Ann Li 已通过" in page


def test_an_install_that_cannot_read_keys_blames_no_certificate(
    certificate: Path, passed_path: LearningPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)  # not to be imported
    with pytest.raises(ExtraError, match="is not installed"):
        verify_certificate(certificate, catalog=passed_path.catalog)


def test_each_changed_byte_is_noticed(certificate: Path, passed_path: LearningPath) -> None:
    """Of a sample of places; what lies between the values, as a space, is no part of what was signed."""
    content = certificate.read_bytes()
    changed = certificate.with_name("changed.json")
    for place in range(0, len(content), 29):
        if content[place : place + 1].isspace():
            continue
        changed.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert is_certificate(changed) or content[place : place + 1] == b"{"
        assert verify_certificate(changed, catalog=passed_path.catalog).problems, content[place - 20 : place + 20]


def test_another_key_is_refused_by_name(certificate: Path, passed_path: LearningPath, tmp_path: Path) -> None:
    generate_keys(tmp_path / "other")
    report = verify_certificate(certificate, key=tmp_path / "other.pub", catalog=passed_path.catalog)
    assert "is signed by another key" in report.problems[0]


def sign_changed(certificate: Path, change: JsonObject) -> Path:
    """The certificate with other content, signed again by who has the key."""
    document = json.loads(certificate.read_text("utf-8"))
    del document["proof"]
    signed = add_proof(document | change, certificate.with_name("school"), created="2026-01-01T00:00:00Z")
    path = certificate.with_name("again.json")
    path.write_text(json.dumps(signed), encoding="utf-8")
    return path


def test_a_level_that_was_not_passed_is_refused_although_it_is_signed(
    certificate: Path, passed_path: LearningPath
) -> None:
    subject = json.loads(certificate.read_text("utf-8"))["credentialSubject"]
    path = sign_changed(certificate, {"evidence": [], "credentialSubject": subject | {"result": []}})
    (problem,) = verify_certificate(path, catalog=passed_path.catalog).problems
    assert problem == "the level expert was not passed: counting are not among its labs"
    subject["result"][0]["value"] = "40"
    path = sign_changed(certificate, {"credentialSubject": subject})
    (problem,) = verify_certificate(path, catalog=passed_path.catalog).problems
    assert problem == "the level expert was not passed: counting has too few points"


def test_an_issuer_who_has_not_signed_and_a_date_to_come_are_refused(
    certificate: Path, passed_path: LearningPath
) -> None:
    path = sign_changed(certificate, {"issuer": {"id": "did:key:z6Mk", "type": ["Profile"]}})
    assert "names an issuer who has not signed it" in verify_certificate(path, catalog=passed_path.catalog).problems[0]
    path = sign_changed(certificate, {"validFrom": "2999-01-01T00:00:00Z"})
    assert "yet to come" in verify_certificate(path, catalog=passed_path.catalog).problems[0]


def test_a_name_that_stands_twice_is_refused(certificate: Path, passed_path: LearningPath) -> None:
    text = certificate.read_text("utf-8")
    certificate.write_text(text.replace('"name":', '"name": "Other", "name":', 1), encoding="utf-8")
    assert "stands twice" in verify_certificate(certificate, catalog=passed_path.catalog).problems[0]


def test_a_level_whose_labs_are_not_passed_gets_no_certificate(learning_path: LearningPath, tmp_path: Path) -> None:
    generate_keys(tmp_path / "school")
    with pytest.raises(CheckError, match=r"the level expert is not passed: 1 of 1 labs are missing: counting"):
        issue(learning_path, "expert", "Ann Li", tmp_path / "school", tmp_path / "ann.json")
    assert not (tmp_path / "ann.json").exists()


def test_a_grading_by_other_checks_gets_no_certificate(learning_path: LearningPath, tmp_path: Path) -> None:
    generate_keys(tmp_path / "school")
    check = CheckResult("answer", Text("a", "啊"), 100, True, None, "", 1, 0.1)
    with Progress.open(learning_path.place) as progress:
        progress.record(Grade("counting", "0" * 64, (check,), 80))
    with pytest.raises(CheckError, match="by other checks"):
        issue(learning_path, "expert", "Ann Li", tmp_path / "school", tmp_path / "ann.json")


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "x" * 121])
def test_a_name_that_is_none_is_refused(passed_path: LearningPath, tmp_path: Path, name: str) -> None:
    generate_keys(tmp_path / "school")
    with pytest.raises(InputError, match="--name is"):
        issue(passed_path, "expert", name, tmp_path / "school", tmp_path / "ann.json")


def test_a_certificate_has_the_form_that_open_badges_ask_for(certificate: Path) -> None:
    """What the specification requires of an AchievementCredential (its B.1 to B.18), written as a schema."""
    texts = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    achievement = {
        "required": ["id", "type", "criteria", "description", "name"],
        "properties": {
            "type": texts,
            "criteria": {"required": ["narrative"]},
            "achievementType": {"const": "Certificate"},
        },
    }
    subject = {
        "required": ["type", "achievement", "identifier"],
        "properties": {
            "achievement": achievement,
            "identifier": {"items": {"required": ["type", "hashed", "identityHash", "identityType"]}},
            "result": {"items": {"required": ["type", "resultDescription", "value"]}},
        },
    }
    schema = {
        "required": ["@context", "id", "type", "name", "issuer", "validFrom", "credentialSubject", "proof"],
        "properties": {
            "@context": {"prefixItems": [
                {"const": "https://www.w3.org/ns/credentials/v2"},
                {"pattern": r"^https://purl\.imsglobal\.org/spec/ob/v3p0/context-3\.\d\.\d\.json$"},
            ], "minItems": 2},
            "type": texts | {"contains": {"const": "OpenBadgeCredential"}},
            "issuer": {"required": ["id", "type"]},
            "credentialSubject": subject,
            "evidence": {"items": {"required": ["type"], "properties": {"type": texts}}},
        },
    }  # fmt: skip
    jsonschema_rs.validate(schema, json.loads(certificate.read_text("utf-8")))


@given(st.binary(min_size=1, max_size=70))
def test_base58_is_read_as_it_was_written(data: bytes) -> None:
    assert decode_base58(encode_base58(data), len(data)) == data


@pytest.mark.parametrize("value", [1.5, 2**53, {"é": 1}, "\ud800"])
def test_what_python_writes_otherwise_than_the_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(IntegrityError):
        canonical_bytes({"a": value})


@pytest.mark.parametrize("proof", [None, {}, {"cryptosuite": "eddsa-rdfc-2022"}])
def test_a_document_without_a_proof_of_this_kind_is_refused(proof: object) -> None:
    with pytest.raises(IntegrityError, match="has no proof of the kind eddsa-jcs-2022"):
        check_proof({"name": "a", "proof": proof})
