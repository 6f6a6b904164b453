"""Provisions of a text in Chinese or English: words first, the model for what they leave open.

>>> text = "The lender must keep records for six years. A borrower may repay early."
>>> [(each.kind, each.subject.of(text)) for each in read_provisions(text) if each.subject]
[('obligation', 'The lender'), ('permission', 'A borrower')]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deepseek.citations.provisions.chinese import open_candidates, read_chinese
from deepseek.citations.provisions.english import read_english
from deepseek.citations.provisions.model import DutyModel
from deepseek.citations.provisions.provision import Provision

CHINESE_SHARE = 0.2  # of the letters, from which a text is read as Chinese


def is_chinese(text: str) -> bool:
    """Whether a text is read by the words of Chinese rules."""
    letters = [letter for letter in text if letter.isalnum()]
    return sum("一" <= letter <= "鿿" for letter in letters) > CHINESE_SHARE * max(1, len(letters))


def read_provisions(text: str, model: DutyModel | None = None) -> list[Provision]:
    """What a text lays down, in its order. `model` decides where words do not; without one the package's own does."""
    model = model or DutyModel.of_package()
    if is_chinese(text):
        provisions = [*read_chinese(text), *_accept(text, open_candidates(text), model, "zh")]
    else:
        provisions = []
        for provision in read_english(text):
            if provision.decided_by == "words":
                provisions.append(provision)
            else:
                provisions += _accept(text, [provision], model, "en")
    return sorted(provisions, key=lambda each: (each.cue.start, each.cue.end))


def _accept(text: str, candidates: list[Provision], model: DutyModel, language: str) -> Iterator[Provision]:
    """The candidates that the model takes for obligations, each with its score."""
    for candidate in candidates:
        score = model.score(text, candidate, language)
        if score >= model.threshold(language):
            yield replace(candidate, decided_by="model", score=round(score, 3))
