"""What a sentence or a clause lays down, read by its signal words: who must, may or must not, and under which condition.

>>> [(part.mode, part.role) for part in read_parts("If the term ends, the lessee must not stay without consent.")]
[('is', 'condition'), ('forbid', 'main'), ('is', 'without')]

A text is cut into parts at punctuation and, in English, before the words that open a subordinate clause. A part is
main, a condition (if, where, who ...), an exception (unless, except ...) or what something is done without. No grammar
is parsed: the signal words are those that laws and contracts use in Chinese and in English.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from deepseek.citations.retrieval.bm25 import extract_terms, stem

Mode = Literal["must", "may", "forbid", "free", "not", "is"]
Role = Literal["main", "condition", "exception", "without"]
#: Modes in which something is denied, forbidden, or need not be done.
NEGATIVE_MODES = frozenset(("forbid", "free", "not"))
MIN_ROOT_CHARS = 4
TERM_CHARS = 6  # by which English words are compared: transfer, transferred

_OPENING = (
    r"(?:if|where|when|while|unless|except|without|who|whose|whom|which|that|because|until|so that|but|provided that|"
    r"regardless of|irrespective of|only|in case|as long as|other than|also)"
)
_CUT = re.compile(
    rf"[;:!?\n]+|,(?!\d)|\.(?:\s|$)|[，。；：！？]+|\s(?={_OPENING}\b)|\s(?=and (?:must|shall|may|can|is|are|has|have|need|does|do"
    rf"|nobody|no one|will)\b)",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    r"\s*(?:once|if|where|when|while|who|whose|whom|which|that|because|in case|as long as)\b", re.IGNORECASE
)
_MODAL = re.compile(r"\b(?:shall|must|may|cannot|can|need not)\b", re.IGNORECASE)
_AND = re.compile(r"\s*(?:and|or|but)\b", re.IGNORECASE)
RELATIVE_CHARS = 7  # in which the verb of a relative clause may stand at once: "who is ..."
_RELATIVE = re.compile(r"\s*(?:who|which|that)\b", re.IGNORECASE)
#: A piece behind a comma that has its own verb is no further item of an enumeration.
_VERB = re.compile(
    r"\b(?:shall|must|may|can|cannot|need|will|is|are|was|were|be|has|have|had|does|do|did|bears?|loses?|keeps?|becomes?|owes?"
    r"|pays?|takes?|gives?|lasts?|ends?|belongs?|gets?|needs?|requires?|applies|apply)\b",
    re.IGNORECASE,
)
ENUMERATED_WORDS = 9  # at most, in an item of an enumeration in a sentence
_EXCEPTION = re.compile(
    r"\s*(?:unless|except|other than|provided that|notwithstanding)\b|.*除外|\s*除.*外|.*另有(?:规定|约定)",
    re.IGNORECASE,
)
_WITHOUT = re.compile(
    r"\s*(?:without|regardless of|irrespective of)\b|\s*(?:未经|非经|未取得|未获|不经)", re.IGNORECASE
)

#: Nothing is denied by these.
_NO_DENIAL = re.compile(
    r"\bnot (?:only|later|more|less|earlier|fewer|lower|higher|younger|older|shorter|longer)\b|\bno (?:later|more|less|fewer"
    r"|earlier|lower|higher|longer|younger) than\b|\b(?:must|shall|may|can|do(?:es)?) not (?:be (?:less|more|lower|higher"
    r"|younger|older|earlier|later|shorter|longer)|exceed)\b"
    r"|\bwhether or not\b|\bno matter\b"
    r"|不动产|不可抗力|不当得利|不当|不良|不特定|不定期|不断|不同|不记名|不明|不正当|不法|不足|不满|未满|未成年|没收|不仅"
    r"|无偿|无固定|无限|无民事|无形|无论|无记名|无期|无线|不以|不论"
    r"|(?:不得|不能|不可|不应|不)(?:超过|超出|少于|低于|高于|早于|晚于)",
    re.IGNORECASE,
)
_MODES: tuple[tuple[Mode, re.Pattern[str]], ...] = (
    (
        "free",
        re.compile(
            r"\bneed not\b|\bneeds? no\b|\b(?:is|are) not (?:obliged|required|bound|necessary|needed)\b"
            r"|\b(?:do|does) not (?:have to|need|require)\b|\bhas? not to\b|\bno (?:\w+ ){1,5}(?:has to|have to|is (?:needed|required"
            r"|necessary)|needs? to)\b|\bexempt(?:ed)? from\b|\bno (?:duty|obligation|need)\b"
            r"|可以不|可不|不必|无需|无须|不需要|不用|(?:没有|不负有?|无)(?:义务|责任)",
            re.IGNORECASE,
        ),
    ),
    (
        "forbid",
        re.compile(
            r"\b(?:must|may|shall|can|should|will) (?:not|never)\b|\bcannot\b|\bcan't\b|\b(?:is|are|be) (?:\w+ )?(?:prohibited"
            r"|forbidden|banned|barred)\b|\b(?:prohibit|forbid|ban)s?\b|\bnot (?:be )?(?:allowed|permitted|entitled|eligible)\b"
            r"|\b(?:nobody|nothing|no one|none|neither|nor|no(?! right)(?: \w+){1,4})(?: \w+){0,5}? (?:may|shall|must|can|is|are)\b"
            r"|\bno right\b|\bis off limits\b|\bno longer (?:may|can)\b"
            r"|不得|不能|不可以|不可|不应|禁止|严禁|不准|不允许|无权|没有权利|不予",
            re.IGNORECASE,
        ),
    ),
    ("may", re.compile(
        r"\b(?:may|can|could)\b|\b(?:is|are|be) (?:\w+ )?(?:allowed|permitted|entitled|free to)\b|\bha(?:s|ve) the (?:\w+ )?right\b"
        r"|\b(?:permit|allow)s?\b|\bis (?:enough|sufficient)\b|\bsuffices\b|可以|允许|有权|可自|都可|也可|享有",
        re.IGNORECASE,
    )),
    ("must", re.compile(
        r"\b(?:must|shall|should)\b|\b(?:has|have|is|are) (?:\w+ )?to\b|\b(?:is|are) (?:obliged|required|bound)\b|\b(?:require|need|owe)s?\b"
        r"|应当|必须|应该|需要|须|有义务|有责任|负有",
        re.IGNORECASE,
    )),
    ("not", re.compile(
        r"\b(?:not|never|no|neither|nor)\b|n't\b|不|没有|未|无(?!权)", re.IGNORECASE
    )),
)  # fmt: skip
_REVERSING = re.compile(
    r"\b(?:refuse|reject)(?:s|d|ed|ing)?\b|\b(?:decline|fail|omit|refrain)(?:s|d|ed|ing)? (?:to|from)\b"
    r"|\bconstrued (?:to|as) (?:limit|prevent|restrict|prohibit|preclud)\w*|拒绝",
    re.IGNORECASE,
)
_REVERSED: dict[Mode, Mode] = {
    "may": "free",
    "forbid": "must",
    "must": "forbid",
    "is": "not",
    "not": "is",
    "free": "may",
}
#: Words that carry a sign, a limit or nothing, and so do not say what a text is about.
_FUNCTION_WORDS = frozenset(
    stem(word)
    for word in (
        "a an the of to in on at by for from with as and or if where when while unless except without who whose whom which that this "
        "these those it its is are be been being was were has have had do does did must shall may can could should will would not no "
        "never nobody anybody none neither nor either any all every each only solely exclusively than more less most least up also own "
        "such so there one another other others else person need needs under above below within after before into out over "
        "prohibited forbidden allowed permitted permit allow prohibit entitled right obliged required require bound freely everyone "
        "becomes become enough sufficient anyone always ever their his her they he she them him case cases way like "
        "cannot once twice given two three four five six seven eight nine ten eleven twelve fifteen sixteen eighteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand percent during"
    ).split()
)
#: Verbs that say little of what is done: make a contract, conclude a contract.
_LIGHT_VERBS = frozenset("make conclu enter carry carr perfor take get give have obtain".split())
_CUES_ZH = re.compile(
    r"可以|不得|应当|必须|应该|需要|允许|禁止|严禁|有权|无权|不必|无需|无须|任何|一律|随时|自由|只有|只能|仅|的|了|和|或者|以及|其|该|本法|不能|不可以|可"
    r"|第[一二三四五六七八九十百千\d]+[条款项]|不|未经|未|没有|无"
)
_SYNONYMS = {
    stem(word): group[0]
    for group in (
        ("lessor", "landlord"), ("lessee", "tenant", "renter"), ("worker", "employee", "staff"), ("employer", "employers"),
        ("purchase", "buy", "bought", "buyer", "purchaser"), ("sell", "sale", "sold", "sells", "selling"),
        ("loan", "lend", "lent", "lending", "loans", "lends"), ("marry", "marriage", "marries", "married"),
        ("pay", "payment", "paid", "pays"), ("lawful", "legal"), ("wage", "salary", "wages"), ("month", "monthly"),
        ("valid", "validity"), ("age", "aged"), ("disclose", "disclosure"), ("keep", "retain", "kept", "retention"),
        ("delete", "deletion", "erase", "destroy"), ("consent", "approval", "permission"), ("inform", "notify", "notice"),
        ("send", "sent"), ("give", "given"), ("make", "made"), ("take", "taken"), ("hold", "held"), ("write", "written"),
        ("choose", "chosen"), ("withhold", "withheld"), ("withdraw", "withdrawn"), ("bear", "borne"), ("find", "found"),

    )
    for word in group
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a text: text[start:end]."""

    text: str
    mode: Mode
    role: Role
    terms: frozenset[str]
    cue: str  # the words that gave the mode; "" for "is"

    @property
    def negative(self) -> bool:
        return self.mode in NEGATIVE_MODES

    @property
    def subject(self) -> str:
        """What stands before the signal word; the whole part where there is none."""
        return self.text.partition(self.cue)[0] if self.cue else self.text

    @property
    def predicate(self) -> frozenset[str]:
        """The terms behind the signal word; none where there is no such word, or nothing behind it."""
        return topic_terms(self.text.partition(self.cue)[2]) - _LIGHT_VERBS if self.cue else frozenset()

    @property
    def heads(self) -> frozenset[str]:
        """The first English term behind the signal word that says what is done."""
        behind = self.text.partition(self.cue)[2] if self.cue else ""
        words = [term for term in topic_words(behind) if term not in _LIGHT_VERBS and term < "㐀"]
        return frozenset(words[:1])


