"""Cuts a message where it may hold several questions: ends of sentences, and words that join two wishes.

>>> cut_message("Where is my card and how do I change my PIN?")
('Where is my card', 'how do I change my PIN?')
>>> cut_message("我的卡还没到，另外怎么改密码？")
('我的卡还没到', '怎么改密码？')
>>> cut_message("salt and pepper")
('salt and pepper',)

Whether the pieces are questions of their own is for the model to say (runtime.py); a cut that it does not confirm is
undone.
"""

from __future__ import annotations

import re

from deepseek.engines.assistant.terms import split_words

MAX_PIECES = 5
MIN_WORDS = 3  # of a piece; a Chinese character counts as one
_JOINTS = re.compile(
    r"(?<=[?!;？！；。])\s*|(?<=[^\W\d]\.)\s+"
    r"|[,;]?\s+(?:and\s+also|and\s+then|and|also|plus|as\s+well\s+as|besides)\s+"
    r"|[，,、；;]?\s*(?:另外还有|另外|还有|以及|并且|而且|同时|顺便|然后再|还想|也想)[，,]?\s*",
    re.IGNORECASE,
)


def cut_message(text: str) -> tuple[str, ...]:
    """Pieces of at least MIN_WORDS words, at most MAX_PIECES; the text alone where there is nothing to cut."""
    pieces = [piece.strip(" ,，") for piece in _JOINTS.split(text)]
    joined: list[str] = []
    for piece in filter(None, pieces):
        if len(split_words(piece)) < MIN_WORDS or len(joined) == MAX_PIECES:
            return (text,)
        joined.append(piece)
    return tuple(joined) if len(joined) > 1 else (text,)
