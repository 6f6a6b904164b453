"""Both sides of a vertical study, step by step, without a network.

    step        the house without the target sends          the house with it replies
    ids         its ids under a secret exponent              those and its own under its exponent, its own request
    keys        the answer to that, a public key             a public key
    R/errors    its scores, encrypted by its key             its errors, encrypted by its key; its columns times the
                                                             scores, under masks
    R/sums      those sums decrypted, masks and all; its     the sums of these, masks and all
                columns times the errors, under masks
    scores      partial scores of the rows held back         figures

After R/sums each house has, of its own columns, the sums over all rows of their products with the other's error, and
takes its step (learning.py). Of single rows nothing crosses but the partial scores of those held back, once, by the
final weights; who is asked for an answer later sends the same of the rows in question.

A step that was answered is answered alike when it comes again, so that either house may be killed and come back.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deepseek.privacy.encrypted.cross_products import PublicProductKey
from deepseek.privacy.study.refusals import LateError, ReplayError
from deepseek.privacy.vertical.envelope import Arrays, numbers_of, one_part, parts_of_arrays, parts_to_arrays
from deepseek.privacy.vertical.house import House, kind_of
from deepseek.privacy.vertical.houses import split_rows
from deepseek.privacy.vertical.memory import HouseMemory


class LabelHouse(House):
    """The house with the target: it replies."""

    def reply(self, step: str, data: bytes) -> bytes:
        """To the message of a step. LateError or ReplayError for one of another step, and what is wrong with its
        content by name; then all is as it was."""
        digest = hashlib.sha256(data).hexdigest()
        memory = self.memory
        place = self.steps.index(step) if step in self.steps else -2
        if place == memory.step - 1 and digest == memory.asked_sha256:
            return memory.message
        if place == memory.step - 1 and step != "ids":
            raise ReplayError(
                f"the other house has sent another message for the step {step}", expected="one message a step",
                fix="nothing: the first one counts",
            )  # fmt: skip
        if place < 0 or (place != memory.step and step != "ids"):
            raise LateError(
                f"the message is for the step {step}, and the study is at {'its end' if self.is_over else self.step}",
                expected="a message for the step that is to come", fix="go on from what the house remembers",
            )  # fmt: skip
        if step == "ids" and memory.step > 1:
            raise LateError("the ids are agreed on", expected="the next step", fix="go on from there")
        envelope = self.open("columns", step, data)
        after, arrays = self._answer(step, envelope.arrays())
        sealed = self.signer.seal(step, arrays)
        own = self.open("labels", step, sealed)
        self.memory = replace(self.memory, step=place, places=after.places, records=after.records)
        self.memory = self.file.write(
            replace(after, step=place + 1, message=sealed, asked_sha256=digest, records=self.record((envelope, own)))
        )
        return sealed

    def _answer(self, step: str, arrays: Arrays) -> tuple[HouseMemory, dict[str, NDArray[np.generic]]]:
        memory, kind = self.memory, kind_of(step)
        if kind == "ids":
            setup, response = self.intersection.respond(one_part(arrays, "request"))
            parts = {"setup": setup, "response": response, "request": self.intersection.request()}
            return replace(memory, records=()), _bytes_arrays(parts)
        if kind == "keys":
            return self._agree(arrays)
        if kind == "errors":
            products, mask_sums = self.own_products(parts_of_arrays(arrays, "errors"))
            return replace(memory, mask_sums=mask_sums), {**self.encrypted_errors(memory), **products}
        if kind == "sums":
            after = self.take_step(arrays)
            return after, {"sums": self.decrypt_other_sums(arrays)}
        scores = numbers_of(arrays, "scores", len(self.split.held_rows))
        return replace(memory, other_scores=scores), {"thanks": np.zeros(1, np.uint8)}

    def _agree(self, arrays: Arrays) -> tuple[HouseMemory, dict[str, NDArray[np.generic]]]:
        places = self.shared_places(arrays)
        self.check_agreement(arrays, places)
        other_key = one_part(arrays, "key")
        PublicProductKey.read(other_key)
        after = replace(self.first_weights(), places=places, other_key=other_key)
        return after, {"agreement": self.agreement(places), **parts_to_arrays("key", [self.key.public_bytes()])}


class ColumnHouse(House):
    """The house with other columns: it asks, step by step."""

    def message(self) -> bytes:
        """Of the step to come; the same one when it is asked for again."""
        if not self.memory.message:
            step, memory = self.step, self.memory
            if step == "ids":
                arrays = _bytes_arrays({"request": self.intersection.request()})
            else:  # "keys", without an intersection before it
                places = np.arange(len(self.rows))
                split_rows(self.study, len(places))
                key = parts_to_arrays("key", [self.key.public_bytes()])
                memory, arrays = replace(memory, places=places), {"agreement": self.agreement(places), **key}
            self.memory = self.file.write(replace(memory, message=self.signer.seal(step, arrays)))
        return self.memory.message

    def accept(self, data: bytes) -> None:
        """The reply to message(): computes and remembers what is sent next. CheckError by name for one that does not
        fit."""
        step = self.step
        reply = self.open("labels", step, data)
        after, arrays = self._follow(step, reply.arrays())
        own = self.open("columns", step, self.memory.message)
        self.memory = replace(self.memory, places=after.places)
        records = self.record((own, reply))
        number = self.memory.step + 1
        message = self.signer.seal(self.steps[number], arrays) if number < len(self.steps) else b""
        self.memory = self.file.write(replace(after, step=number, message=message, records=records))

    def _follow(self, step: str, arrays: Arrays) -> tuple[HouseMemory, dict[str, NDArray[np.generic]]]:
        """What is remembered after a reply, and what is sent in the next step."""
        memory, kind = self.memory, kind_of(step)
        if kind == "ids":
            places = self.shared_places(arrays)
            split_rows(self.study, len(places))
            setup, response = self.intersection.respond(one_part(arrays, "request"))
            parts = {"setup": setup, "response": response, "key": self.key.public_bytes()}
            return replace(memory, places=places), {"agreement": self.agreement(places), **_bytes_arrays(parts)}
        if kind == "keys":
            self.check_agreement(arrays, memory.places)
            other_key = one_part(arrays, "key")
            PublicProductKey.read(other_key)
            after = replace(self.first_weights(), other_key=other_key)
            return after, dict(self.encrypted_errors(after))
        if kind == "errors":
            products, mask_sums = self.own_products(parts_of_arrays(arrays, "errors"))
            return replace(memory, mask_sums=mask_sums), {"sums": self.decrypt_other_sums(arrays), **products}
        if kind == "sums":
            after = self.take_step(arrays)
            if self.steps[memory.step + 1] == "scores":
                held = self.scaling.apply(self.shared_rows.inputs[self.split.held_rows]) @ after.weights
                return after, {"scores": np.asarray(held, np.float64)}
            return after, dict(self.encrypted_errors(after))
        return memory, {}


def _bytes_arrays(parts: dict[str, bytes]) -> dict[str, NDArray[np.generic]]:
    return {name: array for key, part in parts.items() for name, array in parts_to_arrays(key, [part]).items()}
