"""Chinese numerals as digits, by cn2an; and full-width letters as plain ones.

>>> to_digits("１２３")
'123'
"""

from __future__ import annotations

import re
import unicodedata
import warnings

from deepseek.errors import ExtraError
from deepseek.extras import need

_NUMERAL = re.compile("[零〇一二两三四五六七八九十百千万亿]")


def to_digits(text: str) -> str:
    """The sentence with its numerals as digits: 三百二十元五角 becomes 320元5角. What cn2an cannot read stays."""
    plain = unicodedata.normalize("NFKC", text)
    if not _NUMERAL.search(plain):
        return plain
    try:
        cn2an = need("cn2an", extra="dialogue")
    except ExtraError:
        return plain
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of words that it leaves as they are
        try:
            return str(cn2an.transform(plain))
        except (ValueError, KeyError, IndexError):
            return plain
