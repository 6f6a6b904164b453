"""Vertical studies of two houses with made-up loans: a bank with the target, and a shop with other columns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from deepseek.bundle.sign import generate_keys
from deepseek.data import Table, read_table
from deepseek.privacy.study.definition import Party, Study, StudyFolder, write_study
from deepseek.privacy.study.request import StudyRequest, VerticalRequest, make_study
from deepseek.privacy.study.settings import read_settings
from deepseek.privacy.transport.certificates import public_key_of, write_certificate
from support.rows.loans import TARGETS, for_task, make_loans

BANK, SHOP = ("person", "age", "children"), ("person", "debt", "region")
Alignment = Literal["intersection", "same_ids"]


@dataclass(frozen=True)
class Houses:
    """A signed study on disk, with the keys of both."""

    folder: StudyFolder
    keys: dict[str, Path]

    @property
    def study(self) -> Study:
        return self.folder.study


def people(num_rows: int = 600, task: str = "binary", seed: int = 0) -> pd.DataFrame:
    """All columns of both houses, with an id."""
    frame = for_task(make_loans(num_rows, seed), task)
    return frame.assign(person=[f"p{number:05}" for number in range(num_rows)])


def bank_frame(frame: pd.DataFrame, task: str = "binary") -> pd.DataFrame:
    return frame[[*BANK, TARGETS[task]]]


def shop_frame(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[list(SHOP)]


def vertical_study(
    *assignments: str, task: str = "binary", alignment: Alignment = "same_ids", parties: tuple[Party, ...] = ()
) -> Study:
    sample = people(300, task, seed=9)
    vertical = VerticalRequest("person", read_table(shop_frame(sample)), alignment)
    request = StudyRequest("loans", TARGETS[task], parties=parties, vertical=vertical)
    return make_study(read_table(bank_frame(sample, task)), request, read_settings(None, assignments))


def make_houses(folder: Path, *assignments: str, alignment: Alignment = "same_ids") -> Houses:
    """A study that both have signed."""
    folder.mkdir(exist_ok=True)
    keys = {name: generate_keys(folder / f"key-{name}")[0] for name in ("bank", "shop")}
    parties = tuple(Party(name, public_key_of(key)) for name, key in keys.items())
    signed = write_study(folder / "study", vertical_study(*assignments, alignment=alignment, parties=parties))
    for party in parties:
        signed.sign(party, keys[party.name])
        write_certificate(signed, party, keys[party.name])
    return Houses(signed, keys)


def with_nan(table: pd.DataFrame, column: str, row: int) -> Table:
    """The table with a hole."""
    changed = table.copy()
    changed[column] = changed[column].astype(object)
    changed.iloc[row, list(changed.columns).index(column)] = np.nan
    return read_table(changed)
