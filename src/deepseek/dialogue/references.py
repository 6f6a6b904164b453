"""Follow-up questions: what "it" is, and what is left out.

>>> readings("How long does it take?", "Card arrival", "When does my card come?")
['How long does Card arrival take?', 'When does my card come? How long does it take?']
>>> readings("What is the exchange rate?", "Card arrival", "When does my card come?")
[]
"""

from __future__ import annotations

import re
from collections.abc import Mapping

MAX_FOLLOW_UP_CHARS = 80
_PRONOUN = re.compile(r"\b(it|its|this|that|these|those|they|them|this one|that one|the same)\b", re.IGNORECASE)
_CHINESE_PRONOUN = re.compile("它们|它|这个|那个|这些|那些|这|那")
_ELLIPSIS = re.compile(
    r"(and|but|so|or|what about|how about|what if|why|why not|how long|how much|how many|when|where|who|since when)\b",
    re.IGNORECASE,
)
_CHINESE_ELLIPSIS = re.compile("那|那么|还有|如果|为什么|多久|多少|什么时候|怎么办|要多")
_SAME_VALUE = re.compile(
    r"\b(it|that|this|that one|this one|the same|same one|the same one|same|as before)\b"
    "|它|这个|那个|刚才|同一个|一样|上面",
    re.IGNORECASE,
)
MAX_ELLIPTIC_WORDS = 6


def readings(question: str, title: str, topic_question: str) -> list[str]:
    """The question read as a follow-up of the topic that was answered last: with the topic in the place of its pronoun,
    and behind the topic's own question. None where nothing in it points back."""
    if not topic_question or len(question) > MAX_FOLLOW_UP_CHARS:
        return []
    pronoun = _CHINESE_PRONOUN.search(question) or _PRONOUN.search(question)
    if pronoun is None and not _is_elliptic(question):
        return []
    texts = []
    if pronoun is not None:
        texts.append(question[: pronoun.start()] + title + question[pronoun.end() :])
    texts.append(f"{topic_question.strip()} {question.strip()}")
    return texts


def _is_elliptic(question: str) -> bool:
    plain = question.strip()
    if _CHINESE_ELLIPSIS.match(plain) or (plain.endswith(("呢", "呢？", "呢?")) and len(plain) <= 16):
        return True
    return bool(_ELLIPSIS.match(plain)) and len(plain.split()) <= MAX_ELLIPTIC_WORDS


def same_value(text: str, slot: str, mentioned: Mapping[str, str]) -> str | None:
    """The value of a slot from before in the conversation, where the text points back at it: "cancel it"."""
    return mentioned.get(slot) if _SAME_VALUE.search(text) else None
