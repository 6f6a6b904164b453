"""Which words of a piece lay something down, and which stand in a condition or a relative clause."""

from __future__ import annotations

import re

from deepseek.citations.provisions import chinese_words as signals
from deepseek.citations.provisions.provision import Kind, Span

_LISTED_POWERS = re.compile(r"行使下列[^，]{0,6}职权")
_ASKED_OF_ANOTHER = re.compile(r"(?:请求|要求)[^，]*$")
_RIGHT_OF = re.compile(r"[^，]{0,12}的(?:机关|机构|部门|人|遗产|财产|单位)")
_QUALIFIES = re.compile(r"[^，的]{1,8}的[^，的]{1,14}")
_RISK = "风险"  # who bears it owes nothing by that


def find_cue(masked: str, piece: Span) -> tuple[Kind, Span] | None:
    """The first signal word of a piece that lays something down; None in a condition."""
    words = masked[piece.start : piece.end]
    bare = words.rstrip("。；;. ")
    if is_condition(bare, ends_segment=bare != words or masked[piece.end : piece.end + 1] in ("", "\n")):
        return None
    if signals.STATED.search(words) and not re.search(signals.OBLIGATION, words):
        return None
    signal = _signal_word(words) or _liability(words)
    if signal is None and (match := _LISTED_POWERS.search(words)):
        signal = "permission", match.start(), match.end()
    if signal is None:
        return None
    kind, start, end = signal
    return kind, Span(piece.start + start, piece.start + end)


def _signal_word(words: str) -> tuple[Kind, int, int] | None:
    """Kind, start and end of the first signal word that stands in no relative clause."""
    matches: list[tuple[int, int, Kind]] = []
    for kind, pattern in signals.CUES:
        match = next((each for each in pattern.finditer(words) if not is_attributive(words, each)), None)
        if match is not None:
            matches.append((match.start(), match.end(), kind))
    if not matches:
        return None
    start, end, kind = min(matches)
    return kind, start, end


def _liability(words: str) -> tuple[Kind, int, int] | None:
    """A liability that somebody bears: 由侵权人负担, 承担赔偿责任."""
    if _RISK in words:
        return None
    if borne := re.search(signals.BORNE, words):
        return "obligation", borne.end(1), borne.end()
    match = re.search(signals.LIABILITY, words)
    if match is None or is_attributive(words, match):
        return None
    if _ASKED_OF_ANOTHER.search(words[: match.start()]) and not words.startswith("由"):
        return None
    return "obligation", match.start(), match.end()


def is_condition(bare: str, *, ends_segment: bool) -> bool:
    """Whether a piece that may hold a signal word only says when something holds."""
    end = signals.CONDITION_END.search(bare)
    if end is None or (ends_segment and end[0] not in ("的", "除外")):
        return False
    return end[0] in ("的", "除外") or signals.OWN_PHRASE.search(bare) is None


def is_attributive(words: str, match: re.Match[str]) -> bool:
    """Whether a signal word stands in a relative clause: 法律禁止发布的信息, 所应承担的责任."""
    cue, before, behind = match[0], words[: match.start()], words[match.end() :].rstrip("。；")
    if behind.startswith("的"):
        return True
    if before.endswith(("所", "规定", "明令")) and cue not in ("有权", "负有"):
        return True
    if signals.GOVERNED.search(before) and _QUALIFIES.fullmatch(behind):
        return True
    if cue in ("享有", "均有"):
        return "权" not in behind or ("的" in behind and re.search(r"权利?$", behind) is None)
    if cue in ("有权", "准许") and _RIGHT_OF.match(behind):
        return True
    if cue == "负有":
        return re.search(r"义务|责任|职责", behind) is None or re.search(r"(?:义务|责任|职责)的", behind) is not None
    if cue == "准许":
        return bool(before)
    return cue == "禁止" and bool(before) and "的" in behind and not before.endswith("一律")


def carries(masked: str, span: Span) -> bool:
    """Whether a condition ends so that it holds for what follows in its segment, too."""
    return signals.CONDITION_END.search(masked[span.start : span.end]) is not None
