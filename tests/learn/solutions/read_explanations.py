"""Solutions of the lab read_explanations."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

from learn.solutions.tools import edit_json, replace_text

WRONG = {
    "residual_forgotten": "wrong_broken", "signed_means": "wrong_answer", "plain_logistic": "solution_raised",
    "raises_first": "wrong_order",
}  # fmt: skip

REASONS = """
import math


def adds_up(explanation, tolerance):
    total = explanation["base_value"] + sum(explanation["values"].values()) + explanation["residual"]
    return abs(explanation["output"] - total) <= tolerance


def chance(output):
    if output < 0:
        return math.exp(output) / (1 + math.exp(output))
    return 1 / (1 + math.exp(-output))


def top(explanation, num):
    values = explanation["values"]
    return sorted(values, key=lambda name: (-abs(values[name]), name))[:num]


def sentence(explanation):
    (name,) = top(explanation, 1)
    return f"{name} {'raises' if explanation['values'][name] > 0 else 'lowers'} the chance most"
"""


def reference(folder: Path) -> None:
    (folder / "reasons.py").write_text(REASONS)
    write_answers(folder)


def write_answers(folder: Path) -> None:
    reasons = runpy.run_path(str(folder / "reasons.py"))
    explanations = json.loads((folder / "explanations.json").read_text())
    whole = [each for each in explanations if reasons["adds_up"](each, 1e-3)]
    names = explanations[0]["values"]
    answers = {
        "broken": [each["id"] for each in explanations if each not in whole],
        "top_column": max(names, key=lambda name: sum(abs(each["values"][name]) for each in whole)),
        "chance_of_first": reasons["chance"](explanations[0]["output"]),
    }
    (folder / "answers.json").write_text(json.dumps(answers))


def residual_forgotten(folder: Path) -> None:
    replace_text(folder / "reasons.py", ' + explanation["residual"]', "")
    write_answers(folder)


def signed_means(folder: Path) -> None:
    explanations = json.loads((folder / "explanations.json").read_text())
    broken = json.loads((folder / "answers.json").read_text())["broken"]
    whole = [each for each in explanations if each["id"] not in broken]
    top = json.loads((folder / "answers.json").read_text())["top_column"]
    names = [name for name in whole[0]["values"] if name != top]
    best = max(names, key=lambda name: sum(each["values"][name] for each in whole))
    edit_json(folder / "answers.json", lambda answers: answers.update(top_column=best))


def plain_logistic(folder: Path) -> None:
    """The formula of the book, which overflows far away."""
    replace_text(folder / "reasons.py", "if output < 0:", "if False:")


def raises_first(folder: Path) -> None:
    replace_text(folder / "reasons.py", "(-abs(values[name]), name)", "(-values[name], name)")
