"""What the law calls what people say: the landlord is its lessor, the boss its employer.

>>> legal_words("房东要涨房租，老板不发工资")
'出租人 用人单位 劳动报酬 支付租金 承租人'

A table of everyday words and those of the Chinese codes (everyday_zh.tsv: words that people use, a tab, words of the
law). A search asks for both: an article is written in words that nobody uses who needs it.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

TABLE_FILE = "everyday_zh.tsv"


def legal_words(text: str) -> str:
    """The words of the law for those in a text, but for what stands in it already; "" where there are none."""
    words: dict[str, None] = {}
    for everyday, legal in _read_table():
        if any(word in text for word in everyday):
            words |= dict.fromkeys(word for word in legal if word not in text)
    return " ".join(words)


@cache
def _read_table() -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    lines = (files(__package__) / TABLE_FILE).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("\t") for line in lines)
    return tuple((tuple(everyday.split()), tuple(legal.split())) for everyday, legal in pairs)
