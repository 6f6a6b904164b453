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

[[rules]]
name = "the model of last year"         # it answers the label itself
bundle = "claims-2025"                  # beside this file
at_least = 0.8                          # the probability below which it abstains

[[rules]]
name = "a generator"
url = "http://127.0.0.1:8000/v1/chat/completions"
model = "qwen"                          # and question, column, key_file
"""

from __future__ import annotations

import math
import re
import tomllib
import warnings
from dataclasses import dataclass, fields, replace
from pathlib import Path

from deepseek.automl.label.project.records import FILE_KINDS, Definition
from deepseek.automl.label.project.values import check_class
from deepseek.contracts import JsonObject
from deepseek.errors import InputError, MissingError
from deepseek.files import read_bounded
from deepseek.plugins import did_you_mean

MAX_FILE_BYTES = 2**20
MAX_RULES = 500
ABSTAIN = -1


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: what has to hold of a row for its label, or the model that says the label."""

    name: str
    label: str = ""
    column: str | None = None
    keywords: tuple[str, ...] = ()
    regex: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    bundle: str = ""  # its path
    url: str = ""  # of chat completions
    model: str = ""
    question: str = ""
    key_file: str = ""

    def words(self) -> re.Pattern[str] | None:
        """The keywords as an expression, which never goes back; None without keywords."""
        words = "|".join(map(re.escape, sorted(self.keywords, key=len, reverse=True)))
        # Chinese has no blanks between words: a boundary is asked for beside letters of an alphabet alone.
        return (
            re.compile(rf"(?<![^\W\u3400-\u9fff])(?:{words})(?![^\W\u3400-\u9fff])", re.IGNORECASE) if words else None
        )


@dataclass(frozen=True, slots=True)
class RuleVotes:
    """What one rule says of each of N rows."""

    name: str
    labels: tuple[str | None, ...]  # (N,) None: it abstains
    num_raised: int = 0
    first_error: str = ""


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
    rules = tuple(_read_rule(table, place, definition, path.parent) for place, table in enumerate(tables, 1))
    names = [rule.name for rule in rules]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"two rules are called {twice!r}", expected="names of their own", fix="rename one")
    return rules


def _read_rule(table: object, place: int, definition: Definition, folder: Path) -> Rule:
    where = f"rule {place}"
    if not isinstance(table, dict):
        raise InputError(f"{where} is no table", expected="[[rules]]", fix="write it so")
    where = f"the rule {str(table.get('name', place))!r}"
    for name in table:
        if name not in _NAMES:
            raise InputError(
                f"{where} has {name!r}.{did_you_mean(name, _NAMES)}", expected=", ".join(_NAMES), fix="leave it out"
            )
    _check_values(table, where)
    bounds = [table[name] for name in ("at_least", "at_most") if name in table]
    is_given = [bool(table.get(name)) for name in ("keywords", "regex", "bundle", "url")]
    is_model = any(is_given[2:])
    if [*is_given, bool(bounds) and not table.get("bundle")].count(True) != 1:
        raise InputError(
            f"{where} asks for nothing, or for two things", expected="keywords, regex, bounds, bundle or url",
            fix="keep one",
        )  # fmt: skip
    if is_model and "label" in table:
        raise InputError(f"{where} has a label, which its model says", expected="no label", fix="leave it out")
    if not is_model:
        check_class(table.get("label"), definition.labels)
    rule = Rule(**{**table, "keywords": tuple(table.get("keywords", ()))})
    if not rule.bundle:
        _check_column(rule, where, definition, needs_number=bool(bounds))
    if rule.url and (not rule.url.startswith(("http://", "https://")) or not rule.model):
        raise InputError(
            f"{where} asks {rule.url[:80]!r} for {rule.model or 'no model'}", expected="http or https, and a model",
            fix='url = "http://127.0.0.1:8000/v1/chat/completions", model = "NAME"',
        )  # fmt: skip
    paths = {name: str(folder / getattr(rule, name)) for name in ("bundle", "key_file") if getattr(rule, name)}
    for name, path in paths.items():
        if not Path(path).exists():
            raise MissingError(f"{where}: there is no {name} {path}", expected="one beside this file", fix="look")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a later Python may read otherwise
            re.compile(rule.regex or "")
    except (re.error, RecursionError, OverflowError) as error:
        raise InputError(f"{where}: {error}", expected="a regular expression of Python", fix="mend it") from error
    return replace(rule, **paths)  # type: ignore[arg-type]


def _check_values(table: JsonObject, where: str) -> None:
    """InputError for values that are not of their kind."""
    texts = [table.get(name, "") for name in _NAMES if name not in ("keywords", "at_least", "at_most")]
    if not all(isinstance(text, str) for text in texts) or not table.get("name"):
        raise InputError(
            f"{where} has no name or label, or they are no texts", expected="name and label", fix="add them"
        )
    keywords = table.get("keywords", [])
    if not isinstance(keywords, list) or not all(isinstance(word, str) and word for word in keywords):
        raise InputError(f"{where}: keywords is no list of words", expected='["refund"]', fix="write such a list")
    bounds = [table[name] for name in ("at_least", "at_most") if name in table]
    if not all(isinstance(bound, int | float) and not isinstance(bound, bool) for bound in bounds) or any(
        math.isnan(bound) for bound in bounds
    ):
        raise InputError(f"{where}: a bound is no number", expected="at_least = 3", fix="write a number")
    if len(bounds) == 2 and bounds[0] > bounds[1]:
        raise InputError(
            f"{where}: no number is at least {bounds[0]} and at most {bounds[1]}", expected="at_least <= at_most",
            fix="exchange them",
        )  # fmt: skip


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


def rule_to_json(rule: Rule) -> JsonObject:
    return {name: getattr(rule, name) for name in _NAMES if getattr(rule, name) not in (None, (), "")}
