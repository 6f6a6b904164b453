"""Errors that no similarity sees: another amount, the opposite sign, a word such as "only" that is not there, a penalty
for a rule.

>>> agrees("租期最长三十年", "租赁期限不得超过二十年。")
False
>>> agrees("可以扣押劳动者的身份证", "用人单位不得扣押劳动者的身份证。")
False
>>> agrees("A fee is always due", "A fee is due on request.")
False
>>> agrees("不得扣押身份证", "用人单位不得扣押劳动者的身份证。")
True

The sign is compared twice. Each part of the sentence (parts end at commas) is laid beside the part of the clause that
says most of it; the items of a list share the sign of the line that opens it. And what stands behind a no on one side
must not stand on the other without one: "不适用死刑" speaks against "可以适用死刑" wherever it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from deepseek.citations.corpus.amounts import find_amounts
from deepseek.citations.retrieval.bm25 import extract_terms
from deepseek.citations.support.antonyms import names_antonym

#: Parts that share less of their terms say nothing about each other's sign.
MIN_COMMON_SHARE = 0.4
#: A part of so many terms must have this share of them in the quote.
LONG_PART_TERMS, MIN_PART_SHARE = 4, 0.4
_PART = re.compile(r"[，,。；;：:！？!?\n]+|\.(?:\s|$)")
#: Words in which a no is no no, and bounds: "must not exceed 20 years" and "at most 20 years" are one.
_NOT_NEGATION = re.compile(
    r"不动产|不可抗力|不当得利|不当|不良|不特定|不定期|不断|不同|不记名|不明|不正当|不法|不足|不满|未满|未成年|没收|不仅|除外"
    r"|无偿|无固定|无限|无民事|无形|无论|无记名|无期|无线|不以|不论"
    r"|(?:不得|不能|不可|不应|不)(?:超过|超出|少于|低于|高于|早于|晚于)"
    r"|\bnot (?:more|less|later|earlier) than|\bnot exceed\w*|\bnot only|\bnotwithstanding",
    re.IGNORECASE,
)
_NEGATION = re.compile(
    r"不|未|无|禁止|严禁|没有|\b(?:not|no|never|neither|nor|without|prohibited|forbidden|void|illegal)\b|n't\b",
    re.IGNORECASE,
)
#: A no and what follows at once: two Chinese letters, or a word.
_NEGATED_HEAD = re.compile(
    r"(?:不得|不能|不可|不应|不予|禁止|没有|无须|无需|不|未|无)(?:以任何形式)?([一-鿿]{2})"
    r"|\b(?:not|no|never|without)\s+(?:be\s+)?(\w{4,})",
    re.IGNORECASE,
)
#: What is allowed is not said by what is ordered or forbidden.
_PERMISSION = re.compile(r"可以|允许|有权|可自|\bmay\b(?! not)|\bis (?:allowed|permitted|entitled)\b", re.IGNORECASE)
#: A clause about what is done to those who break a rule does not say that the rule is to be broken.
_PENALTY_CLAUSE = re.compile(
    r"(?:有下列[^。：]{0,12}之一|违反本[法条例]|违反[^。，]{0,20}规定)[^。]*(?:责令|罚款|处分|吊销|警告)"
)
_PENALTY_WORDS = re.compile(r"罚|处|责令|责任|刑|吊销|没收|警告|违反")
#: A clause that does not say them does not support a sentence that does.
_ABSOLUTES = re.compile(
    r"任何|任意|一律|只|仅|才|随时|自由|全部|永久|所有|\b(?:any|all|every|only|always|solely|exclusively)\b",
    re.IGNORECASE,
)


def agrees(sentence: str, quoted: str) -> bool:
    """Whether nothing in what is quoted of a clause speaks against the sentence."""
    return (
        _has_amounts(sentence, quoted)
        and _has_parts(sentence, quoted)
        and {word.casefold() for word in _ABSOLUTES.findall(sentence)}
        <= {word.casefold() for word in _ABSOLUTES.findall(quoted)}
        and not (_PERMISSION.search(sentence) and not _PERMISSION.search(quoted))
        and not (_PENALTY_CLAUSE.search(quoted) and not _PENALTY_WORDS.search(sentence))
        and _same_signs(sentence, quoted)
        and not _only_denied(quoted, sentence)
        and not _only_denied(sentence, quoted)
        and names_antonym(sentence, quoted) is None
    )


def _has_parts(sentence: str, quoted: str) -> bool:
    """Whether no part of the sentence is without support: the last one often says what follows from the others."""
    quoted_terms = _compared_terms(quoted)
    for part, _ in _signed_parts(sentence):
        part_terms = _compared_terms(part)
        if len(part_terms) >= LONG_PART_TERMS and len(part_terms & quoted_terms) < MIN_PART_SHARE * len(part_terms):
            return False
    return True


def _only_denied(text: str, other: str) -> bool:
    """Whether something is denied each time that `text` says it, and `other` says it without a no.

    >>> _only_denied("怀孕的妇女，不适用死刑", "怀孕的妇女可以适用死刑")
    True
    """
    affirmed, plain = _affirmed_text(text), _affirmed_text(other)
    heads = {match[1] or match[2] for match in _NEGATED_HEAD.finditer(_NOT_NEGATION.sub("", text))}
    return any(head in plain and head not in affirmed for head in heads)


def _affirmed_text(text: str) -> str:
    """A text without what stands behind a no, up to the end of its part."""
    kept = []
    for part, no in _signed_parts(text):
        match = _NEGATION.search(_NOT_NEGATION.sub("", part)) if no else None
        kept.append(part if not no else _NOT_NEGATION.sub("", part)[: match.start()] if match else "")
    return "\n".join(kept)


def denies(text: str) -> bool:
    """Whether something is denied or forbidden.

    >>> denies("不得转让"), denies("转让不动产"), denies("不得超过二十年"), denies("It shall not be shared")
    (True, False, False, True)
    """
    return _NEGATION.search(_NOT_NEGATION.sub("", text)) is not None


def _has_amounts(sentence: str, clause: str) -> bool:
    clause_amounts = find_amounts(clause)
    for value, unit, side in find_amounts(sentence):
        if not any(
            value == other and (unit == its or not unit) and (side == way or not side or not way)
            for other, its, way in clause_amounts
        ):
            return False
    return True


def _same_signs(sentence: str, clause: str) -> bool:
    clause_parts = [(_compared_terms(part), sign) for part, sign in _signed_parts(clause)]
    for part, sign in _signed_parts(sentence):
        terms = _compared_terms(part)
        # First how much of the sentence's part is there, then how little else.
        near = [(len(terms & other) / len(terms), -len(other), its) for other, its in clause_parts if terms]
        best = max((likeness[:2] for likeness in near), default=(0.0, 0))
        if best[0] >= MIN_COMMON_SHARE and sign not in [its for share, size, its in near if (share, size) == best]:
            return False
    return True


def _signed_parts(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each part of a text, and whether it is denied."""
    opening = False
    for line_number, line in enumerate(text.split("\n")):
        pieces = [piece for piece in _PART.split(line) if piece.strip()]
        for piece in pieces:
            yield piece, denies(piece) or (line_number > 0 and opening)
        if line_number == 0:
            opening = bool(pieces) and line.rstrip().endswith(("：", ":")) and denies(pieces[-1])


def _compared_terms(text: str) -> set[str]:
    """Pairs of Chinese letters and English words."""
    return {term for term in extract_terms(text) if len(term) > 1}
