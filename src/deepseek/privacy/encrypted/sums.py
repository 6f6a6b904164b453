"""Sums of the numbers of several parties by somebody who can read neither the numbers nor the sum (CKKS, by TenSEAL).

    key = CipherContext.generate(SUM_PARAMETERS)            # one secret key, of all parties
    packing = SumPacking(num_parties=10, bound=1.0)
    message = encrypt_numbers(key, numbers, packing)        # each party
    total = add_encrypted(public, [message, ...])           # anybody: public = CipherContext.public(SUM_PARAMETERS, "")
    decrypt_sum(key, total, packing)                        # each party: (B,), within packing.largest_error

Two numbers share a slot: each becomes a whole number of quanta, small enough that the sum over all parties stays within
a field of FIELD_BITS bits, and the slot carries high * 2^FIELD_BITS + low. CKKS is exact to a few units here, which are
quanta of the low number. So a ciphertext of 2,048 slots carries 4,096 numbers.

Whoever has the key reads every message: it must be the parties' alone, and no party may work with who adds. TenSEAL has
no threshold key, which would need all parties to read a sum. The masks of privacy/sums need no such trust.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import safetensors.numpy

from deepseek.contracts import Float64
from deepseek.errors import CheckError, InputError
from deepseek.privacy.encrypted.ckks import CipherContext, CkksParameters
from deepseek.privacy.rounds.state import read_arrays

#: One prime of 54 bits carries the slots, and SEAL's special one; 108 bits at degree 4096 are within 128 bits' table.
SUM_PARAMETERS = CkksParameters(4096, (54, 54), scale_bits=11, purpose="sums")
FIELD_BITS = 21
HALF_FIELD = 1 << (FIELD_BITS - 1)
#: Units by which a decrypted slot may be off: 11 standard deviations at this scale, of MOST_PARTIES ciphertexts.
MOST_UNITS_OFF = 8
MOST_PARTIES = 100
MAX_NUMBERS = 1 << 26


@dataclass(frozen=True, slots=True)
class SumPacking:
    """How numbers become slots: all parties must have the same."""

    num_parties: int  # at most so many are added
    bound: float  # largest absolute number; what lies beyond is clipped

    def __post_init__(self) -> None:
        if not 2 <= self.num_parties <= MOST_PARTIES or not 0 < self.bound < math.inf:
            raise InputError(
                f"a sum of {self.num_parties} parties of numbers within {self.bound}",
                expected=f"2 to {MOST_PARTIES} parties and a bound above 0", fix="give such numbers",
            )  # fmt: skip

    @property
    def num_quanta(self) -> int:
        """The whole number that `bound` becomes."""
        return (HALF_FIELD - MOST_UNITS_OFF) // self.num_parties

    @property
    def largest_error(self) -> float:
        """Of the sum, from rounding each party's number and from CKKS."""
        return (self.num_parties / 2 + MOST_UNITS_OFF) * self.bound / self.num_quanta

    def pack(self, numbers: Float64) -> Float64:
        """Slots ((B + 1) // 2,) of numbers (B,). InputError for numbers that are not finite."""
        if not np.isfinite(numbers).all():
            raise InputError("there are numbers that are not finite", expected="finite numbers", fix="leave them out")
        quanta = np.rint(np.clip(numbers / self.bound, -1, 1) * self.num_quanta)
        even = np.append(quanta, 0.0) if len(quanta) % 2 else quanta
        return np.asarray(even[0::2] * 2.0**FIELD_BITS + even[1::2], np.float64)

    def unpack(self, slots: Float64, num: int) -> Float64:
        """The sums (num,) of what pack() gave, from summed slots. CheckError for slots that no such sum can be."""
        units = np.rint(slots)
        low = np.mod(units + HALF_FIELD, 1 << FIELD_BITS) - HALF_FIELD
        high = (units - low) / 2.0**FIELD_BITS
        most = self.num_parties * self.num_quanta + MOST_UNITS_OFF
        if max(np.abs(high).max(initial=0), np.abs(low).max(initial=0)) > most:
            raise CheckError(
                "the decrypted numbers are no sum of so many parties",
                expected=f"the sum of at most {self.num_parties} messages by this key and this packing",
                fix="check that all have the same key, number of parties and bound, and that none was added twice",
            )
        sums = np.stack([high, low], axis=1).ravel()[:num]
        return np.asarray(sums * (self.bound / self.num_quanta), np.float64)


