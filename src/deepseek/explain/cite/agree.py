"""Three errors that no similarity sees: another amount, the opposite sign, and a word such as "only" that is not there.

>>> agrees("租期最长三十年", "租赁期限不得超过二十年。")
False
>>> agrees("可以扣押劳动者的身份证", "用人单位不得扣押劳动者的身份证。")
False
>>> agrees("A fee is always due", "A fee is due on request.")
False
>>> agrees("不得扣押身份证", "用人单位不得扣押劳动者的身份证。")
True

The sign is compared where sentence and clause speak of the same: each part of the sentence (parts end at commas) is
laid beside the part of the clause that shares most pairs of letters, or words, with it. The items of a list share the
sign of the line that opens it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from deepseek.explain.cite.bm25 import terms
from deepseek.explain.cite.numerals import amounts

#: Parts whose share of common terms is less say nothing about each other's sign.
LEAST_COMMON = 0.4
_PART = re.compile(r"[，,。；;：:！？!?\n]+|\.(?:\s|$)")
#: Words in which a no is no no, and bounds: "must not exceed 20 years" and "at most 20 years" are one.
_NO_NO = re.compile(
    r"不动产|不可抗力|不当得利|不当|不良|不特定|不定期|不断|不同|不记名|不明|不正当|不法|不足|不满|未满|未成年|没收|不仅|除外"
    r"|无偿|无固定|无限|无民事|无形|无论|无记名|无期|无线|不以|不论"
    r"|(?:不得|不能|不可|不应|不)(?:超过|超出|少于|低于|高于|早于|晚于)"
    r"|\bnot (?:more|less|later|earlier) than|\bnot exceed\w*|\bnot only|\bnotwithstanding",
    re.IGNORECASE,
)
_NO = re.compile(
    r"不|未|无|禁止|严禁|没有|\b(?:not|no|never|neither|nor|without|prohibited|forbidden|void|illegal)\b|n't\b",
    re.IGNORECASE,
)
#: A clause that does not say them does not support a sentence that does.
_STRONG = re.compile(
    r"任何|一律|只|仅|才|随时|自由|全部|永久|\b(?:any|all|every|only|always|solely|exclusively)\b", re.IGNORECASE
)


def agrees(sentence: str, clause: str) -> bool:
    """Whether nothing in the sentence speaks against the clause."""
    return (
        _has_amounts(sentence, clause)
        and {word.casefold() for word in _STRONG.findall(sentence)}
        <= {word.casefold() for word in _STRONG.findall(clause)}
        and _same_signs(sentence, clause)
    )


def denies(text: str) -> bool:
    """Whether something is denied or forbidden.

    >>> denies("不得转让"), denies("转让不动产"), denies("不得超过二十年"), denies("It shall not be shared")
    (True, False, False, True)
    """
    return _NO.search(_NO_NO.sub("", text)) is not None


def _has_amounts(sentence: str, clause: str) -> bool:
    given = amounts(clause)
    for value, unit, side in amounts(sentence):
        if not any(
            value == other and (unit == its or not unit) and (side == way or not side or not way)
            for other, its, way in given
        ):
            return False
    return True


def _same_signs(sentence: str, clause: str) -> bool:
    given = list(_parts(clause))
    for part, no in _parts(sentence):
        asked = _pairs(part)
        if not asked or not given:
            continue
        shares = [len(asked & _pairs(other)) / len(asked) for other, _ in given]
        best = max(shares)
        if best >= LEAST_COMMON and all(
            other != no for (_, other), share in zip(given, shares, strict=True) if share == best
        ):
            return False
    return True


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """Each part and its sign."""
    opening = False
    for place, line in enumerate(text.split("\n")):
        pieces = [piece for piece in _PART.split(line) if piece.strip()]
        for piece in pieces:
            yield piece, denies(piece) or (place > 0 and opening)
        if place == 0:
            opening = bool(pieces) and line.rstrip().endswith(("：", ":")) and denies(pieces[-1])


def _pairs(text: str) -> set[str]:
    """Pairs of Chinese letters and English words."""
    return {term for term in terms(text) if len(term) > 1}
