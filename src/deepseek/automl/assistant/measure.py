"""Figures of an assistant on labelled questions, each with an interval.

    figures = measure(assistant, [("Where is my card?", "card_arrival"), ("How is the weather?", "oos")])
    figures.metrics["precision"]                     # of what it answered alone

accuracy: the first intent is the right one. top_3: it is among three buttons. answered: share answered alone.
precision: share of those that were right. kept: questions in scope that were not handed over. handed_over: questions
out of scope that were. scope_auroc: how well the judge of scope parts the two. Intervals are those of Clopper and
Pearson at 95 %, and of DeLong's variance for the AUROC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepseek.automl.assistant.questions import OUT_OF_SCOPE_NAMES
from deepseek.contracts import Float64, JsonObject
from deepseek.dialogue.understanding import Understanding, Understands
from deepseek.look.summary import figure_table, render_text
from deepseek.results import Result
from deepseek.train.detect.miss_bound import upper_bound

CONFIDENCE = 0.95  # of both ends together
Figure = dict[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class AssistantFigures(Result):
    """What was measured on labelled questions."""

    bundle: str
    digest: str
    num_rows: int
    num_outside: int  # of them, that belong to no intent
    metrics: dict[str, Figure]  # value, low, high
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> JsonObject:
        return {
            "bundle": self.bundle, "digest": self.digest, "num_rows": self.num_rows, "num_outside": self.num_outside,
            "metrics": self.metrics, "warnings": list(self.warnings),
        }  # fmt: skip

    def summary_parts(self) -> list[object]:
        return [f"{self.num_rows} questions, {self.num_outside} of them out of scope", "",
                figure_table(self.metrics, {})]  # fmt: skip

    def summary(self) -> str:
        return render_text(self.summary_parts())


def measure(
    assistant: Understands, rows: Sequence[tuple[str, str]], *, bundle: str = "", digest: str = ""
) -> AssistantFigures:
    """`rows`: (question, intent), the intent one of OUT_OF_SCOPE_NAMES for a question out of scope."""
    understood = assistant.understand([question for question, _ in rows])
    is_outside = [name.casefold() in OUT_OF_SCOPE_NAMES for _, name in rows]
    inside = [(each, rows[place][1]) for place, each in enumerate(understood) if not is_outside[place]]
    outside = [each for place, each in enumerate(understood) if is_outside[place]]
    unknown = sorted({name for _, name in inside} - set(assistant.intents))
    warnings: tuple[str, ...] = ()
    if unknown:
        shown = f"{len(unknown)} intents of these rows are none of the assistant's, such as {unknown[0]!r}"
        warnings = (f"{shown}: a question of theirs counts as answered wrongly",)
    return AssistantFigures(bundle, digest, len(rows), len(outside), _metrics(inside, outside), warnings)


def _metrics(inside: Sequence[tuple[Understanding, str]], outside: Sequence[Understanding]) -> dict[str, Figure]:
    metrics: dict[str, Figure] = {}
    if inside:
        answered = [(each, name) for each, name in inside if each.decision == "answer"]
        metrics |= {
            "accuracy": share_figure(sum(_is_first(each, name) for each, name in inside), len(inside)),
            "top_3": share_figure(
                sum(name in {scored.name for scored in each.intents} for each, name in inside), len(inside)
            ),
            "answered": share_figure(len(answered), len(inside)),
            "kept": share_figure(sum(each.decision != "hand_over" for each, _ in inside), len(inside)),
        }  # fmt: skip
        if answered:
            metrics["precision"] = share_figure(sum(_is_first(each, name) for each, name in answered), len(answered))
    if outside:
        metrics["handed_over"] = share_figure(sum(each.decision == "hand_over" for each in outside), len(outside))
        metrics["outside_answered"] = share_figure(sum(each.decision == "answer" for each in outside), len(outside))
    if inside and outside:
        metrics["scope_auroc"] = auroc_figure(
            np.array([each.in_scope for each, _ in inside]), np.array([each.in_scope for each in outside])
        )
    return metrics


def _is_first(understood: Understanding, name: str) -> bool:
    return bool(understood.intents) and understood.intents[0].name == name


def share_figure(num_hits: int, num_rows: int) -> Figure:
    """A share with its interval.

    >>> {name: round(value, 3) for name, value in share_figure(9, 10).items()}
    {'value': 0.9, 'low': 0.555, 'high': 0.997}
    """
    one_sided = (1 + CONFIDENCE) / 2
    return {
        "value": num_hits / num_rows, "low": 1 - upper_bound(num_rows - num_hits, num_rows, one_sided),
        "high": upper_bound(num_hits, num_rows, one_sided),
    }  # fmt: skip


def auroc_figure(inside: Float64, outside: Float64) -> Figure:
    """The chance that a question in scope scores higher than one that is not, with DeLong's interval (DeLong et al.
    1988, formulas 4 and 8)."""
    ranked_inside, ranked_outside = np.sort(inside), np.sort(outside)
    below = _mean_below(ranked_outside, inside)
    above = 1 - _mean_below(ranked_inside, outside)
    value = float(below.mean())
    spread = 1.96 * float(np.sqrt(_variance(below) / len(below) + _variance(above) / len(above)))
    return {"value": value, "low": max(0.0, value - spread), "high": min(1.0, value + spread)}


def _mean_below(ranked: Float64, values: Float64) -> Float64:
    """Of each value, the share of `ranked` below it, equal ones counted half."""
    low, high = (np.searchsorted(ranked, values, side=side) for side in ("left", "right"))
    return np.asarray((low + high) / (2 * len(ranked)), np.float64)


def _variance(values: Float64) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0
