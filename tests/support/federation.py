"""Studies of a few parties with made-up loans, for tests of federated learning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from deepseek.bundle.sign import generate_keys
from deepseek.data import Table, read_table
from deepseek.privacy.study.definition import Party, Study, StudyFolder, write_study
from deepseek.privacy.study.request import StudyRequest, make_study
from deepseek.privacy.study.settings import read_settings
from deepseek.privacy.transport.certificates import public_key_of, write_certificate
from support.rows.loans import for_task, make_loans

NAMES = ("ada", "bob", "cyd", "dee")


@dataclass(frozen=True)
class Federation:
    """A study on disk with the keys of everybody, all of it signed."""

    folder: StudyFolder
    keys: dict[str, Path]  # private keys, by party; "hub" is the coordinator's

    @property
    def study(self) -> Study:
        return self.folder.study


def loans_table(task: str = "binary", num_rows: int = 400, seed: int = 0) -> Table:
    return read_table(for_task(make_loans(num_rows, seed), task))


def loans_study(*assignments: str, task: str = "binary", parties: Sequence[Party] = ()) -> Study:
    """A study of loans, without parties where none are named."""
    target = {"binary": "default", "multiclass": "grade", "regression": "price"}[task]
    request = StudyRequest("loans", target, parties=tuple(parties))
    return make_study(loans_table(task, seed=9), request, read_settings(None, assignments))


def make_federation(folder: Path, *assignments: str, names: Sequence[str] = NAMES[:3]) -> Federation:
    """A signed study with a key pair for each party and for the coordinator."""
    keys = {}
    for name in (*names, "hub"):
        keys[name] = generate_keys(folder / f"key-{name}")[0]
    parties = tuple(Party(name, public_key_of(keys[name])) for name in names)
    hub = Party("hub", public_key_of(keys["hub"]))
    request = StudyRequest("loans", "default", parties=parties, coordinator=hub)
    study = make_study(loans_table(seed=9), request, read_settings(None, assignments))
    signed = write_study(folder / "study", study)
    for party in parties:
        signed.sign(party, keys[party.name])
        write_certificate(signed, party, keys[party.name])
    return Federation(signed, keys)


def party_frame(name: str, num_rows: int = 120) -> pd.DataFrame:
    """The rows of one party: others for each name."""
    return for_task(make_loans(num_rows, seed=sum(name.encode())), "binary")


def party_table(name: str, num_rows: int = 120) -> Table:
    return read_table(party_frame(name, num_rows))
