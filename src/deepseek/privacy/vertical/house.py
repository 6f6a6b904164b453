"""What both houses of a vertical study are: rows, keys, weights, and the memory of how far they are.

sessions.py has what each of them sends.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.errors import InputError
from deepseek.privacy.bundles.transcript import RoundRecord, Transcript
from deepseek.privacy.encrypted.cross_products import ProductKey, ProductLayout, PublicProductKey, multiply, unmask_sums
from deepseek.privacy.study.definition import Party, Study
from deepseek.privacy.study.refusals import OtherStudyError
from deepseek.privacy.study.vertical import (
    HouseRole,
    check_enough_rows,
    num_half_inputs,
    other_role,
    party_of,
    vertical_columns,
)
from deepseek.privacy.vertical.envelope import (
    Arrays,
    Envelope,
    HouseSigner,
    numbers_of,
    one_part,
    parts_of_arrays,
    parts_to_arrays,
)
from deepseek.privacy.vertical.houses import HouseRows, HouseScaling, RowSplit, split_rows
from deepseek.privacy.vertical.intersection import SetIntersection
from deepseek.privacy.vertical.learning import HouseLearner, HouseWeights
from deepseek.privacy.vertical.memory import HouseMemory, MemoryFile


def steps_of(study: Study, *, intersects: bool) -> tuple[str, ...]:
    """In order."""
    first = ("ids", "keys") if intersects else ("keys",)
    rounds = (f"{number}/{step}" for number in range(1, study.settings.rounds.num_rounds + 1)
              for step in ("errors", "sums"))  # fmt: skip
    return (*first, *rounds, "scores")


def kind_of(step: str) -> str:
    """Of a step of a round, what it is; of another its name."""
    return step.partition("/")[2] or step


@dataclass
class House:
    """One side, from where its memory says it is."""

    study: Study
    role: HouseRole
    rows: HouseRows  # all that it has, sorted by id
    signer: HouseSigner
    file: MemoryFile
    intersects: bool = True  # False in a simulation, whose houses have one table

    def __post_init__(self) -> None:
        digest = rows_digest(self.rows)
        memory = self.file.read()
        self.intersects &= vertical_columns(self.study).alignment == "intersection"
        self.steps = steps_of(self.study, intersects=self.intersects)
        if memory is None or (memory.rows_sha256 != digest and memory.step <= self.steps.index("keys")):
            secrets = SetIntersection.of(self.rows.ids).secrets() if self.intersects else ()
            memory = self.file.write(HouseMemory(digest, ProductKey.generate().to_text(), secrets))
        if memory.rows_sha256 != digest:
            raise InputError(
                f"{self.signer.party.name} comes back with other rows than it began with",
                expected="the same table: the other house has sums over it", fix="give the table of the beginning",
            )  # fmt: skip
        self.memory = memory

    @property
    def is_over(self) -> bool:
        return self.memory.step == len(self.steps)

    def party(self, role: HouseRole) -> Party:
        """Of this study; in a simulation of one without parties, one that is called by its role."""
        return party_of(self.study, role) if self.study.parties else Party(role, "")

    def open(self, role: HouseRole, step: str, data: bytes) -> Envelope:
        """A message of a house. ForeignError where it is not signed by it; a simulation has no signatures."""
        return Envelope.open(self.study, self.party(role), step, data, is_signed=self.signer.key is not None)

    @property
    def step(self) -> str:
        """The step to come. InputError at the end."""
        if self.is_over:
            raise InputError("the study is over", expected="a study that goes on", fix="look at its bundle")
        return self.steps[self.memory.step]

    @cached_property
    def intersection(self) -> SetIntersection:
        return SetIntersection.restore(self.rows.ids, (self.memory.id_secrets[0], self.memory.id_secrets[1]))

    @cached_property
    def key(self) -> ProductKey:
        return ProductKey.from_text(self.memory.key)

    @cached_property
    def other_key(self) -> PublicProductKey:
        return PublicProductKey.read(self.memory.other_key)

    @cached_property
    def shared_rows(self) -> HouseRows:
        """The rows that both have."""
        return self.rows.take(self.memory.places)

    @cached_property
    def split(self) -> RowSplit:
        return split_rows(self.study, len(self.shared_rows))

    @cached_property
    def scaling(self) -> HouseScaling:
        return HouseScaling.of(self.shared_rows.inputs[self.split.training])

    @property
    def shared_target(self) -> NDArray[Any]:
        """Of the shared rows. InputError in the house that does not have it."""
        if self.shared_rows.target is None:
            raise InputError("this house has no target", expected="the house that has it", fix="ask the other house")
        return self.shared_rows.target

    @property
    def target_mean(self) -> float:
        """Over the training rows; 0 in the house without the target."""
        return float(self.shared_target[self.split.training].mean()) if self.role == "labels" else 0.0

    @cached_property
    def learner(self) -> HouseLearner:
        settings, training = self.study.settings, self.split.training
        centered = self.shared_target[training] - self.target_mean if self.role == "labels" else None
        inputs = self.scaling.apply(self.shared_rows.inputs[training])
        return HouseLearner(inputs, centered, settings.model.weight_decay, settings.rounds.server_momentum)

    @property
    def state(self) -> HouseWeights:
        return HouseWeights(self.memory.weights, self.memory.velocity)

    @property
    def transcript(self) -> Transcript:
        return Transcript(self.study.digest, self.memory.records)

    def scores(self, places: NDArray[np.int64]) -> Float64:
        """Partial scores of shared rows by this house's weights."""
        return np.asarray(self.scaling.apply(self.shared_rows.inputs[places]) @ self.memory.weights, np.float64)

    def layout(self, role: HouseRole) -> ProductLayout:
        """Of products with the columns of a house."""
        return ProductLayout(len(self.split.training), num_half_inputs(self.study, role))

    def agreement(self, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """What both houses have alike where they share the same rows: a digest of the ids, bound to the study."""
        text = "\n".join([self.study.digest, *self.rows.take(places).ids])
        return np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)

    def check_agreement(self, arrays: Arrays, places: NDArray[np.int64]) -> None:
        """OtherStudyError unless the other house has the same shared rows; InputError for too few of them."""
        split = split_rows(self.study, len(places))
        theirs = arrays.get("agreement")
        if theirs is None or not np.array_equal(theirs, self.agreement(places)):
            raise OtherStudyError(
                f"the houses do not have the same ids: {len(places)} are here", expected="the same on both sides",
                fix="make both tables of the same people, or a study without --same-ids",
            )  # fmt: skip
        check_enough_rows(self.study, len(split.training))

    def forget_secrets(self) -> None:
        """After the end of the study: nobody needs the keys any more."""
        self.memory = self.file.write(replace(self.memory, key="", id_secrets=(), other_key=b""))

    def first_weights(self) -> HouseMemory:
        width = num_half_inputs(self.study, self.role)
        return replace(self.memory, weights=np.zeros(width), velocity=np.zeros(width))

    def own_products(self, encrypted: tuple[bytes, ...]) -> tuple[dict[str, NDArray[np.uint8]], Float64]:
        """This house's columns times the other's encrypted errors, as they are sent, and the sums of the masks."""
        products = multiply(self.other_key, encrypted, self.learner.inputs, self.layout(self.role))
        return parts_to_arrays("products", products.ciphertexts), products.mask_sums

    def decrypt_other_sums(self, arrays: Arrays) -> Float64:
        return self.key.decrypt_sums(parts_of_arrays(arrays, "products"), self.layout(other_role(self.role)))

    def take_step(self, arrays: Arrays) -> HouseMemory:
        """After the sums for this house have come in."""
        masked = numbers_of(arrays, "sums", num_half_inputs(self.study, self.role))
        after = self.learner.step(self.state, unmask_sums(masked, self.memory.mask_sums))
        return replace(self.memory, weights=after.weights, velocity=after.velocity, mask_sums=np.zeros(0))

    def encrypted_errors(self, memory: HouseMemory) -> dict[str, NDArray[np.uint8]]:
        error = self.learner.error(HouseWeights(memory.weights, memory.velocity))
        return parts_to_arrays("errors", self.key.encrypt(error, self.layout(other_role(self.role))))

    def record(self, envelopes: tuple[Envelope, Envelope]) -> tuple[RoundRecord, ...]:
        """The transcript with one more step."""
        messages = tuple(envelope.record() for envelope in envelopes)
        names = (self.party("labels").name, self.party("columns").name)
        kind = kind_of(envelopes[0].step)  # before they have agreed, each would name other rows
        shared = "" if kind == "ids" else hashlib.sha256(self.agreement(self.memory.places).tobytes()).hexdigest()
        record = RoundRecord(self.memory.step, kind, 0, names, (), messages, shared, self.transcript.last_digest)
        return (*self.memory.records, record)

    def shared_places(self, arrays: Arrays) -> NDArray[np.int64]:
        """Which of this house's rows the other has: by its answer to the intersection, or all of them."""
        if not self.intersects:
            return np.arange(len(self.rows))
        places = self.intersection.shared_places(one_part(arrays, "setup"), one_part(arrays, "response"))
        return np.array(places, np.int64)


def rows_digest(rows: HouseRows) -> str:
    """Of all that a house's table says."""
    digest = hashlib.sha256("\n".join(rows.ids).encode())
    digest.update(rows.inputs.tobytes())
    if rows.target is not None:
        digest.update(rows.target.tobytes())
    return digest.hexdigest()
