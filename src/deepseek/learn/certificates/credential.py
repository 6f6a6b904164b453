"""A certificate as an Open Badges 3.0 credential (Verifiable Credentials Data Model 2.0), and what it says.

    document = make_credential(claim, issuer_method)
    read_claim(document).level               # IntegrityError names what is missing

What is signed says which labs the path had (resultDescription), since when (version), and which were passed (evidence,
with the digest of each). Source: Open Badges Specification 3.0 (1EdTech, 2024), B.1 AchievementCredential, B.2
Achievement, B.18 Result, B.8 EndorsementCredential.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deepseek.errors import IntegrityError
from deepseek.learn.definition.catalog import LevelTable
from deepseek.learn.definition.lab import LEVELS, Level
from deepseek.version import __version__

if TYPE_CHECKING:  # contracts brings numpy, which verify does without
    from deepseek.contracts import JsonObject

CONTEXTS = ("https://www.w3.org/ns/credentials/v2", "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.3.json")
TYPES = ("VerifiableCredential", "OpenBadgeCredential")
LEVEL_NAME = "urn:deepseek:learn:level:"
LAB_NAME = "urn:deepseek:learn:lab:"


@dataclass(frozen=True, slots=True)
class PassedLab:
    """One lab that the certificate rests on."""

    lab: str
    score: int
    digest: str  # of the lab, and so of the checks that graded it
    num_hints: int
    time: str


@dataclass(frozen=True, slots=True)
class Claim:
    """What a certificate says."""

    level: Level
    holder: str
    issued: str  # UTC, ISO 8601 with a Z
    labs: tuple[PassedLab, ...]
    path_date: str  # the version of the path: when it became what it was
    path_labs: tuple[str, ...]  # all labs of that path
    issuer_name: str = ""
    reviews: tuple[JsonObject, ...] = ()  # signed rubrics (review.py), of labs that have one


def make_credential(claim: Claim, method: str, level: LevelTable, titles: Mapping[str, str]) -> JsonObject:
    """The credential without its proof. `method`: the did:key of the issuer; `titles`: of each lab."""
    issuer: JsonObject = {"id": method.partition("#")[0], "type": ["Profile"]}
    if claim.issuer_name:
        issuer["name"] = claim.issuer_name
    endorsements: JsonObject = {"endorsement": list(claim.reviews)} if claim.reviews else {}
    return {
        "@context": list(CONTEXTS),
        "id": f"urn:uuid:{uuid.uuid4()}",
        "type": list(TYPES),
        "name": level.title.en,
        "issuer": issuer,
        "validFrom": claim.issued,
        "credentialSubject": {
            "type": ["AchievementSubject"],
            "identifier": [
                {"type": "IdentityObject", "hashed": False, "identityHash": claim.holder, "identityType": "name"}
            ],
            "achievement": {
                "id": f"{LEVEL_NAME}{claim.level}",
                "type": ["Achievement"],
                "achievementType": "Certificate",
                "version": claim.path_date,
                "name": level.title.en,
                "description": level.can.en,
                "criteria": {
                    "narrative": f"Each of the {len(claim.path_labs)} labs that the path has since {claim.path_date} "
                    f"passed: what was made was graded by deepseek "
                    f"{__version__} on inputs that the learner had not seen."
                },
                "resultDescription": [
                    {
                        "id": f"{LAB_NAME}{lab}", "type": ["ResultDescription"], "name": titles[lab],
                        "resultType": "RawScore", "valueMin": "0", "valueMax": "100",
                    }
                    for lab in claim.path_labs
                ],
            },
            "result": [
                {"type": ["Result"], "resultDescription": f"{LAB_NAME}{lab.lab}", "value": str(lab.score)}
                for lab in claim.labs
            ],
        },
        "evidence": [
            {
                "id": f"{LAB_NAME}{lab.lab}:sha256:{lab.digest}", "type": ["Evidence"], "name": lab.lab,
                "narrative": f"{lab.score} of 100 points at {lab.time}, {lab.num_hints} hints read",
                "genre": "graded artefact",
            }
            for lab in claim.labs
        ],
        **endorsements,
    }  # fmt: skip


def read_claim(document: JsonObject) -> Claim:
    """What a credential says. IntegrityError for one of another kind."""
    try:
        if not set(TYPES) <= set(document["type"]) or document["@context"][0] != CONTEXTS[0]:
            raise KeyError("type")
        subject = document["credentialSubject"]
        name = str(subject["achievement"]["id"])
        level = name.removeprefix(LEVEL_NAME)
        if level not in LEVELS or name == level:
            raise KeyError(name)
        scores = {result["resultDescription"]: int(result["value"]) for result in subject["result"]}
        labs = tuple(_read_lab(each, scores) for each in document["evidence"])
        path = tuple(str(each["id"]).removeprefix(LAB_NAME) for each in subject["achievement"]["resultDescription"])
        return Claim(
            level, str(subject["identifier"][0]["identityHash"]), str(document["validFrom"]), labs,
            str(subject["achievement"]["version"]), path, str(document["issuer"].get("name", "")),
            _read_endorsements(document),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise IntegrityError(
            f"it is no certificate of this learning path: {error}", expected="an Open Badges 3.0 credential of a level",
            fix="take the JSON that deepseek learn certify has written",
        ) from error  # fmt: skip


def _read_endorsements(document: JsonObject) -> tuple[JsonObject, ...]:
    """Signed reviews as they stand there; what they say is read by review.py."""
    reviews = document.get("endorsement", [])
    if not isinstance(reviews, list) or not all(isinstance(review, dict) for review in reviews):
        raise TypeError("endorsement is no list of objects")
    return tuple(reviews)


def _read_lab(evidence: Any, scores: Mapping[str, int]) -> PassedLab:
    name, _, digest = str(evidence["id"]).partition(":sha256:")
    narrative = str(evidence["narrative"])
    time = narrative.partition(" at ")[2].partition(",")[0]
    num_hints = int(narrative.rpartition(", ")[2].split()[0])
    return PassedLab(name.removeprefix(LAB_NAME), scores[name], digest, num_hints, time)
