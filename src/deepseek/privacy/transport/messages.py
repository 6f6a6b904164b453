"""What goes over the wire, and how it is signed.

Every request has a signature by the party's Ed25519 key over method, path, study, time and body: TLS says who connects,
the signature who speaks, and the transcript can be checked afterwards by anyone who has the study. Numbers are
safetensors, the rest is JSON; nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy

from deepseek.bundle.fields import parse_json_object
from deepseek.bundle.manifest import canonical_json
from deepseek.bundle.sign import public_key_from_hex
from deepseek.contracts import JsonObject
from deepseek.errors import CheckError, MalformedError
from deepseek.extras import need
from deepseek.privacy.rounds.answer import Answer
from deepseek.privacy.rounds.state import read_arrays
from deepseek.privacy.study.definition import Party, Study
from deepseek.privacy.study.refusals import ClockError, ForeignError, OtherStudyError
from deepseek.privacy.sums.field import Field
from deepseek.privacy.sums.masks import KEY_BYTES
from deepseek.privacy.sums.protocol import PublicKeys, RevealedShares

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PARTY, STUDY, TIME, SIGNATURE = "x-federate-party", "x-federate-study", "x-federate-time", "x-federate-signature"
MOST_CLOCK_DIFFERENCE_S = 300.0
PLAIN_STEPS, SECURE_STEPS = ("answer",), ("keys", "shares", "masked", "unmask")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A step of an attempt at a task."""

    task: int
    attempt: int
    step: str

    @property
    def path(self) -> str:
        return f"{self.task}/{self.attempt}/{self.step}"

    @property
    def round_id(self) -> str:
        """What keys and masks of this attempt are bound to."""
        return f"{self.task}/{self.attempt}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """The inverse of `path`. MalformedError for another text."""
        parts = text.split("/")
        if len(parts) != 3 or not all(part.isdecimal() and len(part) < 10 for part in parts[:2]):
            raise MalformedError(
                f"{text[:80]!r} is no step of a round", expected="TASK/ATTEMPT/STEP", fix="write it so"
            )
        return cls(int(parts[0]), int(parts[1]), parts[2])


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A body with what its party signed."""

    party: str
    time_ms: int
    signature: str
    body: bytes


def message_path(place: Place) -> str:
    """Where a message of a step is posted."""
    return f"/v1/messages/{place.path}"


def _signed_bytes(method: str, path: str, study: str, time_ms: int, body: bytes) -> bytes:
    return f"{method}\n{path}\n{study}\n{time_ms}\n{hashlib.sha256(body).hexdigest()}".encode()


def sign_request(
    key: Ed25519PrivateKey, party: str, study: Study, method: str, path: str, body: bytes = b""
) -> dict[str, str]:
    """The headers of a request."""
    time_ms = round(time.time() * 1000)
    signature = key.sign(_signed_bytes(method, path, study.digest, time_ms, body)).hex()
    return {PARTY: party, STUDY: study.digest, TIME: str(time_ms), SIGNATURE: signature}


def check_request(study: Study, headers: Mapping[str, str], method: str, path: str, body: bytes) -> SignedMessage:
    """Who sent a request. OtherStudyError, ForeignError or ClockError for one that is refused."""
    digest, name = headers.get(STUDY, ""), headers.get(PARTY, "")
    if digest != study.digest:
        raise OtherStudyError(
            f"the party holds the study {digest[:16] or 'none'}...",
            expected=f"{study.digest[:16]}..., which all parties have signed",
            fix="copy the study of the coordinator, read it and sign it",
        )
    party = next((each for each in study.parties if each.name == name), None)
    text = headers.get(TIME, "")
    if party is None or not text.isdecimal() or len(text) > 15:
        raise ForeignError(
            "the request names no party of the study", expected="a party that study.json names", fix="use its key"
        )
    message = SignedMessage(name, int(text), headers.get(SIGNATURE, ""), body)
    check_message(study, party, message, method, path)
    difference_s = message.time_ms / 1000 - time.time()
    if abs(difference_s) > MOST_CLOCK_DIFFERENCE_S:
        raise ClockError(
            f"the clock of {name} is {abs(difference_s):.0f} seconds {'ahead of' if difference_s > 0 else 'behind'} "
            "the coordinator's",
            expected=f"at most {MOST_CLOCK_DIFFERENCE_S:.0f} seconds",
            fix="set the clock of the party, or of the coordinator",
        )
    return message


