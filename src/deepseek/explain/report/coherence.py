"""Whether the values of a counterfactual hold together, in words: for the terminal (their `.en`) and the page."""

from __future__ import annotations

from deepseek.explain.records import CounterfactualReport
from deepseek.look import Text, numbers


def coherence_notes(report: CounterfactualReport) -> list[tuple[Text, bool]]:
    """What is known of columns that belong together: (words, whether they are a doubt)."""
    notes = []
    if report.tokens is None and report.together is None:
        notes.append((Text(
            "These values may not hold together: which columns belong together was not measured.",
            "这些取值未必能同时成立：尚未测量哪些列相互关联。",
        ), True))  # fmt: skip
    for names in report.together or ():
        listed = [numbers.clip(name) for name in names]
        notes.append((Text(
            f"{', '.join(listed)} belong together, so they change together, to the values of one real row.",
            f"{'、'.join(listed)} 相互关联，因此一起改变，取自同一真实行。",
        ), False))  # fmt: skip
    for changed, kept in report.doubtful or ():
        first, second = numbers.clip(changed), numbers.clip(kept)
        notes.append((Text(
            f"This may not hold together: {first} changes, and {second}, which belongs to it, stays.",
            f"此结果未必成立：{first} 改变，而与之关联的 {second} 保持不变。",
        ), True))  # fmt: skip
    return notes
