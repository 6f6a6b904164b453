"""Sentences that are kept in English alone, such as warnings in a bundle's evidence, in both languages for a page.

    in_both_languages("it would take more than 10 s").zh          # "预计用时超过 10 秒"

Bundles, errors and notes hold English, as their readers are programs, too; a page shows both languages. A sentence of
several parts ("message; what to do") is read part by part. What is not known here stands in English in both.

>>> in_both_languages("linear, exact; weighted sum of 2 parts").zh
'线性，精确；2 个部分的加权和'
>>> in_both_languages("something new").zh
'something new'
"""

from __future__ import annotations

import re
from functools import lru_cache

from deepseek.look.chinese.sentences import SENTENCES
from deepseek.look.words import Text

_MAX_CHARACTERS = 1_000  # of a sentence: longer ones are no sentences of ours
#: What stands for words of this program, and not for a name out of the data.
_SENTENCES_WITHIN = frozenset(
    ["why", "rest", "message", "file", "where", "unit", "format", "training", "how", "family", "what"]
)
_NUMBERS = frozenset(("num", "row", "all", "least", "most", "seconds"))


def in_both_languages(sentence: str) -> Text:
    """A sentence of this program in English and in Chinese."""
    return Text(sentence, _translate(sentence) or sentence)


def _translate(sentence: str) -> str | None:
    """The Chinese of a sentence, or of its parts; None where some part is not known."""
    if len(sentence) > _MAX_CHARACTERS:
        return None
    for form, chinese in _forms():
        if match := form.fullmatch(sentence):
            parts = {
                name: (_translate(part) or part) if name in _SENTENCES_WITHIN else part
                for name, part in match.groupdict().items()
            }
            return chinese.format_map(parts)
    for mark, mark_zh in (("; ", "；"), (", or ", "，或")):
        for place in (match.start() for match in re.finditer(mark, sentence)):
            before, after = _translate(sentence[:place]), _translate(sentence[place + len(mark) :])
            if before and after:
                return f"{before}{mark_zh}{after}"
    return None


@lru_cache(maxsize=1)
def _forms() -> tuple[tuple[re.Pattern[str], str], ...]:
    """The forms of the sentences: each {name} of the English stands for whatever is there."""
    return tuple((re.compile(_as_pattern(english), re.DOTALL), chinese) for english, chinese in SENTENCES.items())


def _as_pattern(english: str) -> str:
    """The regular expression of a form."""
    pieces = re.split(r"\{(\w+)\}", english)
    pattern = ""
    for place, piece in enumerate(pieces):
        value = r"[\d,.]+" if piece in _NUMBERS else ".+?" if piece in _SENTENCES_WITHIN else "[^;]+?"
        pattern += re.escape(piece) if place % 2 == 0 else f"(?P<{piece}>{value})"
    return pattern
