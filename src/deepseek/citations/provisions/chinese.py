"""Provisions of Chinese rules by their signal words: 应当, 不得, 可以, 禁止, 处 ... 罚款.

A segment is read piece by piece between its commas. The pieces before a signal word are its condition, the person at
the beginning of a piece its subject. A signal word within a condition (规定必须报经批准的) lays down nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from deepseek.citations.provisions import chinese_words as signals
from deepseek.citations.provisions.chinese_cues import carries, find_cue, is_condition
from deepseek.citations.provisions.chinese_subject import Context, condition_of, subject_and_condition, subject_end
from deepseek.citations.provisions.provision import DUTIES, Kind, Provision, Span
from deepseek.citations.provisions.segments import Segment, mask_quotes, split_pieces, split_segments


def read_chinese(text: str) -> list[Provision]:
    """The provisions of a Chinese text that words decide, in their order."""
    masked = mask_quotes(text)
    segments = split_segments(text)
    provisions: list[Provision] = []
    context, line = Context(), -1
    head_kinds: dict[int, set[str]] = {}
    for number, segment in enumerate(segments):
        if segment.line != line and not segment.is_item:
            context.subject = None
        line, context.condition = segment.line, ()
        if signals.EXCEPTION.search(text[segment.start : segment.end]) and not _has_cue(masked, segment):
            _attach_exception(provisions, segment, text)
            continue
        if segment.head is not None and _is_description(text, segment, head_kinds.get(segment.head, set())):
            provisions += _amounts_of(masked, segment, is_penalty="penalty" in head_kinds.get(segment.head, set()))
            continue
        ends = _list_end(segments, number) if segment.opens_list else segment.end
        from_segment = [
            replace(each, clause=Span(each.clause.start, ends))
            for each in _read_segment(masked, text, segment, context)
        ]
        head_kinds[number] = {each.kind for each in from_segment}
        provisions += from_segment
    return provisions


def _has_cue(masked: str, segment: Segment) -> bool:
    pieces = split_pieces(masked, segment.start, segment.end)
    return any(find_cue(masked, piece) for piece in pieces)


def _list_end(segments: Sequence[Segment], number: int) -> int:
    return max(each.end for each in segments[number:] if each is segments[number] or each.head == number)


def _is_description(text: str, segment: Segment, kinds: set[str]) -> bool:
    """Whether an item of a list only says what its head speaks of."""
    words = text[segment.start : segment.end].rstrip("；。;. ")
    return bool(kinds & {"prohibition", "penalty"}) or words.endswith("的")


def _attach_exception(provisions: list[Provision], segment: Segment, text: str) -> None:
    for place in range(len(provisions) - 1, -1, -1):
        if provisions[place].kind in DUTIES:
            span = _trim(text, Span(segment.start, segment.end))
            provisions[place] = replace(provisions[place], condition=(*provisions[place].condition, span))
            return


def _trim(text: str, span: Span) -> Span:
    """The span without connectives before it and stops behind it."""
    start, end = span.start, span.end
    while end > start and text[end - 1] in "。；，：;,: ":
        end -= 1
    opening = re.match(r"(?:但是|但)?[，,]?", text[start:end])
    return Span(start + (opening.end() if opening else 0), end)


def _read_segment(masked: str, text: str, segment: Segment, context: Context) -> Iterator[Provision]:
    pieces = split_pieces(masked, segment.start, segment.end)
    if pieces and (label := signals.ITEM_LABEL.match(masked[pieces[0].start : pieces[0].end])) and segment.is_item:
        pieces[0] = Span(pieces[0].start + label.end(), pieces[0].end)
    clause = Span(segment.start, segment.end)
    drafts: list[Provision] = []
    before: list[Span] = []  # pieces since the last signal word
    is_penalty = False
    for piece in pieces:
        cue = find_cue(masked, piece)
        punishment = _punishment(masked, piece, cue, segment, is_behind=is_penalty)
        if punishment is not None:
            if not is_penalty:
                drafts.append(Provision("penalty", clause, punishment))
            is_penalty, before = True, []
        elif cue is None and signals.EXCEPTION.search(masked[piece.start : piece.end]):
            _attach_exception(drafts, Segment(piece.start, piece.end, 0, False), text)
        elif cue is None:
            before.append(piece)
        else:
            is_first = not drafts
            subject, condition = subject_and_condition(masked, piece, cue[1], before, context, is_first=is_first)
            draft = Provision(cue[0], clause, cue[1], subject, condition)
            if not _is_repeated(drafts, draft):
                drafts.append(draft)
            if condition and carries(masked, condition[-1]):
                context.condition = condition
            context.subject = subject or context.subject
            is_penalty, before = False, []
    yield from drafts
    yield from _amounts_of(masked, segment, is_penalty=is_penalty)


def _punishment(
    masked: str, piece: Span, cue: tuple[Kind, Span] | None, segment: Segment, *, is_behind: bool
) -> Span | None:
    """The words of a piece that lay down a punishment; None where it lays down a duty, a condition or something else.
    `is_behind`: another punishment of its segment."""
    words = masked[piece.start : piece.end]
    is_measure = segment.head is not None and cue is None  # an item of a list of measures is none by itself
    if is_measure or signals.CONDITION_END.search(words):
        return None
    match = signals.PUNISHMENT.search(words)
    is_allowed = is_behind and cue is not None and cue[0] == "permission"
    if match is None or (_is_duty(masked, piece, cue) and not is_allowed):
        match = signals.ORDER.search(words) if cue is None else None
    return None if match is None else Span(piece.start + match.start(), piece.start + match.end())


def _is_duty(masked: str, piece: Span, cue: tuple[Kind, Span] | None) -> bool:
    """Whether a piece that speaks of a punishment lays down a duty, and no punishment itself."""
    if cue is None or cue[0] == "permission":
        words = masked[piece.start : piece.end]
        return cue is not None and signals.ORDER.search(words) is not None and "罚" not in words
    return signals.PUNISHES.match(masked[cue[1].end : piece.end]) is None


def _is_repeated(drafts: Sequence[Provision], draft: Provision) -> bool:
    """Whether the segment has said so already: the same kind of the same subject, under no other condition."""
    return any(
        (each.kind, each.subject) == (draft.kind, draft.subject) and draft.condition in ((), each.condition)
        for each in drafts
    )


def _amounts_of(masked: str, segment: Segment, *, is_penalty: bool) -> Iterator[Provision]:
    """The first deadline and the first threshold of a segment."""
    words, clause = masked[segment.start : segment.end], Span(segment.start, segment.end)
    if is_penalty or signals.NO_DEADLINE.search(words):
        return
    patterns: tuple[tuple[Literal["deadline", "threshold"], re.Pattern[str]], ...] = (
        ("threshold", signals.AMOUNT), ("deadline", signals.TIME),
    )  # fmt: skip
    taken = Span(0, 0)
    for kind, pattern in patterns:
        for match in pattern.finditer(words):
            group = "period" if kind == "deadline" and match["period"] else 0
            place = Span(segment.start + match.start(group), segment.start + match.end(group))
            if place.start < taken.end and place.end > taken.start:
                continue
            taken = place
            yield Provision(kind, clause, place)
            break


def open_candidates(text: str) -> list[Provision]:
    """Parts without a signal word that may be a duty all the same, as candidates for the model: 由认证机构颁发证书, 按
    标准支付. The cue of each is empty where the signal word would stand."""
    masked = mask_quotes(text)
    context, line = Context(), -1
    candidates = []
    for segment in split_segments(text):
        if segment.line != line and not segment.is_item:
            context.subject = None
        line = segment.line
        words = masked[segment.start : segment.end]
        if signals.PUNISHMENT.search(words) or signals.ORDER.search(words) or signals.EXCEPTION.search(words):
            continue
        before: list[Span] = []
        is_behind = False  # a signal word: such a piece goes on with it, unless it has a condition of its own
        for piece in split_pieces(masked, segment.start, segment.end):
            if find_cue(masked, piece):
                before, is_behind = [], True
                continue
            if is_behind and not before:
                continue
            candidate = _open_candidate(masked, piece, before, context, Span(segment.start, segment.end))
            if candidate is not None:
                candidates.append(candidate)
                break
            before.append(piece)
    return candidates


def _open_candidate(
    masked: str, piece: Span, before: Sequence[Span], context: Context, clause: Span
) -> Provision | None:
    words = masked[piece.start : piece.end]
    bare = words.rstrip("。；;. ")
    if is_condition(bare, ends_segment=bare != words) or signals.STATED.search(words) or signals.NOT_OPEN.search(words):
        return None
    condition, actor = condition_of(masked, before, None, context, is_first=True)
    start = piece.start
    if match := signals.DONE_BY.match(words):
        if subject_end(match[1]) != len(match[1]):
            return None
        start += match.end()
        actor = Span(piece.start + match.start(1), start)
    elif match := signals.DONE_ACCORDING_TO.match(words):
        start += match.end()
        actor = Span(piece.start, start) if match[1] else actor
    elif not condition or not signals.DONE_TO.match(words):
        return None
    return Provision("obligation", clause, Span(start, start), actor, condition)
