"""Reason codes: what moved one answer most, in words, in English or Chinese."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from deepseek.contracts import Attribution, Record
from deepseek.errors import InputError
from deepseek.explain.media.serialize import largest_tokens
from deepseek.look.numbers import number
from deepseek.look.words import name_class

Language = Literal["en", "zh"]

_SCALE_PHRASES = {
    "en": {
        "log-odds": "the log-odds of {0}",
        "probability": "the probability of {0}",
        "target units": "{0}",
        "cosine similarity": "the cosine with the whole text",
    },
    "zh": {
        "log-odds": "{0}的对数几率",
        "probability": "{0}的概率",
        "target units": "{0}",
        "cosine similarity": "与全文的余弦相似度",
    },
}
_SENTENCES = {
    "en": "{column} {value} {verb} {what} by {size}",
    "zh": "{column} {value} 使{what}{verb} {size}",
}
_PART_SENTENCES = {"en": "{part} {verb} {what} by {size}", "zh": "{part} 使{what}{verb} {size}"}
_VERBS = {"en": ("raises", "lowers"), "zh": ("升高", "降低")}
UNNAMED_OUTCOME = "the prediction"
MAX_VALUE_CHARACTERS = 120  # of a text that a sentence shows
_MISSING_TEXT = {"en": "(missing)", "zh": "（缺失）"}


def reason_codes(
    attribution: Attribution,
    record: Record,
    num_reasons: int = 3,
    *,
    row: int = 0,
    outcome: str = UNNAMED_OUTCOME,
    language: Language = "en",
) -> list[str]:
    """Sentences on the `num_reasons` largest contributions to row `row`, largest first; none that contribute nothing.

    `record` is the raw row. `outcome` names what a regression predicts; classes speak of the class explained.

    >>> values, output = np.array([[0.8, -1.25]]), np.array([-0.45])
    >>> names, method = ("age", "income"), "linear, exact"
    >>> attribution = Attribution(names, values, np.zeros(1), output, "log-odds", method, "default")
    >>> reason_codes(attribution, {"age": 61, "income": 2400.0})
    ['income = 2,400 lowers the log-odds of default by 1.25', 'age = 61 raises the log-odds of default by 0.800']
    """
    if language not in _VERBS:
        raise InputError(
            f"there are no reason codes in {language!r}", expected=", ".join(_VERBS), fix="ask for one of these"
        )
    what = _SCALE_PHRASES[language][attribution.scale].format(_name_target(attribution, outcome))
    contributions = attribution.values[row]
    order = np.argsort(-np.abs(contributions), kind="stable")[:num_reasons].tolist()
    return [
        _SENTENCES[language].format(
            column=attribution.names[index],
            value=format_value(record.get(attribution.names[index]), language),
            verb=_VERBS[language][int(contributions[index] < 0)],
            what=what,
            size=number(abs(float(contributions[index]))),
        )
        for index in order
        if contributions[index] != 0.0
    ]


def part_reasons(
    attribution: Attribution,
    row: int,
    num_reasons: int = 3,
    language: Language = "en",
    *,
    outcome: str = UNNAMED_OUTCOME,
) -> list[str]:
    """Sentences on the tokens of one row's texts that moved its answer most."""
    what = _SCALE_PHRASES[language][attribution.scale].format(_name_target(attribution, outcome))
    return [
        _PART_SENTENCES[language].format(
            part=part, verb=_VERBS[language][int(value < 0)], what=what, size=number(abs(value))
        )
        for part, value in largest_tokens(attribution.parts[row], num_reasons)
    ]


def _name_target(attribution: Attribution, outcome: str) -> str:
    """What is explained: the class, or what a regression predicts."""
    if attribution.target is None:
        return outcome
    return name_class(attribution.target, None if outcome == UNNAMED_OUTCOME else outcome)


def format_value(value: Any, language: Language = "en") -> str:
    """A raw value as it stands in a sentence; of a long text its beginning.

    >>> format_value(0.18412), format_value("red"), format_value(None)
    ('= 0.184', '= red', '(missing)')
    """
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return _MISSING_TEXT[language]
    if isinstance(value, str) and len(value) > MAX_VALUE_CHARACTERS:
        value = value[: MAX_VALUE_CHARACTERS - 1] + "…"
    return f"= {number(value)}" if isinstance(value, float) else f"= {value}"
