"""The words by which laws and contracts say who must, may or must not, and under which condition: Chinese and English.

They are the usual phrases of drafting, tried on the tuning sentences of benchmarks/citations_opposites.py.
"""

from __future__ import annotations

import re
from typing import Literal

from deepseek.citations.retrieval.bm25 import stem

Mode = Literal["must", "may", "forbid", "free", "not", "is"]
#: Modes in which something is denied, forbidden, or need not be done.
NEGATIVE_MODES: frozenset[Mode] = frozenset(("forbid", "free", "not"))


def _either(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


def _word(*words: str) -> str:
    return rf"\b(?:{'|'.join(words)})\b"


_MODALS = ("must", "shall", "may", "can", "is", "are")
#: Where a part of a text ends: punctuation, what opens a subordinate clause, and "and" before a further verb.
CUT = _either(
    r"[;:!?\n]+",
    r",(?!\d)",
    r"\.(?:\s|$)",
    r"[，。；：！？]+",
    r"\s(?=" + _word(
        "if", "where", "when", "while", "unless", "except", "without", "who", "whose", "whom", "which", "that",
        "because", "until", "so that", "but", "provided that", "regardless of", "irrespective of", "only", "in case",
        "as long as", "other than", "also",
    ) + ")",
    r"\s(?=and " + _word(*_MODALS, "has", "have", "need", "does", "do", "nobody", "no one", "will") + ")",
)  # fmt: skip
CONDITION = _either(
    r"\s*"
    + _word(
        "once", "if", "where", "when", "while", "who", "whose", "whom", "which", "that", "because", "in case",
        "as long as",
    )
)  # fmt: skip
RELATIVE = _either(r"\s*" + _word("who", "which", "that"))
EXCEPTION = _either(
    r"\s*" + _word("unless", "except", "other than", "provided that", "notwithstanding"),
    r".*除外",
    r"\s*除.*外",
    r".*另有(?:规定|约定)",
)
WITHOUT = _either(r"\s*" + _word("without", "regardless of", "irrespective of"), r"\s*(?:未经|非经|未取得|未获|不经)")
MODAL = _either(_word("shall", "must", "may", "cannot", "can", "need not"))
AND = _either(r"\s*" + _word("and", "or", "but"))
#: A piece behind a comma that has its own verb is no further item of an enumeration.
VERB = _either(
    _word(
        *_MODALS, "cannot", "need", "will", "was", "were", "be", "has", "have", "had", "does", "do", "did", "bears?",
        "loses?", "keeps?", "becomes?", "owes?", "pays?", "takes?", "gives?", "lasts?", "ends?", "belongs?", "gets?",
        "needs?", "requires?", "applies", "apply",
    )
)  # fmt: skip

_COMPARED = "(?:less|more|lower|higher|younger|older|earlier|later|shorter|longer|fewer)"
#: Nothing is denied by these: bounds, and words with a no in them.
NO_DENIAL = _either(
    rf"\bnot (?:only|{_COMPARED})\b",
    rf"\bno {_COMPARED} than\b",
    rf"\b(?:must|shall|may|can|does|do) not (?:be {_COMPARED}|exceed)\b",
    r"\bwhether or not\b",
    r"\bno matter\b",
    "不动产|不可抗力|不当得利|不当|不良|不特定|不定期|不断|不同|不记名|不明|不正当|不法|不足|不满|未满|未成年|没收|不仅",
    "无偿|无固定|无限|无民事|无形|无论|无记名|无期|无线|不以|不论",
    "(?:不得|不能|不可|不应|不)(?:超过|超出|少于|低于|高于|早于|晚于)",
)
MODES: tuple[tuple[Mode, re.Pattern[str]], ...] = (
    ("free", _either(
        r"\bneed not\b", r"\bneeds? no\b", r"\bexempt(?:ed)? from\b", r"\bno (?:duty|obligation|need)\b",
        r"\b(?:is|are) not (?:obliged|required|bound|necessary|needed)\b",
        r"\b(?:do|does) not (?:have to|need|require)\b",
        r"\bno (?:\w+ ){1,5}(?:has to|have to|is (?:needed|required|necessary)|needs? to)\b",
        "可以不|可不|不必|无需|无须|不需要|不用|(?:没有|不负有?|无)(?:义务|责任)",
    )),
    ("forbid", _either(
        r"\b(?:must|may|shall|can|should|will) (?:not|never)\b", r"\bcannot\b", r"\bcan't\b", r"\bno right\b",
        r"\b(?:is|are|be) (?:\w+ )?(?:prohibited|forbidden|banned|barred)\b", r"\b(?:prohibit|forbid|ban)s?\b",
        r"\bnot (?:be )?(?:allowed|permitted|entitled|eligible)\b", r"\bis off limits\b", r"\bno longer (?:may|can)\b",
        r"\b(?:is|are) (?:an offence|an offense|a crime|punishable|punished)\b", r"\b(?:is|are) denied\b",
        r"\bin no (?:way|event|case|circumstances)\b",
        r"\b(?:nobody|nothing|no one|none|neither|nor|no(?! right)(?: \w+){1,4})(?: \w+){0,5}? "
        + _word(*_MODALS),
        "不得|不能|不可以|不可|不应|禁止|严禁|不准|不允许|无权|没有权利|不予",
    )),
    ("may", _either(
        r"\b(?:may|can|could)\b", r"\b(?:is|are|be) (?:\w+ )?(?:allowed|permitted|entitled|free to)\b",
        r"\bha(?:s|ve) the (?:\w+ )?right\b", r"\b(?:permit|allow)s?\b", r"\bis (?:enough|sufficient)\b",
        r"\bsuffices\b",
        "可以|允许|有权|可自|都可|也可|享有",
    )),
    ("must", _either(
        r"\b(?:must|shall|should)\b", r"\b(?:has|have|is|are) (?:\w+ )?to\b",
        r"\b(?:is|are) (?:obliged|required|bound)\b", r"\b(?:require|need|owe)s?\b",
        "应当|必须|应该|需要|须|有义务|有责任|负有",
    )),
    ("not", _either(r"\b(?:not|never|no|neither|nor)\b", r"n't\b", "不|没有|未|无(?!权)")),
)  # fmt: skip
#: Who refuses to do something does not do it.
REVERSING = _either(
    r"\b(?:refuse|reject)(?:s|d|ed|ing)?\b",
    r"\b(?:decline|fail|omit|refrain)(?:s|d|ed|ing)? (?:to|from)\b",
    r"\bconstrued (?:to|as) (?:limit|prevent|restrict|prohibit|preclud)\w*",
    "拒绝",
)
REVERSED: dict[Mode, Mode] = {
    "may": "free", "forbid": "must", "must": "forbid", "is": "not", "not": "is", "free": "may",
}  # fmt: skip

_FUNCTION_TEXT = """
a an the of to in on at by for from with as and or if where when while unless except without who whose whom which that
this these those it its is are be been being was were has have had do does did must shall may can could should will
would not no never nobody anybody none neither nor either any all every each only solely exclusively than more less most
least up also own such so there one another other others else person need needs under above below within after before
into out over prohibited forbidden allowed permitted allow prohibit entitled right obliged required require bound
freely everyone becomes become enough sufficient anyone always ever their his her their they he she them him case cases
way like cannot once twice given two three four five six seven eight nine ten eleven twelve fifteen sixteen eighteen
twenty thirty forty fifty sixty seventy eighty ninety hundred thousand percent during subject
"""
#: Words that carry a sign, a limit or nothing, and so do not say what a text is about.
FUNCTION_WORDS = frozenset(stem(word) for word in _FUNCTION_TEXT.split())
CHINESE_FUNCTION_WORDS = re.compile(
    "可以|不得|应当|必须|应该|需要|允许|禁止|严禁|有权|无权|不必|无需|无须|任何|一律|随时|自由|只有|只能|仅|的|了|和|或者|以及|其|该"
    "|本法|不能|不可以|可|第[一二三四五六七八九十百千\\d]+[条款项]|不|未经|未|没有|无"
)
#: Verbs that say little of what is done (make a contract, conclude a contract), as topic_terms() has them.
LIGHT_VERBS = frozenset(("make", "conclu", "enter", "carr", "perfor", "take", "get", "give", "have", "obtain"))
_GROUPS = (
    ("lessor", "landlord"), ("lessee", "tenant", "renter"), ("worker", "employee", "staff"), ("employer", "employers"),
    ("purchase", "buy", "bought", "buyer", "purchaser"), ("sell", "sale", "sold", "sells", "selling"),
    ("loan", "lend", "lent", "lending", "loans", "lends"), ("marry", "marriage", "marries", "married"),
    ("pay", "payment", "paid", "pays"), ("lawful", "legal"), ("wage", "salary", "wages"), ("month", "monthly"),
    ("valid", "validity"), ("age", "aged"), ("disclose", "disclosure"), ("keep", "retain", "kept", "retention"),
    ("delete", "deletion", "erase", "destroy"), ("consent", "approval", "permission"), ("inform", "notify", "notice"),
    ("send", "sent"), ("give", "given"), ("make", "made"), ("take", "taken"), ("hold", "held"), ("write", "written"),
    ("choose", "chosen"), ("withhold", "withheld"), ("withdraw", "withdrawn"), ("bear", "borne"),
)  # fmt: skip
#: A stem -> the word that stands for it and for what means the same.
SYNONYMS = {stem(word): group[0] for group in _GROUPS for word in group}
