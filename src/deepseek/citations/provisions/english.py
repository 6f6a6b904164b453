"""Provisions of English rules by their signal words: shall, must, may not, is entitled to, agrees not to.

A signal word counts where what it governs is somebody's conduct: "shall mean", "shall be governed by" and "will be
deemed" lay down nothing. What stands before it is its subject, and clauses that open with if, where, upon, unless or
without are its condition (english_subject.py). "will" does not decide: those are left to the model (model.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from deepseek.citations.provisions import english_words as signals
from deepseek.citations.provisions.english_subject import conditions_of, next_subject, subject_of
from deepseek.citations.provisions.provision import Kind, Provision, Span
from deepseek.citations.provisions.segments import Segment, mask_quotes, split_segments

_MUST = re.compile(r"(?:shall|will|must)\b")
_KINDS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("prohibition", signals.PROHIBITION), ("permission", signals.PERMISSION), ("obligation", signals.OBLIGATION),
)  # fmt: skip
_RELATIVE = re.compile(
    r"\b(?:which|who|whom|that\s+is|what|how|whether|as)\s+(?:[\w'’/-]+\s+){0,4}$"
    r"|\bas\s+(?:it|they|you|we|he|she)\s[^,;]{0,40}$",
    signals.CASELESS,
)
_IN_WHICH = re.compile(r"\bin\s+which\s+(?:event|case)\b[^,]*$", signals.CASELESS)
_RELATIVE_PASSIVE = re.compile(
    r"\b(?:(?:that|which|who|as)\s+(?:\w+\s+){0,3}|(?:may|can|could|might|would|will|shall|must)\s+(?:\w+ly\s+)?)$",
    signals.CASELESS,
)
_IN_NO_EVENT = re.compile(r"\b(?:in\s+no\s+(?:event|case)|under\s+no\s+circumstances?)\s+$", signals.CASELESS)
_SO_THAT = re.compile(
    r"\b(?:so|in\s+order)\s+that\s[^,;.]*$|\bas\s+(?:it|you|we|they|may)?\s*$|\bthat\s*$|\bany\s+\w+\s+(?:it|that)\s*$",
    signals.CASELESS,
)
_NOBODY_BEFORE = re.compile(
    rf"(?:^|[.,;:]\s*|\bthat\s+|\band\s+){signals.NOBODY}(?!\s+event)(?:\s+[\w'’/-]+[,]?){{0,14}}\s*$", signals.CASELESS
)
_PASSIVE = re.compile(
    r"\s+be\s+(?:\w+ly\s+)?(?!proprietary|confidential|material|sensitive|able)\w+(?:ed|en|de|ld|nt|wn|ade)\b"
)
_UNNAMED = re.compile(r"\b(?:this|that|it|which|there|these|who)\s*$", signals.CASELESS)
_OPENS_NO_CONDITION = ("during", "upon", "before", "after", "without", "in order to", "on request")


@dataclass(frozen=True, slots=True)
class _Cue:
    kind: Kind | None  # None of a signal word that lays down nothing: what follows may share its subject
    span: Span
    needs_model: bool = False


@dataclass(frozen=True, slots=True)
class _Place:
    """A signal word in its segment."""

    before: str
    words: str  # in lower case
    behind: str
    span: Span


def read_english(text: str) -> list[Provision]:
    """The provisions of an English text, in their order. Those of `will` have decided_by "model" and score 0: whoever
    calls asks the model, and drops what it does not take for one (reading.py)."""
    provisions: list[Provision] = []
    segments = split_segments(text)
    for number, segment in enumerate(segments):
        ends = segment.end
        if segment.opens_list:
            ends = max(each.end for each in segments[number:] if each is segment or each.head == number)
        provisions += [replace(each, clause=Span(each.clause.start, ends)) for each in _read_segment(text, segment)]
    return provisions


def _read_segment(text: str, segment: Segment) -> Iterator[Provision]:
    words = text[segment.start : segment.end]
    masked = mask_quotes(words)
    clause = Span(segment.start, segment.end)
    if penalty := signals.PENALTY.search(masked):
        yield Provision("penalty", clause, _shift(Span(penalty.start(), penalty.end()), segment.start))
        return
    label = signals.LABEL.match(words)
    begin = label.end() if label else 0
    yield from _duties_of(masked, segment, begin)
    yield from _amounts_of(masked, segment)


def _duties_of(masked: str, segment: Segment, begin: int) -> Iterator[Provision]:
    """What the signal words of a segment lay down; one of the same kind, subject and without a condition of its own is
    not told again."""
    last: Provision | None = None
    shared: Span | None = None
    cues = list(_find_cues(masked, begin))
    for place, cue in enumerate(cues):
        before = cues[place - 1].span.end if place else begin
        behind = next((each.span.start for each in cues[place + 1 :] if each.kind is not None), len(masked))
        find = next_subject if place else subject_of
        subject = find(masked, before, cue.span.start)
        if (own := masked.find("your", cue.span.start, cue.span.end)) >= 0:  # it is your responsibility
            subject = Span(own, own + 4)
        shared = shared if subject is None else _shift(subject, segment.start)
        if cue.kind is None:
            continue
        condition = conditions_of(masked, before, cue.span, behind, subject, is_first=not place)
        if shared and subject and condition and subject.start < condition[0].start < subject.end:
            shared = _shift(Span(subject.start, condition[0].start - 1), segment.start)  # any sale without consent
        if last is not None and not condition and (shared, cue.kind) == (last.subject, last.kind):
            continue
        last = Provision(
            cue.kind, Span(segment.start, segment.end), _shift(cue.span, segment.start), shared,
            tuple(_shift(span, segment.start) for span in condition),
            "model" if cue.needs_model else "words", 0.0 if cue.needs_model else 1.0,
        )  # fmt: skip
        yield last


def _shift(span: Span, by: int) -> Span:
    return Span(span.start + by, span.end + by)


def _find_cues(masked: str, begin: int) -> Iterator[_Cue]:
    """The signal words of a segment, in their order, none within another."""
    matches: list[tuple[int, int, int, bool]] = []  # start, rank of its kind, end, is will
    for rank, (_, pattern) in enumerate(_KINDS):
        matches += [(match.start(), rank, match.end(), False) for match in pattern.finditer(masked, begin)]
    matches += [(match.start(), 2, match.end(), True) for match in signals.WILL.finditer(masked, begin)]
    taken = begin
    for start, rank, end, is_will in sorted(matches, key=lambda each: (each[0], each[1], each[3])):
        if start < taken:
            continue
        place = _Place(masked[begin:start], masked[start:end].casefold(), masked[end:], Span(start, end))
        if opens_condition(place.before) or _is_relative(place.before):
            continue
        kind = _kind_of(place, _KINDS[rank][0], is_will=is_will)
        if kind is not None:
            taken = end
            yield _Cue(kind, place.span, needs_model=is_will and kind == "obligation")
        elif rank != 1:
            yield _Cue(None, place.span)


def _kind_of(place: _Place, kind: Kind, *, is_will: bool) -> Kind | None:
    """What a signal word lays down; None for nothing."""
    nobody = _NOBODY_BEFORE.search(place.before) is not None
    if kind == "permission":
        return ("prohibition" if nobody else kind) if nobody or _allows(place) else None
    if kind == "prohibition":
        return kind if _forbids(place) else None
    if place.words.startswith(("is ", "are ", "be ")) and _RELATIVE_PASSIVE.search(place.before):
        return None  # the signal word before it says so already, or it stands in a relative clause
    if _IN_NO_EVENT.search(place.before):
        return None if signals.EXEMPT.search(place.behind) else "prohibition"
    return _commands(place, kind, nobody=nobody, is_will=is_will) if _MUST.match(place.words) else kind


def _commands(place: _Place, kind: Kind, *, nobody: bool, is_will: bool) -> Kind | None:
    """What shall, must or will lays down; None where it says what is the case, or that somebody need not."""
    if re.match(r"\s+be\s+(?:null\s+and\s+|deemed\s+)?void\b", place.behind):
        needs = re.search(r"\bwithout\b.*\b(?:consent|approval)\b", place.before, signals.CASELESS)
        return "prohibition" if needs else None
    if _declares(place):
        return None
    if nobody:
        return None if signals.EXEMPT.match(place.behind) else "prohibition"
    if re.match(r"\s+(?:not|be\s+entitled|never)\b", place.behind):
        return None
    part = re.split(r"[,;:]|\bthat\b|\band\b", place.before)[-1]
    if is_will and (_UNNAMED.search(part) or signals.EXEMPT.match(place.behind)):
        return None
    return kind


def _allows(place: _Place) -> bool:
    """Whether a word of permission allows something, and does not say that it is possible or that a right is
    warranted."""
    if "right" in place.words and re.search(r"\b(?:warrants?|represents?)\b", place.before, signals.CASELESS):
        return False
    if signals.POSSIBLE.match(place.behind) or _SO_THAT.search(place.before):
        return False
    if not place.words.startswith(("may", "can")) or _PASSIVE.match(place.behind):
        return True
    return re.match(r"\s+be\b", place.behind) is None and signals.THING_DECLARES.match(place.behind) is None


def _forbids(place: _Place) -> bool:
    """Whether a word of prohibition forbids something, and does not say that something is not the case."""
    words, behind = place.words, place.behind
    if words.endswith("not to") and not words.startswith(("agree", "undertake", "covenant", "promise")):
        return re.search(rf"{signals.PROMISE}\b[^;.]*$", place.before, signals.CASELESS) is not None
    if words.startswith(("shall", "will")) and "only" not in words:
        if _declares(place) or signals.EXEMPT.match(behind):
            return False
        if re.match(r"\s+be\s+(?:made\s+whole|unreasonably)", behind):
            return False
    if re.match(r"\s+be\s+(?:\w+ly\s+)?(?:construed|deemed|considered|interpreted)\b", behind, signals.CASELESS):
        return False
    is_unable = words in ("cannot", "can't", "can not", "won't")
    return not (
        is_unable and re.match(r"\s+(?:guarantee|ensure|be|control|prevent|promise)\b", behind, signals.CASELESS)
    )


def _declares(place: _Place) -> bool:
    """Whether shall or will says what is the case, and directs nobody."""
    if signals.DECLARES.match(place.behind):
        return True
    if not signals.THING_DECLARES.match(place.behind):
        return False
    subject = re.split(r"[,;:]\s|\bthat\s|\band\s", place.before.rstrip())[-1]
    return signals.PERSON.search(subject) is None or signals.THING.search(subject) is not None


def opens_condition(before: str) -> bool:
    """Whether a signal word stands in a clause that opens with if, unless or such, and has not ended."""
    matches = list(signals.CONDITION.finditer(before))
    if not matches or matches[-1][0].casefold() in _OPENS_NO_CONDITION:
        return False
    rest = before[matches[-1].end() :]
    return "," not in rest and " then " not in rest


def _is_relative(before: str) -> bool:
    """Whether a signal word stands in a relative clause: information which it may give."""
    return _RELATIVE.search(before) is not None and _IN_WHICH.search(before) is None


def _amounts_of(masked: str, segment: Segment) -> Iterator[Provision]:
    """The first deadline and the first threshold of a segment."""
    clause = Span(segment.start, segment.end)
    patterns: tuple[tuple[Kind, re.Pattern[str]], ...] = (("deadline", signals.TIME), ("threshold", signals.AMOUNT))
    for kind, pattern in patterns:
        for match in pattern.finditer(masked):
            if not signals.AGE.search(masked[max(0, match.start() - 12) : match.start()]):
                yield Provision(kind, clause, Span(segment.start + match.start(), segment.start + match.end()))
                break
