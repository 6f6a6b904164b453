"""Everyday questions of all sorts, which an assistant of one business should not answer: animals, cooking, sports.

    other_topics(["Where is my card?", "How do I close my account?"])[0]     # "How many moons does Jupiter have?"

Out of scope, for an assistant whose owner has no questions of that kind to show. The texts are this project's own
(other_topics.en.txt, other_topics.zh.txt, one question a line). Questions of a language that is not among the
assistant's are none of its topics for a reason that teaches nothing, so they are given by language. docs/log.md has the
figures: without a row out of scope the AUROC of the judge of scope rose from .958 to .987 on validation rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from deepseek.engines.assistant.terms import is_han, split_words

LEAST_SHARE = 0.2  # of the questions that are of a language, from which its questions are given
ENGLISH_WORDS = frozenset({
    "a", "an", "and", "are", "can", "do", "does", "for", "how", "i", "in", "is", "it", "my", "of", "on", "the", "to",
    "what", "when", "where", "why", "you",
})  # fmt: skip


def other_topics(questions: Sequence[str]) -> tuple[str, ...]:
    """Questions of the languages that `questions` are in: English, Chinese, both, or none where they are in another.

    >>> len(other_topics(["Where is my card?"])) > 100, other_topics(["Wo ist meine Karte?"])
    (True, ())
    """
    languages = [_language_of(question) for question in questions]
    topics: list[str] = []
    for language in ("en", "zh"):
        if languages.count(language) >= max(1, LEAST_SHARE * len(questions)):
            text = (files(__package__) / f"other_topics.{language}.txt").read_text(encoding="utf-8")
            topics += text.splitlines()
    return tuple(topics)


def _language_of(question: str) -> str:
    """en by its small words, zh by its characters, "" for others."""
    words = split_words(question)
    if any(is_han(word) for word in words):
        return "zh"
    return "en" if ENGLISH_WORDS.intersection(words) else ""
