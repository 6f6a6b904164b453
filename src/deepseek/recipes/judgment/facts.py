"""The facts of a case: one JSON object, and what a draft may say of names, amounts and days.

    {"date": "2024-03-05", "parties": [{"role": "plaintiff", "name": "A. Lin"}, ...],
    "amounts": {"principal": "120,000 yuan"}}

`date` is the day on which law is looked up; the rest is free, and a template names it by its path: parties.plaintiff,
amounts.principal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.citations.corpus.amounts import find_amounts
from deepseek.citations.support.in_force import MONTHS, read_day
from deepseek.errors import InputError, MalformedError
from deepseek.files import read_bounded

MAX_BYTES = 4 * 2**20
_DAY = re.compile(
    rf"(\d{{4}})\s?[年\-/.]\s?(\d{{1,2}})\s?[月\-/.]\s?(\d{{1,2}})日?|\b(\d{{1,2}})\s+({'|'.join(MONTHS)})\s+(\d{{4}})",
    re.IGNORECASE,
)
Amount = tuple[float, str]  # value, unit


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody who takes part."""

    role: str
    name: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a case."""

    day: str  # on which law is looked up
    values: dict[str, str]  # by path
    parties: tuple[Party, ...]
    days: frozenset[str]  # YYYY-MM-DD
    amounts: frozenset[Amount]
    sha256: str

    def has_amount(self, value: float, unit: str) -> bool:
        """Whether an amount is known; a unit that one of both leaves out fits."""
        return any(value == known and (not unit or not other or unit == other) for known, other in self.amounts)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(party.name for party in self.parties)


def read_facts(path: Path) -> Facts:
    """The facts in a JSON file. MissingError without it, MalformedError for no JSON, InputError without a day."""
    data = read_bounded(path, MAX_BYTES, what="facts", smaller="leave out what the draft does not need")
    try:
        table = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{path.name} is no JSON: {error}", expected="one JSON object", fix="mend it") from error
    return facts_of(table, path.name, data)


def facts_of(table: object, name: str, data: bytes) -> Facts:
    """The facts in an object; `data` is what its digest is of."""
    import hashlib

    if not isinstance(table, dict) or "date" not in table:
        raise InputError(
            f"{name} has no date", expected='{"date": "2024-03-05", ...}: the day of which the law counts',
            fix="add the day of the facts",
        )  # fmt: skip
    read_day(table["date"])
    values = dict(_flatten(table, ""))
    parties = tuple(_read_parties(table.get("parties", []), name))
    for party in parties:
        values[f"parties.{party.role}"] = party.name
    text = "\n".join(values.values())
    return Facts(
        table["date"], values, parties, read_days(text) | {table["date"]}, read_money_and_counts(text),
        hashlib.sha256(data).hexdigest(),
    )  # fmt: skip


def _flatten(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flatten(each, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for place, each in enumerate(value, 1):
            yield from _flatten(each, f"{path}.{place}")
    elif isinstance(value, bool):
        yield path, "yes" if value else ""
    elif value is not None:
        yield path, f"{value:,}" if isinstance(value, int) else str(value)


def _read_parties(rows: object, name: str) -> Iterator[Party]:
    for number, row in enumerate(rows if isinstance(rows, list) else [], 1):
        if (
            not isinstance(row, dict)
            or not str(row.get("role") or "").strip()
            or not str(row.get("name") or "").strip()
        ):
            raise InputError(
                f"party {number} of {name} has no role or no name", expected='{"role": "plaintiff", "name": "A. Lin"}',
                fix="name both",
            )  # fmt: skip
        yield Party(str(row["role"]).strip(), str(row["name"]).strip())


def read_days(text: str) -> frozenset[str]:
    """The days that a text names.

    >>> sorted(read_days("signed on 5 January 2023, due 2024年3月5日"))
    ['2023-01-05', '2024-03-05']
    """
    days = set()
    for match in _DAY.finditer(text):
        year, month, day = match[1], match[2], match[3]
        if year is None:
            year, month, day = match[6], str(MONTHS.index(match[5].casefold()) + 1), match[4]
        days.add(f"{int(year):04}-{int(month):02}-{int(day):02}")
    return frozenset(days)


def read_money_and_counts(text: str) -> frozenset[Amount]:
    """Amounts without the days of a text: value and unit; 12万元 is 120,000 元.

    >>> sorted(read_money_and_counts("120,000 yuan, signed on 5 January 2023"))
    [(120000.0, 'yuan')]
    """
    return frozenset((value, unit) for value, unit, _ in find_amounts(_DAY.sub(" ", text)))
