"""Solutions of the lab masked_logs."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

from learn.solutions.tools import replace_text

WRONG = {
    "no_check_digit": "too_much", "plain_digits_alone": "left_in", "lower_case": "changed",
    "lines_counted": "wrong_count",
}  # fmt: skip

MASK = r"""
import re

MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
CARD = re.compile(r"(?<!\d)\d{4}(?:[ -]?\d{4}){3}(?!\d)")
PHONE = re.compile(r"\+\d(?:[ -]?\d){9,13}(?!\d)")


def is_card(text):
    digits = [int(digit) for digit in re.sub(r"\D", "", text)]
    total = 0
    for place, digit in enumerate(reversed(digits)):
        digit = digit * 2 if place % 2 else digit
        total += digit - 9 if digit > 9 else digit
    return total % 10 == 0


def mask(text):
    text = MAIL.sub("[mail]", text)
    text = PHONE.sub("[phone]", text)
    return CARD.sub(lambda match: "[card]" if is_card(match[0]) else match[0], text)
"""


def reference(folder: Path) -> None:
    (folder / "mask.py").write_text(MASK)
    write_answers(folder)


def write_answers(folder: Path) -> None:
    mask = runpy.run_path(str(folder / "mask.py"))["mask"]
    text = "\n".join(mask(line) for line in (folder / "support.log").read_text().splitlines())
    counts = {f"num_{kind}s": text.count(f"[{kind}]") for kind in ("card", "mail", "phone")}
    (folder / "answers.json").write_text(json.dumps(counts))


def no_check_digit(folder: Path) -> None:
    replace_text(folder / "mask.py", "return total % 10 == 0", "return True")
    write_answers(folder)


def plain_digits_alone(folder: Path) -> None:
    replace_text(folder / "mask.py", r"\d{4}(?:[ -]?\d{4}){3}", r"\d{16}")


def lower_case(folder: Path) -> None:
    replace_text(folder / "mask.py", 'MAIL.sub("[mail]", text)', 'MAIL.sub("[mail]", text.lower())')


def lines_counted(folder: Path) -> None:
    mask = runpy.run_path(str(folder / "mask.py"))["mask"]
    lines = [mask(line) for line in (folder / "support.log").read_text().splitlines()]
    counts = {f"num_{kind}s": sum(f"[{kind}]" in line for line in lines) for kind in ("card", "mail", "phone")}
    (folder / "answers.json").write_text(json.dumps(counts))
