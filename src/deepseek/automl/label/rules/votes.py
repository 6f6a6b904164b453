"""Rules asked about rows: words and bounds here, expressions in a process of their own, models as they answer."""

from __future__ import annotations

from collections.abc import Sequence

from deepseek.automl.label.project.records import Definition
from deepseek.automl.label.rules.definition import Rule, RuleVotes
from deepseek.automl.label.rules.models import ask_bundle, ask_generator
from deepseek.automl.label.rules.patterns import Search, search_rows, text_of
from deepseek.contracts import Record


def vote(
    rules: Sequence[Rule], records: Sequence[Record], definition: Definition, keys: Sequence[str]
) -> list[RuleVotes]:
    """What each rule says of each of N rows. `keys` (N,) are names of the rows in errors. InputError for a regular
    expression that does not end, and for a model that does not fit or does not answer."""
    searches = [Search(rule.name, rule.regex, _columns(rule, definition)) for rule in rules if rule.regex is not None]
    by_regex = iter(search_rows(searches, records, keys))
    votes = []
    for rule in rules:
        if rule.bundle or rule.url:
            votes.append((ask_bundle if rule.bundle else ask_generator)(rule, records, definition))
            continue
        hits = next(by_regex) if rule.regex is not None else _hits(rule, records, definition)
        votes.append(RuleVotes(rule.name, tuple(rule.label if is_hit else None for is_hit in hits)))
    return votes


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
