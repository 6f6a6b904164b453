"""The n-grams of a text: words, pairs of neighbours, and runs of characters within words. Chinese, Japanese and Korean
Han are written without blanks, so each such character is a word of its own.

>>> split_words("my card's lost"), split_words("卡丢了")
(['my', 'card', 's', 'lost'], ['卡', '丢', '了'])
>>> split_pairs("my card is lost"), split_characters("a card")
(['my card', 'card is', 'is lost'], [' a ', ' ca', 'car', 'ard', 'rd ', ' car', 'card', 'ard '])
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

MAX_CHARACTERS = 20_000  # of one text that are read
CHARACTER_SIZES = (3, 4)  # of runs of characters
_HAN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_HAN}]|[^\W{_HAN}]+")
_HAN_CHARACTER = re.compile(f"[{_HAN}]")
HAN_PER_WORD = 2  # a Chinese word has so many characters, in the mean


def normalize_text(text: str) -> str:
    """Lower case, in the compatible form of Unicode: full-width letters as the usual ones.

    >>> normalize_text("ＡＴＭ Karte")
    'atm karte'
    """
    return unicodedata.normalize("NFKC", text[:MAX_CHARACTERS]).lower()


def split_words(text: str) -> list[str]:
    """The words of a normalized text."""
    return _WORD.findall(text)


def split_pairs(text: str) -> list[str]:
    """Each two words that follow each other."""
    return list(map(" ".join, pairwise(_WORD.findall(text))))


def split_characters(text: str) -> list[str]:
    """Runs of CHARACTER_SIZES characters of what stands between blanks, its two ends as blanks."""
    padded = [f" {chunk} " for chunk in text.split()]
    return [
        chunk[start : start + size]
        for size in CHARACTER_SIZES for chunk in padded for start in range(len(chunk) - size + 1)
    ]  # fmt: skip


def count_words(text: str) -> int:
    """How many words a text has; of Chinese, about.

    >>> count_words("my card is lost"), count_words("我的银行卡丢了怎么办")
    (4, 5)
    """
    num_han = len(_HAN_CHARACTER.findall(text))
    return len(_HAN_CHARACTER.sub(" ", text).split()) + max(num_han > 0, num_han // HAN_PER_WORD)
