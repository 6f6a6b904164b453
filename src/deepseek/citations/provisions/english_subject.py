"""Who must, and when: the subject and the conditions of a signal word in an English segment."""

from __future__ import annotations

import re

from deepseek.citations.provisions import english_words as signals
from deepseek.citations.provisions.provision import Span

_THAT = re.compile(
    r"\s*\b(?:agrees?|acknowledges?|understands?|procures?|confirms?)\b.*$", re.DOTALL | signals.CASELESS
)
_BARE_VERB = re.compile(r"[a-z]+(?:ly\s[a-z]+)?\s(?:the|any|all|to|its|such)\b")
_WITHOUT_COMMA = re.compile(
    r"\b(?:this\s[\w ]{3,20}|\w+)\s*,?\s(?=(?:the\s)?(?:[A-Z]\w+|you|we|a\suser|each|any)\b[^,]*$)"
)
_SHARED = ("it", "he", "she", "they", "he/she")


def subject_of(masked: str, begin: int, cue: int) -> Span | None:
    """The person or thing before a signal word, without what joins it to the text before."""
    before = masked[begin:cue]
    cut = signals.SUBJECT_CUT.match(before)
    rest = before[cut.end() if cut else 0 :]
    if signals.CONDITION.match(rest.lstrip()) or signals.SUBJECT_LEAD.match(rest.lstrip()):
        start = _behind_lead(rest)
        if start is None:
            return None
        rest = rest[start:]
    words = rest.strip(' ,:\n\t"')
    for _ in range(2):
        words = signals.SUBJECT_TAIL.sub("", words).rstrip(" ,")
    words = signals.SUBJECT_HEAD.sub("", signals.SUBJECT_VERB.sub("", words))
    if " and " in words and re.search(r"\b(?:shall|will|must|may|agrees?)\b", words):
        words = words.rsplit(" and ", 1)[1]
    if not re.search(r"\w", words) or words.casefold() in ("which", "who", "same"):
        return None
    if words.casefold() in _SHARED and cut and (head := _promisor(before[: cut.end()])):
        words = head
        place = before.find(words)
    else:
        place = before.rfind(words)
    is_verb = _BARE_VERB.match(words) and not signals.SUBJECT_NOUN.match(words)
    return None if is_verb or place < 0 else Span(begin + place, begin + place + len(words))


def _behind_lead(rest: str) -> int | None:
    """Where the subject begins behind a phrase that opens the sentence."""
    commas = [match.end() for match in re.finditer(r",\s", rest)]
    chosen = next((comma for comma in reversed(commas) if signals.SUBJECT_NOUN.match(rest[comma:].lstrip())), None)
    if chosen is not None:
        return chosen
    match = _WITHOUT_COMMA.search(rest)
    return match.end() if match else None


def _promisor(before: str) -> str:
    """Who agrees that it shall: the person that "it" is."""
    return re.sub(r"^.*[.;,]\s", "", _THAT.sub("", before).strip(), flags=re.DOTALL)


def next_subject(masked: str, begin: int, cue: int) -> Span | None:
    """The subject of a further signal word of a segment; None where it shares the one before."""
    before = masked[begin:cue]
    last = before.rpartition(", ")[2]
    if last is not before and signals.SUBJECT_NOUN.match(last) and last.strip():
        return Span(cue - len(last), cue - len(last) + len(last.rstrip()))
    if "," in before or re.search(r"\b(?:that|provided)\b", before):
        subject = subject_of(masked, begin, cue)
        if subject is not None and signals.SUBJECT_NOUN.match(masked[subject.start : subject.end]):
            return subject
    tail = re.search(r"\b(?:and|but|while|whereas)\s+([^,;:]*)$", before)
    words = tail[1].strip() if tail else ""
    if not tail or not words or not signals.SUBJECT_NOUN.match(words):
        return None
    start = begin + tail.start(1)
    return Span(start, start + len(tail[1].rstrip()))


def conditions_of(masked: str, begin: int, cue: Span, end: int, subject: Span | None, *, is_first: bool) -> list[Span]:
    """The condition before a signal word, behind the one before it, and the one that limits it behind."""
    before = masked[begin : cue.start]
    anywhere = r"|\s" if is_first else ""
    lead = re.search(
        rf"(?:^|[.,;]\s|\band\s|\bbut\s|\bthat\s{anywhere})({signals.CONDITION.pattern}[^;]*?)(?:,\s(?=[^,]*$)"
        r"|(?=\s(?:the\s)?(?:(?-i:[A-Z][a-z]+(?:\s[A-Z][a-z]+)*)|you|we|a\suser)\s*$)|$)",
        before,
        signals.CASELESS,
    )
    spans = []
    if lead and lead[1].strip():
        start, words = begin + lead.start(1), lead[1]
        if subject is not None and start < subject.start < start + len(words):
            words = words[: subject.start - start]
        if words.strip(" ,") and (
            subject is None or not subject.start <= start < subject.end or words.startswith("without")
        ):
            spans.append(Span(start, start + len(words.rstrip(" ,"))))
    behind = masked[cue.end : end]
    match = signals.LATER_CONDITION.search(behind)
    if match is None or re.search(r"\band\s+(?:will|shall|that)\b", behind[: match.start()]):
        return spans
    if request := signals.AT_REQUEST.match(behind, match.start()):
        return [*spans, Span(cue.end + request.start(), cue.end + request.end())]
    stop = signals.CONDITION_STOP.search(behind, match.end())
    finish = stop.start() if stop else len(behind)
    return [*spans, Span(cue.end + match.start(), cue.end + len(behind[:finish].rstrip(" .,")))]