def topic_words(text: str) -> dict[str, str]:
    """What a text is about: its terms without those that carry a sign, a limit or nothing, as they are compared, each
    with the term of bm25.py that it is written as."""
    words: dict[str, str] = {}
    for term in extract_terms(_CUES_ZH.sub(" ", text)):
        if term[0] >= "㐀":
            if len(term) > 1:
                words[term] = term
        elif term.isalpha() and term not in _FUNCTION_WORDS and len(term) > 1:
            words[_SYNONYMS.get(term) or _root(term)] = term
    return words


def _root(term: str) -> str:
    """A stem by which forms of a word compare equal: change and changes, transfer and transferred."""
    return (term[:-1] if term[-1] in "ey" and len(term) > MIN_ROOT_CHARS else term)[:TERM_CHARS]


def topic_terms(text: str) -> frozenset[str]:
    """The terms of topic_words().

    >>> sorted(topic_terms("The landlord may not transfer it"))
    ['lessor', 'transf']
    """
    return frozenset(topic_words(text))


def read_parts(text: str) -> list[Part]:
    """The parts of a text in their order. The items of a list share the mode of the line that opens it."""
    parts: list[Part] = []
    opening: Part | None = None
    for number, line in enumerate(text.split("\n")):
        of_line = list(_line_parts(line))
        if number and opening is not None:
            of_line = [
                Part(each.text, opening.mode, each.role, each.terms, opening.cue) if each.mode == "is" else each
                for each in of_line
            ]
        if number == 0 and line.rstrip().endswith(("：", ":")) and of_line:
            opening = next((each for each in reversed(of_line) if each.role == "main"), None)
        parts += of_line
    return parts