@dataclass(frozen=True, slots=True)
class EncryptedNumbers:
    """One party's numbers, or a sum of several parties'."""

    key_id: str
    num: int
    num_added: int  # parties
    ciphertexts: tuple[bytes, ...]

    def to_bytes(self) -> bytes:
        """As safetensors."""
        head = np.array([self.num, self.num_added], np.int64)
        arrays = {f"part_{place}": np.frombuffer(each, np.uint8) for place, each in enumerate(self.ciphertexts)}
        key_id = np.frombuffer(bytes.fromhex(self.key_id), np.uint8)
        return safetensors.numpy.save({"head": head, "key_id": key_id, **arrays})

    @classmethod
    def from_bytes(cls, data: bytes) -> EncryptedNumbers:
        """The inverse. IntegrityError for bytes that were cut, CheckError for others."""
        arrays = dict(read_arrays(data))
        head, key_id = arrays.pop("head", None), arrays.pop("key_id", None)
        names = [f"part_{place}" for place in range(len(arrays))]
        if (
            head is None
            or key_id is None
            or head.shape != (2,)
            or head.dtype != np.int64
            or arrays.keys() != set(names)
        ):
            raise _foreign_message_error()
        num, num_added = head.tolist()
        slots = SUM_PARAMETERS.num_slots
        if not 1 <= num <= MAX_NUMBERS or not num_added >= 1 or len(names) != -(-num // (2 * slots)):
            raise _foreign_message_error()
        return cls(key_id.tobytes().hex(), num, num_added, tuple(arrays[name].tobytes() for name in names))


def encrypt_numbers(key: CipherContext, numbers: Float64, packing: SumPacking) -> EncryptedNumbers:
    """A party's numbers (B,), as only who has the key can read them."""
    packed, step = packing.pack(numbers), key.parameters.num_slots
    parts = [packed[start : start + step] for start in range(0, len(packed), step)]
    return EncryptedNumbers(key.key_id, len(numbers), 1, tuple(key.encrypt(part) for part in parts))


def add_encrypted(context: CipherContext, messages: Sequence[EncryptedNumbers]) -> EncryptedNumbers:
    """The sum of messages, without the key. CheckError for messages by several keys, of several lengths, or damaged."""
    first = messages[0]
    if any((each.key_id, each.num) != (first.key_id, first.num) for each in messages):
        raise CheckError(
            "the messages are by several keys or of several lengths", expected="one key and one length for all parties",
            fix="leave out the party that has another",
        )  # fmt: skip
    num_slots = -(-first.num // 2)
    step = context.parameters.num_slots
    totals = []
    for place, parts in enumerate(zip(*(each.ciphertexts for each in messages), strict=True)):
        totals.append(context.add(parts, min(step, num_slots - place * step)))
    return EncryptedNumbers(first.key_id, first.num, sum(each.num_added for each in messages), tuple(totals))


def decrypt_sum(key: CipherContext, total: EncryptedNumbers, packing: SumPacking) -> Float64:
    """The sums (B,) of a message that add_encrypted() gave. CheckError for one by another key, of more parties than the
    packing carries, or damaged."""
    if total.key_id != key.key_id or total.num_added > packing.num_parties:
        raise CheckError(
            f"the sum is of {total.num_added} parties under the key {total.key_id[:16]}...",
            expected=f"at most {packing.num_parties} parties under {key.key_id[:16]}...",
            fix="ask who added for the sum of this study",
        )
    num_slots, step = -(-total.num // 2), key.parameters.num_slots
    parts = [key.decrypt(part, min(step, num_slots - place * step)) for place, part in enumerate(total.ciphertexts)]
    return packing.unpack(np.concatenate(parts), total.num)


def _foreign_message_error() -> CheckError:
    return CheckError(
        "the message holds no encrypted numbers", expected="the bytes that a party encrypted, or a sum of them",
        fix="ask the party to send them again",
    )  # fmt: skip
