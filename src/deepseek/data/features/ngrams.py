"""The n-grams of a text: words and pairs of them, and runs of characters within words. Chinese, Japanese and Korean
Han are written without blanks, so each such character is a word of its own.

>>> list(word_ngrams("My card's lost")), list(word_ngrams("卡丢了"))[:4]
(['my', 'card', 's', 'lost', 'my card', 'card s', 's lost'], ['卡', '丢', '了', '卡 丢'])
>>> list(character_ngrams("a card"))
[' a ', ' ca', 'car', 'ard', 'rd ', ' car', 'card', 'ard ']
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
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


def word_ngrams(text: str) -> Iterator[str]:
    """The words of a text, then each pair of neighbours."""
    words = _WORD.findall(normalize_text(text))
    yield from words
    yield from map(" ".join, pairwise(words))


def character_ngrams(text: str) -> Iterator[str]:
    """Runs of CHARACTER_SIZES characters of what stands between blanks, its two ends as blanks."""
    padded = [f" {chunk} " for chunk in normalize_text(text).split()]
    for size in CHARACTER_SIZES:
        for chunk in padded:
            for start in range(len(chunk) - size + 1):
                yield chunk[start : start + size]


def count_words(text: str) -> int:
    """How many words a text has; of Chinese, about.

    >>> count_words("my card is lost"), count_words("我的银行卡丢了怎么办")
    (4, 5)
    """
    num_han = len(_HAN_CHARACTER.findall(text))
    return len(_HAN_CHARACTER.sub(" ", text).split()) + -(-num_han // HAN_PER_WORD)