def _line_parts(line: str) -> Iterator[Part]:
    pieces = _join_enumerations(line)
    for number, (piece, separator) in enumerate(pieces):
        role = _role(piece)
        behind = pieces[number + 1][0] if number + 1 < len(pieces) else ""
        modal = None
        if role == "condition" and _RELATIVE.match(piece):
            modals = [match for match in _VERB.finditer(piece) if match.start() > RELATIVE_CHARS]
            modal = modals[-1] if modals else None
        elif role == "condition" and (
            separator != "," or _AND.match(behind)
        ):  # no comma: "When hiring a worker an employer must not ..."
            modal = _MODAL.search(piece)
        if modal:  # "who commits fraud | shall pay"
            yield _make_part(piece[: modal.start()], "condition")
            yield _make_part(piece[modal.start() :], "main")
        else:
            yield _make_part(piece, role)


def _join_enumerations(line: str) -> list[tuple[str, str]]:
    """The pieces between cuts, each with what cuts it off; "the flag, the anthem, or words" stay with the verb before
    them."""
    pieces: list[tuple[str, str]] = []
    start = 0
    for match in [*_CUT.finditer(line), None]:
        end, separator = (match.start(), match[0]) if match else (len(line), "")
        piece = line[start:end]
        if any(letter.isalnum() for letter in piece):
            before = pieces[-1] if pieces else ("", "")
            if before[1] == "," and _role(before[0]) == "main" and _VERB.search(before[0]) and _is_item(piece):
                pieces[-1] = (f"{before[0]},{piece}", separator)
            else:
                pieces.append((piece, separator))
        start = match.end() if match else end
    return pieces


def _is_item(piece: str) -> bool:
    """Whether a piece may be a further item of an enumeration: short English without a verb."""
    short = piece.isascii() and len(piece.split()) <= ENUMERATED_WORDS
    return short and not _VERB.search(piece) and _role(piece) == "main"


def _role(piece: str) -> Role:
    if _WITHOUT.match(piece):
        return "without"
    if _EXCEPTION.match(piece):
        return "exception"
    return "condition" if _CONDITION.match(piece) else "main"


def _make_part(piece: str, role: Role) -> Part:
    mode, cue = ("is", "") if role == "without" else read_mode(piece)
    return Part(piece.strip(), mode, role, topic_terms(piece), cue)


def read_mode(text: str) -> tuple[Mode, str]:
    """What a part lays down, and the words that say so.

    >>> read_mode("nobody may enter")[0], read_mode("it need not be signed")[0], read_mode("it lasts a year")[0]
    ('forbid', 'free', 'is')
    """
    plain = _NO_DENIAL.sub(" ", text)
    for mode, pattern in _MODES:
        if match := pattern.search(plain):
            reverse = _REVERSING.search(plain)
            return (_REVERSED[mode], f"{match[0]} {reverse[0]}") if reverse else (mode, match[0])
    return "is", ""
