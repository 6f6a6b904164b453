"""The two halves of a vertical study: each house's own columns as a study of its own, whose target is its score.

half_study(study, "labels")      the columns of the house with the target, the study's first party
half_study(study, "columns")     those of the other house
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from deepseek.errors import InputError
from deepseek.privacy.study.definition import Party, Study, VerticalColumns

HouseRole = Literal["labels", "columns"]  # who has the target and serves, who has other columns and joins
ROLES: tuple[HouseRole, HouseRole] = ("labels", "columns")
MOST_SUMS_A_ROW = 0.25  # sums over rows that one house learns of the other's, of the rows that they are over


WHAT_LEAVES = {
    "ids": "ids as points of a curve under secret exponents: how many there are, and which both houses have",
    "keys": "a public key of CKKS, and a digest of the shared ids",
    "errors": "scores, or scores less the target, of the training rows, encrypted; columns times those, under masks",
    "sums": "one sum over all training rows for each of the other's inputs, under a mask that the other alone knows",
    "scores": "partial scores of the rows held back, in clear, once; from the house with the target nothing",
}  # fmt: skip
WHAT_IS_SEEN = {
    "labels": "which ids both have and how many the other has; in each round, of each of its own inputs, the sum over "
    "all training rows of it times the other's partial score; the other's partial scores of the rows held back",
    "columns": "which ids both have and how many the other has; in each round, of each of its own inputs, the sum over "
    "all training rows of it times the other's partial score less the target",
}  # fmt: skip


def vertical_columns(study: Study) -> VerticalColumns:
    """InputError for a study that is none of two houses with other columns."""
    if study.vertical is None:
        raise InputError(
            f"the study {study.name!r} is no vertical one", expected="a study made with --vertical",
            fix="leave out what is for vertical studies",
        )  # fmt: skip
    return study.vertical


def refuse_vertical(study: Study) -> None:
    """InputError for a study of two houses with other columns, where rows are expected to be cut."""
    if study.vertical is not None:
        raise InputError(
            f"the study {study.name!r} is of two houses with other columns of the same people",
            expected="a table of the house, with --data", fix="deepseek federate serve STUDY --key K --data FILE",
        )  # fmt: skip


def half_study(study: Study, role: HouseRole) -> Study:
    """One house's columns, as a study of numbers: its partial score is the target."""
    columns = vertical_columns(study)
    half = replace(
        study, target="partial_score", task="regression", labels=(), target_centre=0.0, target_scale=1.0, vertical=None,
        parties=(),
    )  # fmt: skip
    return half if role == "labels" else replace(half, preprocess=columns.preprocess, inputs=columns.inputs)


def party_of(study: Study, role: HouseRole) -> Party:
    """InputError for a study without parties."""
    if len(study.parties) != 2:
        raise InputError(
            "the study names no parties", expected="two, the first of which has the target",
            fix="make it with --party NAME=FILE.pub, twice",
        )  # fmt: skip
    return study.parties[0 if role == "labels" else 1]


def num_half_inputs(study: Study, role: HouseRole) -> int:
    """D of a house."""
    scaling = half_study(study, role).inputs
    return len(scaling.numeric) + sum(scaling.num_levels)


def other_role(role: HouseRole) -> HouseRole:
    return "columns" if role == "labels" else "labels"


def check_enough_rows(study: Study, num_rows: int) -> None:
    """InputError for so few rows that sums over them could be solved for what one house keeps from the other: in each
    round a house learns one sum for each of its inputs, and in all no more than products of its inputs with the
    other's and with the target."""
    num_rounds = study.settings.rounds.num_rounds
    widths = {role: num_half_inputs(study, role) for role in ROLES}
    sums = max(min(num_rounds, widths[other_role(role)] + 1) * widths[role] for role in ROLES)
    if sums > MOST_SUMS_A_ROW * num_rows:
        raise InputError(
            f"a house would learn {sums} sums over {num_rows} rows that it shares with the other",
            expected=f"at least {round(sums / MOST_SUMS_A_ROW)} rows: of fewer, the other's could be worked out",
            fix="bring more rows, drop columns, or lower rounds.num_rounds",
        )
