"""A regulation to its checklist: what is found in 200 Chinese articles and 100 English paragraphs labeled by hand.

    python benchmarks/checklist.py [--quick] [--half HALF]

The labels were made before there was an extractor, and the half that is judged here was not looked at while it was
written (checklist_labels.md). A provision is found where its kind is the label's and its words overlap, else where it
stands in the same part of the text; each label and each provision counts once. Beside it the words alone: every
应当, 必须, 不得, 禁止, shall, must and their like is one, its subject what stands before it. Cited: the clause of each
line stands in the text word for word.
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from checklist_data import Label, Span, Unit, segment_of, units
from result import claim, finish, options, print_claims

from deepseek.citations.provisions import provision as parts
from deepseek.citations.provisions.provision import Provision
from deepseek.citations.provisions.reading import read_provisions

DUTIES = ("obligation", "prohibition")
HALF = "held"
Reader = Callable[[str], Sequence[Provision]]
_WORDS = (
    (
        "prohibition",
        re.compile(r"不得|禁止|严禁|\b(?:shall|must|may|will)\s+not\b|\bneither party shall\b", re.IGNORECASE),
    ),
    ("obligation", re.compile(r"应当|必须|\b(?:shall|must)\b(?!\s+not)", re.IGNORECASE)),
)


def words_alone(text: str) -> list[Provision]:
    """The baseline: a signal word is a provision, what stands before it its subject."""
    provisions = []
    for kind, pattern in _WORDS:
        for match in pattern.finditer(text):
            before = max((text.rfind(stop, 0, match.start()) for stop in "，。；,.;\n"), default=-1) + 1
            subject = parts.Span(before, match.start()) if text[before : match.start()].strip() else None
            cue = parts.Span(match.start(), match.end())
            provisions.append(Provision(kind, parts.Span(before, match.end()), cue, subject))  # type: ignore[arg-type]
    return provisions


def pair(unit: Unit, provisions: Sequence[Provision], kind: str) -> list[tuple[Label, Provision]]:
    """Labels with the provisions of their kind: first where the words overlap, then in the same part of the text."""
    labels = [label for label in unit.labels if label.kind == kind]
    left = [each for each in provisions if each.kind == kind]
    pairs: dict[int, Provision] = {}
    for by_words in (True, False):
        for place, label in enumerate(labels):
            if place in pairs:
                continue
            fits = (each for each in left if is_pair(unit, label, each, by_words=by_words))
            if (each := next(fits, None)) is not None:
                pairs[place] = each
                left.remove(each)
    return [(labels[place], each) for place, each in pairs.items()]


def is_pair(unit: Unit, label: Label, each: Provision, *, by_words: bool) -> bool:
    if by_words:
        return each.cue.start < label.end and label.start < each.cue.end
    return segment_of(unit, label.start) == segment_of(unit, each.cue.start)


def is_right(text: str, labeled: Sequence[Span], spans: Sequence[parts.Span]) -> bool:
    """Whether at least half of the letters of both are common to both, or both are empty."""
    one = {place for start, end in labeled for place in range(start, end) if text[place].isalnum()}
    two = {place for span in spans for place in range(span.start, span.end) if text[place].isalnum()}
    return 2 * len(one & two) >= len(one | two)


def judge(read: Reader, judged: Sequence[Unit]) -> Counter[str]:
    """Counts: found, missed, extra of each kind; right subjects and conditions of duties that were found."""
    counts: Counter[str] = Counter()
    for unit in judged:
        provisions = read(unit.text)
        counts["provisions"] += len(provisions)
        counts["verbatim"] += sum(
            bool(each.clause.of(unit.text).strip()) and each.cue.start >= each.clause.start for each in provisions
        )
        counts["by model"] += sum(each.decided_by == "model" for each in provisions)
        for kind in parts.KINDS:
            pairs = pair(unit, provisions, kind)
            counts[f"found {kind}"] += len(pairs)
            counts[f"missed {kind}"] += sum(label.kind == kind for label in unit.labels) - len(pairs)
            counts[f"extra {kind}"] += sum(each.kind == kind for each in provisions) - len(pairs)
            if kind in DUTIES:
                for label, each in pairs:
                    subject = is_right(unit.text, label.subject, [each.subject] if each.subject else [])
                    condition = is_right(unit.text, label.condition, each.condition)
                    counts["subject"] += subject
                    counts["condition"] += condition
                    counts["both"] += subject and condition
    return counts


def rates(counts: Counter[str], kinds: Sequence[str]) -> tuple[float, float]:
    """Recall and precision over some kinds."""
    found, missed, extra = (sum(counts[f"{what} {kind}"] for kind in kinds) for what in ("found", "missed", "extra"))
    return found / max(1, found + missed), found / max(1, found + extra)


def claims_of(half: str = HALF) -> Iterator[dict[str, Any]]:
    """Every claim on a half."""
    judged = units(half)
    start = time.process_time()
    ours = judge(read_provisions, judged)
    cpu_ms = 1000 * (time.process_time() - start) / len(judged)
    words = judge(words_alone, judged)
    recall, precision = rates(ours, DUTIES)
    words_recall, words_precision = rates(words, DUTIES)
    found = sum(ours[f"found {kind}"] for kind in DUTIES)
    words_found = max(1, sum(words[f"found {kind}"] for kind in DUTIES))
    of = (
        f"{half} half: {len(judged)} texts, {sum(ours[f'{w} {k}'] for w in ('found', 'missed') for k in DUTIES)} labels"
    )
    note = f"{of}; {ours['by model']} provisions by the model; {cpu_ms:.1f} ms of CPU a text"
    both = {"rival_name": "words alone", "unit": "share"}
    yield claim(
        "obligations and prohibitions: recall", ours=recall, rival=words_recall, op=">=", bar=0.95, note=note, **both
    )
    yield claim(
        "obligations and prohibitions: precision", ours=precision, rival=words_precision, op=">=", bar=0.92, **both
    )
    for name in ("subject", "condition", "both"):
        yield claim(
            f"{name} right" if name != "both" else "subject and condition right", ours=ours[name] / max(1, found),
            rival=words[name] / words_found, op=">=", bar=0.85, note=f"of {found} that were found", **both,
        )  # fmt: skip
    yield claim(
        "lines with their clause", ours=ours["verbatim"] / max(1, ours["provisions"]), unit="share", op=">=", bar=1.0
    )
    for is_chinese, name in ((True, "Chinese"), (False, "English")):
        part = judge(read_provisions, [unit for unit in judged if unit.is_chinese == is_chinese])
        recall, precision = rates(part, DUTIES)
        yield claim(f"{name}: recall", ours=recall, unit="share", note=f"precision {precision:.3f}")
    for kind in parts.KINDS:
        recall, precision = rates(ours, [kind])
        yield claim(f"{kind}: recall", ours=recall, unit="share", note=f"precision {precision:.3f}")


def main() -> int:
    parser = options(__doc__, ["checklist"], quick="the same: it takes seconds")
    parser.add_argument(
        "--half", choices=("development", "held"), default=HALF, help="development chose; it is not recorded."
    )
    arguments = parser.parse_args()
    claims = list(claims_of(arguments.half))
    if arguments.half != HALF:
        print_claims(claims)
        return 0
    return finish("checklist", claims, not_run=[])


if __name__ == "__main__":
    sys.exit(main())
