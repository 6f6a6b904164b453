"""Rules as a file of TOML: data, not code.

[[rules]]
name = "refund words"
label = "refund"
keywords = ["refund", "money back"]     # whole words, in any case
column = "text"                         # without it: every column of texts

[[rules]]
name = "large"
label = "manual"
column = "amount"
at_least = 10000                        # and, or instead, at_most

[[rules]]
name = "order number"
label = "delivery"
regex = "\\\\border #?[0-9]{6}\\\\b"
"""

from __future__ import annotations

import math
import re
import tomllib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from deepseek.automl.label.project.records import FILE_KINDS, Definition
from deepseek.automl.label.project.values import check_class
from deepseek.automl.label.rules.patterns import Search, search_rows, text_of
from deepseek.contracts import JsonObject, Record
from deepseek.errors import InputError
from deepseek.files import read_bounded
from deepseek.plugins import did_you_mean

MAX_FILE_BYTES = 2**20
MAX_RULES = 500
ABSTAIN = -1


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: what has to hold of a row for its label."""

    name: str
    label: str
    column: str | None = None
    keywords: tuple[str, ...] = ()
    regex: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def words(self) -> re.Pattern[str] | None:
        """The keywords as an expression, which never goes back; None without keywords."""
        words = "|".join(map(re.escape, sorted(self.keywords, key=len, reverse=True)))
        # Chinese has no blanks between words: a boundary is asked for beside letters of an alphabet alone.
        return (
            re.compile(rf"(?<![^\W\u3400-\u9fff])(?:{words})(?![^\W\u3400-\u9fff])", re.IGNORECASE) if words else None
        )


_NAMES = tuple(field.name for field in fields(Rule))


def read_rules(path: Path, definition: Definition) -> tuple[Rule, ...]:
    """The rules of a file. InputError, with the name of the rule, for what does not fit the project."""
    data = read_bounded(path, MAX_FILE_BYTES, what="rules in TOML", smaller="split it")
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            f"{path.name} is no TOML: {error}", expected="[[rules]] with name and label", fix="mend it"
        ) from error
    tables = document.get("rules")
    if not isinstance(tables, list) or not 0 < len(tables) <= MAX_RULES or set(document) != {"rules"}:
        raise InputError(
            f"{path.name} holds no rules",
            expected=f"1 to {MAX_RULES} tables [[rules]] and nothing else",
            fix="write them",
        )
    rules = tuple(_read_rule(table, place, definition) for place, table in enumerate(tables, 1))
    names = [rule.name for rule in rules]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"two rules are called {twice!r}", expected="names of their own", fix="rename one")
    return rules


def _read_rule(table: object, place: int, definition: Definition) -> Rule:
    where = f"rule {place}"
    if not isinstance(table, dict):
        raise InputError(f"{where} is no table", expected="[[rules]]", fix="write it so")
    where = f"the rule {str(table.get('name', place))!r}"
    for name in table:
        if name not in _NAMES:
            raise InputError(
                f"{where} has {name!r}.{did_you_mean(name, _NAMES)}", expected=", ".join(_NAMES), fix="leave it out"
            )
    keywords = table.get("keywords", [])
    texts = (table.get("name"), table.get("label"), table.get("regex", ""), table.get("column", ""))
    bounds = [table[name] for name in ("at_least", "at_most") if name in table]
    if not all(isinstance(text, str) for text in texts) or not table["name"]:
        raise InputError(
            f"{where} has no name or label, or they are no texts", expected="name and label", fix="add them"
        )
    if not isinstance(keywords, list) or not all(isinstance(word, str) and word for word in keywords):
        raise InputError(f"{where}: keywords is no list of words", expected='["refund"]', fix="write such a list")
    if not all(isinstance(bound, int | float) and not isinstance(bound, bool) for bound in bounds) or any(
        math.isnan(bound) for bound in bounds
    ):
        raise InputError(f"{where}: a bound is no number", expected="at_least = 3", fix="write a number")
    if len(bounds) == 2 and bounds[0] > bounds[1]:
        raise InputError(
            f"{where}: no number is at least {bounds[0]} and at most {bounds[1]}", expected="at_least <= at_most",
            fix="exchange them",
        )  # fmt: skip
    check_class(table["label"], definition.labels)
    if [bool(keywords), bool(table.get("regex")), bool(bounds)].count(True) != 1:
        raise InputError(
            f"{where} asks for nothing, or for two things", expected="keywords, regex or bounds", fix="keep one"
        )
    rule = Rule(**{**table, "keywords": tuple(keywords)})
    _check_column(rule, where, definition, needs_number=bool(bounds))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a later Python may read otherwise
            re.compile(rule.regex or "")
    except (re.error, RecursionError, OverflowError) as error:
        raise InputError(f"{where}: {error}", expected="a regular expression of Python", fix="mend it") from error
    return rule


def _check_column(rule: Rule, where: str, definition: Definition, *, needs_number: bool) -> None:
    if rule.column is None and (needs_number or not definition.texts):
        raise InputError(f"{where} names no column", expected=", ".join(definition.kinds), fix="add column = ...")
    if rule.column is not None and rule.column not in definition.kinds:
        near = did_you_mean(rule.column, definition.kinds)
        raise InputError(
            f"{where} asks for the column {rule.column!r}.{near}",
            expected=", ".join(definition.kinds),
            fix="correct it",
        )
    if needs_number and definition.kinds[str(rule.column)] in ("text", *FILE_KINDS):
        raise InputError(
            f"{where} has bounds for {rule.column!r}, which holds no numbers", expected="a column of numbers",
            fix="use keywords or regex, or another column",
        )  # fmt: skip


def vote(
    rules: Sequence[Rule], records: Sequence[Record], definition: Definition, keys: Sequence[str]
) -> list[list[str | None]]:
    """What each rule says of each of N rows: its label, or nothing. `keys` (N,) are names of the rows in errors.
    InputError for a regular expression that does not end."""
    searches = [Search(rule.name, rule.regex, _columns(rule, definition)) for rule in rules if rule.regex is not None]
    by_regex = iter(search_rows(searches, records, keys))
    return [
        [
            rule.label if is_hit else None
            for is_hit in (next(by_regex) if rule.regex is not None else _hits(rule, records, definition))
        ]
        for rule in rules
    ]


def _hits(rule: Rule, records: Sequence[Record], definition: Definition) -> list[bool]:
    columns, words = _columns(rule, definition), rule.words()
    if words is None:
        return [_is_within(rule, record[columns[0]]) for record in records]
    return [any(words.search(text_of(record[column])) for column in columns) for record in records]


def _columns(rule: Rule, definition: Definition) -> tuple[str, ...]:
    return (rule.column,) if rule.column else definition.texts


def _is_within(rule: Rule, value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    low = -float("inf") if rule.at_least is None else rule.at_least
    high = float("inf") if rule.at_most is None else rule.at_most
    return low <= value <= high


def rule_to_json(rule: Rule) -> JsonObject:
    return {name: getattr(rule, name) for name in _NAMES if getattr(rule, name) not in (None, ())}
