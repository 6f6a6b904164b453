"""Who must, and when: the subject and the conditions of a signal word in a Chinese segment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from deepseek.citations.provisions import chinese_words as signals
from deepseek.citations.provisions.chinese_cues import carries
from deepseek.citations.provisions.provision import Span

#: Persons whose name begins with a verb: 经营者, 从事服务的机构.
_VERB_NAMES = re.compile(r"(?:受|代理|持|被|经营|生产|销售|从事|委托|使用|保|承|执行|提供|运输|出|发)")
_FURTHER = re.compile(r"(?:以及|及|和)")
_TOWARDS = re.compile(r"对[^，的]{1,14}$")
_OF_A_THING = re.compile(r"[^，]{1,14}的[^的，]{1,8}")
_OF_AN_EVENT = re.compile(r"(?:时|后|前|期间|行为|活动)$")


@dataclass(slots=True)
class Context:
    """What holds from the pieces before."""

    subject: Span | None = None  # of the line
    condition: tuple[Span, ...] = ()  # of the segment, where it holds for what follows


def subject_and_condition(
    masked: str, piece: Span, cue: Span, before: Sequence[Span], context: Context, *, is_first: bool
) -> tuple[Span | None, tuple[Span, ...]]:
    """Subject and condition of a signal word; `before` are the pieces since the last one."""
    words = masked[piece.start : cue.start]
    if match := signals.BY_WHOM.search(words):
        start = piece.start + match.start(1)
        subject: Span | None = _strip_adverbs(masked, Span(start, cue.start))
        return subject, condition_of(masked, before, None, context, is_first=is_first)[0]
    if masked[cue.start : cue.end] in ("禁止", "严禁"):
        whom = signals.PROHIBITED_WHOM.match(masked[cue.start : piece.end])
        if whom:
            return Span(cue.start + whom.start(1), cue.start + whom.end(1)), ()
    if before and _FURTHER.match(words) and subject_end(words[_FURTHER.match(words).end() :]):  # type: ignore[union-attr]
        return Span(before[-1].start, cue.start), condition_of(masked, before[:-1], None, context, is_first=is_first)[0]
    opening = signals.LEADING.match(words)
    own = _strip_adverbs(masked, Span(piece.start + (opening.end() if opening else 0), cue.start))
    subject, own_condition = _split_own(masked, own)
    condition, actor = condition_of(masked, before, subject, context, is_first=is_first)
    if own_condition is not None:
        condition = (*condition, own_condition) if condition is not context.condition else (own_condition,)
    if subject is None:
        subject = actor or context.subject
    return subject, condition


def _strip_adverbs(masked: str, span: Span) -> Span | None:
    words = masked[span.start : span.end]
    if match := signals.ADVERBS.search(words):
        words = words[: match.start()]
    return Span(span.start, span.start + len(words)) if words.strip() else None


def _split_own(masked: str, own: Span | None) -> tuple[Span | None, Span | None]:
    """Subject and condition of what stands before the signal word in its own piece."""
    if own is None:
        return None, None
    words = masked[own.start : own.end]
    is_towards = _TOWARDS.match(words) and subject_end(words[1:]) == len(words) - 1
    if signals.BY_RULE.match(words) or is_towards:
        return None, None
    is_person = subject_end(words) == len(words) and "的" in words
    if (signals.PREPOSITION.match(words) or signals.DIRECT_PHRASE.match(words)) and not is_person:
        return None, own
    end = subject_end(words)
    if end is None or end == len(words):
        return own, None
    rest = Span(own.start + end, own.end)
    behind = masked[rest.start : rest.end]
    if signals.DIRECT_PHRASE.match(behind) or signals.BY_RULE.match(behind):
        return Span(own.start, rest.start), None
    if _OF_A_THING.fullmatch(behind) and not _OF_AN_EVENT.search(behind):
        return own, None  # 出卖人交付的标的物
    return Span(own.start, rest.start), rest


def subject_end(words: str) -> int | None:
    """Where the person at the beginning of a piece ends; None where there is none."""
    if signals.NO_PERSON.match(words):
        return None
    last = [match for match in signals.ACTOR.finditer(words) if match.end() == len(words)]
    if last and signals.NOUN_PHRASE.search(words[: last[-1].start()]) and not signals.ACT_OPENS.match(words):
        return len(words)
    for match in signals.ACTOR.finditer(words):
        rest = words[match.end() :]
        if not rest:
            return None if signals.ACT_OPENS.match(words) else match.end()
        if signals.NOUN_GOES_ON.match(rest) or signals.ACTOR.match(rest):
            continue
        if signals.VERB_OPENS.match(rest):
            if signals.ACT_BEGINS.match(words) and "的" not in words[: match.start()] and not _VERB_NAMES.match(words):
                return None
            return match.end()
    return None


def condition_of(
    masked: str, before: Sequence[Span], subject: Span | None, context: Context, *, is_first: bool
) -> tuple[tuple[Span, ...], Span | None]:
    """The condition that the pieces before a signal word lay down, and the person who is its subject."""
    chain = [piece for piece in before if not signals.BY_RULE.match(masked[piece.start : piece.end])]
    if chain and (declared := signals.DECLARED.match(masked[chain[-1].start : chain[-1].end])):
        begin = chain[-1].start + _leading_chars(masked, chain[-1])
        return context.condition, Span(begin, chain[-1].start + declared.end(1))
    if not is_first:
        while chain and not (
            carries(masked, chain[0]) or signals.OCCASION.match(masked[chain[0].start : chain[0].end])
        ):
            chain.pop(0)
    if not chain:
        return context.condition, None
    actor: Span | None = None
    start = chain[0].start + _leading_chars(masked, chain[0])
    for place, piece in enumerate(chain):
        begin = piece.start + _leading_chars(masked, piece)
        words = masked[begin : piece.end]
        end = subject_end(words)
        if end is None:
            continue
        if context.subject is not None and signals.ASKS.match(words[end:]):
            continue  # what somebody asks for, another one does
        actor = Span(begin, begin + end)
        if place == 0 and subject is None:
            start = actor.end
    if actor is None and subject is None and is_first and len(chain) > 1 and _is_topic(masked, chain[0]):
        actor = Span(start, chain[0].end)
        start = actor.end
    if len(chain) > 1 and actor is not None and re.match(r"以及|和|及", masked[chain[1].start : chain[1].end]):
        actor = Span(chain[0].start, chain[1].end)
        start, chain = actor.end, chain[1:]
    last = chain[-1].end
    if start == chain[0].end and len(chain) > 1:
        start = chain[1].start
    if start >= last:
        return (), actor
    return (Span(start, last),), actor


def _is_topic(masked: str, piece: Span) -> bool:
    """Whether a piece only names a thing: 依法发行的证券."""
    words = masked[piece.start : piece.end]
    return re.fullmatch(
        r"(?![不未无有])[^，]{1,20}的[^的，]{1,8}", words
    ) is not None and not signals.CONDITION_END.search(words)


def _leading_chars(masked: str, piece: Span) -> int:
    match = signals.LEADING.match(masked[piece.start : piece.end])
    return match.end() if match else 0
