"""Answers of two houses together: the one with other columns serves its partial scores, the one with the target asks.

    POST /v1/vertical/answers.ids       ids of the asking house, intersected with those of this one's table
    POST /v1/vertical/answers.scores    partial scores of ids that both have

    deepseek federate serve STUDY --key shop --data shop.csv --half shop-half
    deepseek predict bank-half new.csv --with https://shop:8443 --study STUDY --key bank

The house that serves learns which of its people are asked about and how many others are, and of no id that it does not
have. The house that asks learns which of its people the other has, and one number of each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.bundle import open_bundle
from deepseek.bundle.sign import load_private_key
from deepseek.contracts import Float64, Prediction
from deepseek.data import Preprocessor, Table
from deepseek.engines import open_runtime
from deepseek.engines.decide import Decision
from deepseek.errors import CheckError, InputError
from deepseek.privacy.study.definition import Study, StudyFolder
from deepseek.privacy.study.vertical import HouseRole, party_of, vertical_columns
from deepseek.privacy.transport.party import CoordinatorClient, open_client
from deepseek.privacy.vertical.envelope import Arrays, Envelope, HouseSigner, numbers_of, one_part, parts_to_arrays
from deepseek.privacy.vertical.halves import HalfFacts
from deepseek.privacy.vertical.houses import read_ids
from deepseek.privacy.vertical.intersection import SetIntersection

IDS, SCORES = "answers.ids", "answers.scores"
MAX_ID_BYTES = 1 << 26


@dataclass(frozen=True, slots=True)
class ScoredPeople:
    """A house's ids with their partial scores."""

    ids: tuple[str, ...]
    scores: Float64  # (N,)

    @classmethod
    def of(cls, study: Study, role: HouseRole, half: Path, table: Table) -> ScoredPeople:
        """InputError for the half of another study or house, and for a table that does not fit."""
        check_half(study, role, half)
        bundle = open_bundle(half)
        preprocessor = Preprocessor.from_bytes(bundle.read("preprocess.json"))
        known = {column.name for column in preprocessor.columns}
        with open_runtime(half) as runtime:
            values = runtime.predict(table.drop([name for name in table.names if name not in known])).values
        if values is None:
            raise InputError("the half gives no scores", expected="a half of a vertical study", fix="give this house's")
        return cls(read_ids(vertical_columns(study), table), values.astype(np.float64))


def check_half(study: Study, role: HouseRole, half: Path) -> HalfFacts:
    """InputError for the half of another study or house."""
    facts = HalfFacts.read(open_bundle(half))
    if (facts.study, facts.role) != (study.digest, role):
        raise InputError(
            f"{half} is the half of {facts.party}, of the study {facts.study[:16]}...",
            expected=f"the half of {party_of(study, role).name}, of {study.digest[:16]}...",
            fix="give this house's half",
        )  # fmt: skip
    return facts


@dataclass(frozen=True, slots=True)
class AnsweringHouse:
    """The house with other columns, after the study."""

    study: Study
    people: ScoredPeople
    signer: HouseSigner

    def reply(self, step: str, data: bytes) -> bytes:
        """To a message of the house with the target. CheckError for one that does not fit, and for ids of which one is
        not here."""
        arrays = Envelope.open(self.study, party_of(self.study, "labels"), step, data).arrays()
        answers: dict[str, Callable[[Arrays], dict[str, NDArray[Any]]]] = {IDS: self._intersect, SCORES: self._score}
        if step not in answers:
            raise CheckError(
                f"{step[:40]!r} is no question", expected=f"{IDS} or {SCORES}: the study is over here",
                fix="ask by deepseek predict --with",
            )  # fmt: skip
        return self.signer.seal(step, answers[step](arrays))

    def _intersect(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        setup, response = SetIntersection.of(self.people.ids).respond(one_part(arrays, "request"))
        return parts_to_arrays("setup", [setup]) | parts_to_arrays("response", [response])

    def _score(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        wanted = one_part(arrays, "ids")[:MAX_ID_BYTES].decode(errors="replace").split("\n")
        places = {each: place for place, each in enumerate(self.people.ids)}
        missing = sum(each not in places for each in wanted)
        if missing:
            raise CheckError(
                f"{missing} of the {len(wanted)} ids are not with {self.signer.party.name}",
                expected="ids that both houses have", fix="ask for those alone, or make the study with an intersection",
            )  # fmt: skip
        return {"scores": self.people.scores[[places[each] for each in wanted]]}


@dataclass(frozen=True, slots=True)
class JointAsker:
    """The house with the target, after the study."""

    client: CoordinatorClient
    signer: HouseSigner
    half: Path
    facts: HalfFacts

    @classmethod
    def open(cls, url: str, folder: StudyFolder, half: Path, key: Path, patience_s: float = 10.0) -> JointAsker:
        """InputError for a half or a key that is not of the house with the target."""
        study = folder.study
        facts, party = check_half(study, "labels", half), party_of(study, "labels")
        client = open_client(url, folder, key, patience_s, server=party_of(study, "columns"))
        if client.party != party:
            client.close()
            raise InputError(
                f"the key is that of {client.party.name}", expected=f"the key of {party.name}, which has the target",
                fix="the house with other columns serves: deepseek federate serve STUDY --half HALF --data FILE",
            )  # fmt: skip
        return cls(client, HouseSigner(study, party, load_private_key(key)), half, facts)

    def predict(self, table: Table) -> tuple[NDArray[np.int64], Prediction]:
        """The rows (n,) of people that both houses have, and the answers to them. CheckError or DeadlineError for an
        other house that refuses or is gone."""
        study = self.client.folder.study
        own = ScoredPeople.of(study, "labels", self.half, table)
        places = np.arange(len(own.ids))
        if vertical_columns(study).alignment == "intersection":
            intersection = SetIntersection.of(own.ids)
            arrays = self._ask(IDS, parts_to_arrays("request", [intersection.request()]))
            shared = intersection.shared_places(one_part(arrays, "setup"), one_part(arrays, "response"))
            places = np.array(shared, np.int64)
        scores = own.scores[places]
        if len(places):
            text = "\n".join(own.ids[place] for place in places.tolist()).encode()
            arrays = self._ask(SCORES, parts_to_arrays("ids", [text]))
            scores = scores + numbers_of(arrays, "scores", len(places))
        output = self.facts.output(scores).astype(np.float32)
        return places, Decision(self.facts.task, self.facts.labels).apply(output)

    def close(self) -> None:
        self.client.close()

    def _ask(self, step: str, arrays: Arrays) -> Arrays:
        data = self.client.request("POST", f"/v1/vertical/{step}", self.signer.seal(step, arrays))
        study = self.client.folder.study
        return Envelope.open(study, party_of(study, "columns"), step, data).arrays()
