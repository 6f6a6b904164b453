"""What a sentence or a clause lays down, read by its signal words: who must, may or must not, and when.

>>> [(part.mode, part.role) for part in read_parts("If the term ends, the lessee must not stay without consent.")]
[('is', 'condition'), ('forbid', 'main'), ('is', 'without')]

A text is cut into parts at punctuation and, in English, before the words that open a subordinate clause. A part is
main, a condition (if, where, who ...), an exception (unless, except ...) or what something is done without. No grammar
is parsed: the signal words are those that laws and contracts use in Chinese and in English.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from deepseek.citations.retrieval.bm25 import extract_terms
from deepseek.citations.support import signal_words
from deepseek.citations.support.signal_words import NEGATIVE_MODES, Mode

Role = Literal["main", "condition", "exception", "without"]
MIN_ROOT_CHARS = 4
TERM_CHARS = 6  # by which English words are compared: transfer, transferred
CACHED_TEXTS = 8_192  # the same clauses are nearest to many sentences of a draft
RELATIVE_CHARS = 7  # in which the verb of a relative clause may stand at once: "who is ..."
ENUMERATED_WORDS = 9  # at most, in an item of an enumeration in a sentence


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a text: text[start:end]."""

    text: str
    mode: Mode
    role: Role
    terms: frozenset[str]
    cue: str = ""  # the words that gave the mode; "" for "is"
    subject: str = ""  # what stands before them; the whole part where there are none
    behind: str = ""  # what stands behind them

    @property
    def negative(self) -> bool:
        return self.mode in NEGATIVE_MODES

    @property
    def predicate(self) -> frozenset[str]:
        """The terms behind the signal words that say what is done."""
        return topic_terms(self.behind) - signal_words.LIGHT_VERBS

    @property
    def heads(self) -> frozenset[str]:
        """The first of them in English."""
        words = [term for term in topic_words(self.behind) if term not in signal_words.LIGHT_VERBS and term < "㐀"]
        return frozenset(words[:1])


def topic_words(text: str) -> dict[str, str]:
    """What a text is about: its terms without those that carry a sign, a limit or nothing, as they are compared, each
    with the term of bm25.py that it is written as."""
    words: dict[str, str] = {}
    for term in extract_terms(signal_words.CHINESE_FUNCTION_WORDS.sub(" ", text)):
        if term[0] >= "㐀":
            if len(term) > 1:
                words[term] = term
        elif term.isalpha() and term not in signal_words.FUNCTION_WORDS and len(term) > 1:
            words[signal_words.SYNONYMS.get(term) or _root(term)] = term
    return words


def _root(term: str) -> str:
    """A stem by which forms of a word compare equal: change and changes, transfer and transferred."""
    return (term[:-1] if term[-1] in "ey" and len(term) > MIN_ROOT_CHARS else term)[:TERM_CHARS]


@lru_cache(maxsize=CACHED_TEXTS)
def topic_terms(text: str) -> frozenset[str]:
    """The terms of topic_words().

    >>> sorted(topic_terms("The landlord may not transfer it"))
    ['lessor', 'transf']
    """
    return frozenset(topic_words(text))


@lru_cache(maxsize=CACHED_TEXTS)
def read_parts(text: str) -> tuple[Part, ...]:
    """The parts of a text in their order. The items of a list share the mode of the line that opens it."""
    parts: list[Part] = []
    opening: Part | None = None
    for number, line in enumerate(text.split("\n")):
        of_line = list(_line_parts(line))
        if number and opening is not None:
            of_line = [
                replace(each, mode=opening.mode, cue=opening.cue, behind=each.text) if each.mode == "is" else each
                for each in of_line
            ]
        if number == 0 and line.rstrip().endswith(("：", ":")) and of_line:
            opening = next((each for each in reversed(of_line) if each.role == "main"), None)
        parts += of_line
    return tuple(parts)


def _line_parts(line: str) -> Iterator[Part]:
    pieces = _join_enumerations(line)
    for number, (piece, separator) in enumerate(pieces):
        role = _role(piece)
        behind = pieces[number + 1][0] if number + 1 < len(pieces) else ""
        modal = None
        if role == "condition" and signal_words.RELATIVE.match(piece):
            modals = [match for match in signal_words.VERB.finditer(piece) if match.start() > RELATIVE_CHARS]
            modal = modals[-1] if modals else None
        elif role == "condition" and (
            separator != "," or signal_words.AND.match(behind)
        ):  # no comma: "When hiring a worker an employer must not ..."
            modal = signal_words.MODAL.search(piece)
        if role == "without" and (
            verb := signal_words.MODAL.search(piece)
        ):  # no comma: "Without a permit one must not"
            yield _make_part(piece[: verb.start()], "without")
            yield _make_part(piece, "main")
        elif modal:  # "who commits fraud | shall pay"
            yield _make_part(piece[: modal.start()], "condition")
            yield _make_part(piece[modal.start() :], "main")
        else:
            yield _make_part(piece, role)


def _join_enumerations(line: str) -> list[tuple[str, str]]:
    """The pieces between cuts, each with what cuts it off; "the flag, the anthem, or words" stay with the verb before
    them."""
    pieces: list[tuple[str, str]] = []
    start = 0
    for match in [*signal_words.CUT.finditer(line), None]:
        end, separator = (match.start(), match[0]) if match else (len(line), "")
        piece = line[start:end]
        if any(letter.isalnum() for letter in piece):
            before = pieces[-1] if pieces else ("", "")
            if (
                before[1] == ","
                and _role(before[0]) == "main"
                and signal_words.VERB.search(before[0])
                and _is_item(piece)
            ):
                pieces[-1] = (f"{before[0]},{piece}", separator)
            else:
                pieces.append((piece, separator))
        start = match.end() if match else end
    return pieces


def _is_item(piece: str) -> bool:
    """Whether a piece may be a further item of an enumeration: short English without a verb."""
    short = piece.isascii() and len(piece.split()) <= ENUMERATED_WORDS
    return short and not signal_words.VERB.search(piece) and _role(piece) == "main"


def _role(piece: str) -> Role:
    if signal_words.WITHOUT.match(piece):
        return "without"
    if signal_words.EXCEPTION.match(piece):
        return "exception"
    return "condition" if signal_words.CONDITION.match(piece) else "main"


def _make_part(piece: str, role: Role) -> Part:
    terms = topic_terms(piece)
    mode, start, end = _find_mode(piece) if role != "without" else ("is", 0, 0)
    if mode == "is":
        return Part(piece.strip(), "is", role, terms, subject=piece)
    return Part(piece.strip(), mode, role, terms, piece[start:end], piece[:start], piece[end:])


def read_mode(text: str) -> Mode:
    """What a part lays down.

    >>> read_mode("nobody may enter"), read_mode("it need not be signed"), read_mode("it lasts a year")
    ('forbid', 'free', 'is')
    """
    return _find_mode(text)[0]


def _find_mode(text: str) -> tuple[Mode, int, int]:
    """(mode, start, end of the words that say so)."""
    plain = signal_words.NO_DENIAL.sub(lambda match: " " * len(match[0]), text)
    for mode, pattern in signal_words.MODES:
        if match := pattern.search(plain):
            if reverse := signal_words.REVERSING.search(plain):
                start, end = min(match.start(), reverse.start()), max(match.end(), reverse.end())
                return signal_words.REVERSED[mode], start, end
            return mode, match.start(), match.end()
    return "is", 0, 0