def check_message(study: Study, party: Party, message: SignedMessage, method: str, path: str) -> None:
    """ForeignError unless the party's key signed this message."""
    invalid = need("cryptography.exceptions", extra="privacy").InvalidSignature
    content = _signed_bytes(method, path, study.digest, message.time_ms, message.body)
    try:
        public_key_from_hex(party.key).verify(bytes.fromhex(message.signature), content)
    except (invalid, ValueError) as error:
        raise ForeignError(
            f"the signature of a message of {party.name} is not by its key",
            expected=f"a signature by the key {party.key[:16]}...",
            fix="use the private key of this party",
        ) from error


def answer_to_bytes(answer: Answer) -> bytes:
    """A party's answer as safetensors: float32 numbers and the weight."""
    arrays = {"vector": answer.vector.astype(np.float32), "weight": np.array([answer.weight])}
    return safetensors.numpy.save(arrays)


def answer_from_bytes(party: str, body: bytes) -> Answer:
    arrays = read_arrays(body)
    vector, weight = arrays.get("vector"), arrays.get("weight")
    if vector is None or weight is None or vector.ndim != 1 or weight.shape != (1,) or vector.dtype != np.float32:
        raise MalformedError("the answer has no vector and weight", expected="float32 numbers", fix="send it again")
    return Answer(party, vector.astype(np.float64), float(weight[0]))


def keys_to_bytes(keys: PublicKeys, weight: float) -> bytes:
    return canonical_json({"sealing": keys.sealing.hex(), "masking": keys.masking.hex(), "weight": weight})


def keys_from_bytes(body: bytes) -> tuple[PublicKeys, float]:
    """Keys and the weight of the party's numbers in the mean."""
    top = _read_object(body, {"sealing", "masking", "weight"})
    weight = top["weight"]
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not math.isfinite(weight) or weight <= 0:
        raise MalformedError("the weight is no number above 0", expected="the number of rows", fix="send it again")
    return PublicKeys(_hex(top["sealing"], KEY_BYTES), _hex(top["masking"], KEY_BYTES)), float(weight)


def masked_to_bytes(masked: Field) -> bytes:
    return safetensors.numpy.save({"numbers": masked})


def masked_from_bytes(party: str, body: bytes, size: int) -> Field:
    numbers = read_arrays(body).get("numbers")
    if numbers is None or numbers.dtype != np.uint32 or numbers.shape != (size,):
        raise CheckError(
            f"{party} sent masked numbers of another size or kind", expected=f"{size} whole numbers of 32 bits",
            fix="check that the party has the study's own version",
        )  # fmt: skip
    return numbers


def shares_to_bytes(sealed: Mapping[str, bytes]) -> bytes:
    return canonical_json({name: share.hex() for name, share in sealed.items()})


def shares_from_bytes(body: bytes) -> dict[str, bytes]:
    return {name: _hex(share) for name, share in parse_json_object(body, "the shares").items()}


def revealed_to_bytes(revealed: RevealedShares) -> bytes:
    return canonical_json(
        {
            "seeds": {name: share.hex() for name, share in revealed.seeds.items()},
            "mask_keys": {name: share.hex() for name, share in revealed.mask_keys.items()},
        }
    )


def revealed_from_bytes(body: bytes) -> RevealedShares:
    top = _read_object(body, {"seeds", "mask_keys"})
    for name in ("seeds", "mask_keys"):
        if not isinstance(top[name], dict):
            raise MalformedError(f"{name} is no object", expected="shares by party", fix="send it again")
    seeds = {name: _hex(share) for name, share in top["seeds"].items()}
    return RevealedShares(seeds, {name: _hex(share) for name, share in top["mask_keys"].items()})


def _read_object(body: bytes, names: set[str]) -> JsonObject:
    top = parse_json_object(body, "the message")
    if top.keys() != names:
        raise MalformedError("the message has other fields", expected=", ".join(sorted(names)), fix="send it again")
    return top


def _hex(value: Any, num_bytes: int | None = None) -> bytes:
    try:
        data = bytes.fromhex(value)
    except (ValueError, TypeError) as error:
        raise MalformedError("a value is not hexadecimal", expected="hexadecimal", fix="send it again") from error
    if num_bytes is not None and len(data) != num_bytes:
        raise MalformedError(f"a key has {len(data)} bytes", expected=str(num_bytes), fix="send it again")
    return data
