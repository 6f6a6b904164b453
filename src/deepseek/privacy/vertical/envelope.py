"""What crosses between two houses: named arrays, in an envelope that its house signed.

    {"time_ms": ..., "signature": ...}\\n<safetensors>

The signature is over the step, the study, the time and the arrays, so that the transcript of each house can be checked
by anyone who has the study. In a simulation nobody signs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from deepseek.bundle.fields import parse_json_object
from deepseek.contracts import Float64
from deepseek.errors import CheckError, MalformedError
from deepseek.privacy.bundles.transcript import MessageRecord
from deepseek.privacy.rounds.state import read_arrays
from deepseek.privacy.study.definition import Party, Study
from deepseek.privacy.study.vertical import HouseRole, party_of
from deepseek.privacy.transport.messages import SIGNATURE, TIME, SignedMessage, check_message, sign_request

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

METHOD = "VERTICAL"
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class HouseSigner:
    """Puts arrays of one house into envelopes."""

    study: Study
    party: Party
    key: Ed25519PrivateKey | None  # None in a simulation

    @classmethod
    def for_simulation(cls, study: Study, role: HouseRole) -> HouseSigner:
        """Of a house in a simulation, where nobody signs."""
        return cls(study, party_of(study, role) if study.parties else Party(role, ""), None)

    def seal(self, step: str, arrays: Arrays) -> bytes:
        body = safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        time_ms, signature = 0, ""
        if self.key is not None:
            headers = sign_request(self.key, self.party.name, self.study, METHOD, step, body)
            time_ms, signature = int(headers[TIME]), headers[SIGNATURE]
        return json.dumps({"time_ms": time_ms, "signature": signature}).encode() + b"\n" + body


@dataclass(frozen=True, slots=True)
class Envelope:
    """An envelope that was opened."""

    message: SignedMessage
    step: str

    @classmethod
    def open(cls, study: Study, party: Party, step: str, data: bytes, *, is_signed: bool = True) -> Envelope:
        """ForeignError for a signature that is not the party's, IntegrityError for bytes that are no envelope."""
        head, _, body = data.partition(b"\n")
        top = parse_json_object(head, "the envelope")
        time_ms, signature = top.get("time_ms"), top.get("signature")
        if not isinstance(time_ms, int) or not isinstance(signature, str):
            raise MalformedError("the envelope names no time and signature", expected="both", fix="send it again")
        message = SignedMessage(party.name, time_ms, signature, body)
        if is_signed:
            check_message(study, party, message, METHOD, step)
        return cls(message, step)

    def arrays(self) -> Arrays:
        return read_arrays(self.message.body)

    def record(self) -> MessageRecord:
        """What the transcript says of it."""
        message = self.message
        digest = hashlib.sha256(message.body).hexdigest()
        return MessageRecord(message.party, self.step, len(message.body), digest, message.signature, message.time_ms)


def parts_to_arrays(name: str, parts: Sequence[bytes]) -> dict[str, NDArray[Any]]:
    """Bytes, numbered: NAME.0, NAME.1, ..."""
    return {f"{name}.{place}": np.frombuffer(part, np.uint8) for place, part in enumerate(parts)}


def parts_of_arrays(arrays: Arrays, name: str) -> tuple[bytes, ...]:
    """The inverse."""
    parts: list[bytes] = []
    while (array := arrays.get(f"{name}.{len(parts)}")) is not None:
        parts.append(bytes_of(array))
    return tuple(parts)


def one_part(arrays: Arrays, name: str) -> bytes:
    """The bytes NAME.0. MalformedError where they are not there."""
    parts = parts_of_arrays(arrays, name)
    if len(parts) != 1:
        raise MalformedError(f"the message has no {name}", expected="what the step asks for", fix="send it again")
    return parts[0]


def bytes_of(array: NDArray[Any]) -> bytes:
    if array.dtype != np.uint8 or array.ndim != 1:
        raise MalformedError("a part of the message is no bytes", expected="bytes", fix="send it again")
    return array.tobytes()


def numbers_of(arrays: Arrays, name: str, size: int) -> Float64:
    """Finite numbers (size,). CheckError for others: NaN would spread into every weight without a word."""
    numbers = arrays.get(name)
    if numbers is None or numbers.dtype != np.float64 or numbers.shape != (size,) or not np.isfinite(numbers).all():
        raise CheckError(
            f"the other house sent {name} that are not {size} finite numbers",
            expected=f"{size} finite numbers", fix="check that both hold the same study, and look for extreme values",
        )  # fmt: skip
    return numbers
