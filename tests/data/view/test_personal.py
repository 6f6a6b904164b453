"""A card names no people: which columns are withheld, and why, by the name, the kind and the values of a column."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepseek.data.features.kinds import find_kinds
from deepseek.data.features.modality import ColumnProfile
from deepseek.data.table.read import read_table
from deepseek.data.table.table import Table
from deepseek.data.view.media_card import find_all_kinds, make_media_card
from deepseek.data.view.media_words import columns_table, withheld_columns
from deepseek.data.view.personal import REASONS, describe_reason, withholding_reason

NUM_ROWS = 400
FIRST = ("Hans", "Anna", "Jürgen", "Zoë", "Omar", "Inés", "Paul", "Mei")
LAST = ("Meier", "O'Brien", "Müller-Lang", "García", "van Dam", "Rossi", "Novak", "Chen")
DOCUMENTS = "card, account or document numbers"
#: Column -> why it is withheld.
WITHHELD = {
    "handled_by": "names of people", "CustomerName": "names of people", "客户": "names of people",
    "姓名": "names of people", "reply_to": "e-mail addresses", "e-mail": "e-mail addresses", "call": "phone numbers",
    "Mobile Phone": "phone numbers", "pays_from": DOCUMENTS, "plastic": DOCUMENTS, "number": DOCUMENTS,
    "account": DOCUMENTS, "home_address": "addresses", "date_of_birth": "dates of birth", "from": "network addresses",
    "CUSTOMER_ID": "identifiers", "remark": "free text",
}  # fmt: skip
TOLD = ("amount", "card_type", "account_age", "customer_age", "state", "is_customer", "job", "opened", "fraud", "grade")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Payments with the people who made them: every level has ten rows or more, so that a card would list it."""
    draw = np.random.default_rng(0)
    place = np.arange(NUM_ROWS)
    names = [f"{FIRST[k % 8]} {LAST[k // 8 % 5]}" for k in place]
    frame = pd.DataFrame(
        {
            "handled_by": names, "CustomerName": [name.split()[0] for name in names],
            "客户": [("王伟", "李娜", "张敏", "刘洋", "陈静", "杨帆")[k % 6] for k in place],
            "姓名": [("甲", "乙")[k % 2] for k in place],
            "reply_to": [f"u{k % 30}@bank.example" for k in place],
            "e-mail": [("work", "home", "none")[k % 3] for k in place],
            "call": [f"+49 170 55501{k % 30:02d}" for k in place], "Mobile Phone": 1_000 + place % 7,
            "pays_from": [f"DE89 3704 0044 0532 0130 {k % 20:02d}" for k in place],
            "plastic": [f"4539 1488 0343 {k % 20:04d}" for k in place],
            "number": draw.choice(9 * 10**9, NUM_ROWS, replace=False) + 10**9, "account": 100 + place % 20,
            "home_address": [f"{k % 9} Main St" for k in place],
            "date_of_birth": pd.to_datetime("1960-01-01") + pd.to_timedelta(place * 31, "D"),
            "from": [f"10.0.{k % 9}.{k % 20}" for k in place], "CUSTOMER_ID": draw.integers(0, 90, NUM_ROWS),
            "remark": [f"asked twice about loan {k} and will call again tomorrow" for k in place],
            "amount": draw.gamma(2, 30, NUM_ROWS).round(2), "card_type": draw.choice(["debit", "credit"], NUM_ROWS),
            "account_age": draw.integers(0, 40, NUM_ROWS), "customer_age": draw.integers(18, 80, NUM_ROWS),
            "state": draw.choice(["New York", "Texas", "Ohio", "New Mexico", "Utah", "Iowa"], NUM_ROWS),
            "is_customer": draw.choice([True, False], NUM_ROWS),
            "job": draw.choice(["nurse", "cook", "bank clerk", "driver", "teacher"], NUM_ROWS),
            "opened": pd.to_datetime("2020-01-01") + pd.to_timedelta(place, "D"),
            "grade": draw.choice(list("ABC"), NUM_ROWS), "fraud": draw.integers(0, 2, NUM_ROWS),
        }
    )  # fmt: skip
    path = tmp_path_factory.mktemp("people") / "people.parquet"
    frame.to_parquet(path, index=False)
    return path


@pytest.fixture(scope="module")
def table(people: Path) -> Table:
    return read_table(people)


def test_each_column_is_withheld_for_what_it_is_and_no_other_one(table: Table) -> None:
    kinds = find_kinds(table, target="fraud")
    reasons = {
        name: withholding_reason(ColumnProfile.from_table(table, name), kinds.get(name, "category"))
        for name in table.names
    }
    assert reasons == WITHHELD | dict.fromkeys(TOLD, "")
    assert set(WITHHELD.values()) == set(REASONS)


def test_no_value_of_a_withheld_column_is_in_the_card_or_its_words(table: Table, people: Path) -> None:
    kinds = find_all_kinds(table, root=people.parent, target="fraud")
    card = make_media_card(table, kinds, root=people.parent, target="fraud")
    entries = {entry["name"]: entry for entry in card["columns"]}
    figures = {"levels", "num_other", "min", "max", "mean", "std", "quantiles", "histogram"}
    text = json.dumps(card, ensure_ascii=False) + columns_table(card)
    for name, reason in WITHHELD.items():
        assert entries[name]["withheld"] == reason
        assert not figures & entries[name].keys()
        values = {str(value) for value in table.column(name).tolist() if len(str(value)) > 5}
        assert [value for value in values if value in text] == []
    for name in TOLD:
        assert "withheld" not in entries[name]
        assert figures & entries[name].keys()
    assert entries["handled_by"]["num_distinct"] == 40  # how many there are is told
    assert "reply_to (e-mail addresses)" in withheld_columns(card).en
    assert "reply_to（电子邮箱）" in withheld_columns(card).zh


def test_one_address_among_many_words_is_enough() -> None:
    values = np.array(["none", "by post", "ask a.b@example.org", None] * 10, object)
    missing = np.array([value is None for value in values])
    assert withholding_reason(ColumnProfile("channel", "text", values, missing), "category") == "e-mail addresses"


def test_a_reason_of_another_version_is_told_as_it_is() -> None:
    assert describe_reason("something new") == ("something new", "something new")
