"""Checks of the lab "Nobody's number in the log"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

NAMES = ("ann.li", "bo+news", "c-7", "dara.k.m", "e_holt", "li.wei88")
HOSTS = ("example.com", "mail.example.org", "post.example.net")
COUNTRIES = ("+49", "+86", "+1", "+44")


@dataclass(frozen=True)
class Line:
    """A line, what it is masked to, and what is in it."""

    text: str
    masked: str
    kinds: tuple[str, ...]


def make(data: DataFolder) -> object:
    lines = simulate_lines(data.rng, int(data.rng.integers(380, 460)))
    data.write_text("support.log", "\n".join(line.text for line in lines) + "\n")
    counts = {kind: sum(line.kinds.count(kind) for line in lines) for kind in ("card", "mail", "phone", "order")}
    return counts | {f"lines_{kind}": sum(kind in line.kinds for line in lines) for kind in counts}


def simulate_lines(rng: np.random.Generator, num: int) -> list[Line]:
    """Lines with up to three things in them."""
    return [_line(rng) for _ in range(num)]


def _line(rng: np.random.Generator) -> Line:
    kinds = tuple(str(kind) for kind in rng.choice(["card", "mail", "phone", "order", "amount"], rng.integers(0, 4)))
    day, hour, minute = rng.integers(10, 28), rng.integers(10, 24), rng.integers(10, 60)
    time = f"2026-0{rng.integers(1, 10)}-{day} {hour}:{minute}:51"
    text = masked = f"{time} ticket {rng.integers(10_000, 99_999)}:"
    for kind in kinds:
        written = _written(rng, kind)
        lead = {"card": " paid by", "mail": " write to", "phone": " call", "order": " order", "amount": " amount"}[kind]
        text += f"{lead} {written}"
        masked += f"{lead} {written if kind in ('order', 'amount') else f'[{kind}]'}"
    ending = str(rng.choice([", please", ".", " + soon!", " (A/B)"]))
    return Line(text + ending, masked + ending, kinds)


def _written(rng: np.random.Generator, kind: str) -> str:
    if kind == "mail":
        return f"{rng.choice(NAMES)}@{rng.choice(HOSTS)}"
    if kind == "phone":
        country = str(rng.choice(COUNTRIES))
        digits = "".join(map(str, rng.integers(0, 10, 10)))
        mark = str(rng.choice([" ", "-"]))
        return f"{country}{mark}{digits[:3]}{mark}{digits[3:7]}{mark}{digits[7:]}"
    if kind == "amount":
        return f"{rng.integers(10, 90_000)}.{rng.integers(10, 99)}"
    number = [int(digit) for digit in rng.integers(0, 10, 15)]
    number[0] = int(rng.choice([4, 5]))
    check = -luhn_sum([*number, 0]) % 10
    number.append(check if kind == "card" else (check + int(rng.integers(1, 10))) % 10)
    mark = str(rng.choice(["", " ", "-"])) if kind == "card" else ""
    text = "".join(map(str, number))
    return mark.join(text[start : start + 4] for start in range(0, 16, 4))


def luhn_sum(digits: list[int]) -> int:
    doubled = [digit if place % 2 == 0 else 2 * digit - 9 * (digit > 4) for place, digit in enumerate(reversed(digits))]
    return sum(doubled)


def check_counts(work: Work) -> None:
    for kind in ("card", "mail", "phone"):
        key, right = f"num_{kind}s", work.truth[kind]
        said = work.number("answers.json", key)
        if said == right:
            continue
        why = Text("count each occurrence", "按每次出现计数")
        if kind == "card" and said == right + work.truth["order"]:
            why = Text(
                "order numbers are among them: their check digit does not fit", "其中混入了订单号：它们的校验位不符"
            )
        elif said == work.truth[f"lines_{kind}"]:
            why = Text("lines were counted, and a line may hold several", "统计的是行数，而一行可能含多个")
        raise Mistake("wrong_count", key=key, said=f"{said:g}", why=why)


def check_cards(work: Work) -> None:
    missing_in(work, "card")


def check_mails(work: Work) -> None:
    missing_in(work, "mail")


def check_phones(work: Work) -> None:
    missing_in(work, "phone")
    for line, said in masked_lines(work, "amount"):
        if "amount" in line.kinds and said.count("[phone]") > line.kinds.count("phone"):
            raise Mistake("too_much", what=Text("an amount or a time", "金额或时间"), example=line.masked)


def check_orders(work: Work) -> None:
    for line, said in masked_lines(work, "order"):
        if "order" in line.kinds and said.count("[card]") > line.kinds.count("card"):
            raise Mistake("too_much", what=Text("an order number", "订单号"), example=line.masked)


def check_rest(work: Work) -> None:
    lines = [line for line in simulate_lines(work.rng("rest"), 150) if len(set(line.kinds)) == len(line.kinds)]
    first = work.call("mask.py", "mask", *([line.text] for line in lines))
    again = work.call("mask.py", "mask", *([said] for said in first))
    for line, said, twice in zip(lines, first, again, strict=True):
        if said != line.masked:
            raise Mistake("changed", before=line.masked, after=str(said)[:120])
        if twice != said:
            raise Mistake("changed", before=said, after=str(twice)[:120])


def missing_in(work: Work, kind: str) -> None:
    for line, said in masked_lines(work, kind):
        if said.count(f"[{kind}]") < line.kinds.count(kind):
            raise Mistake("left_in", kind=kind, example=line.masked.replace(f"[{kind}]", f"({kind})"))


def masked_lines(work: Work, kind: str) -> list[tuple[Line, str]]:
    """Lines with a thing of that kind that nobody has seen, and what mask() makes of them."""
    lines = [line for line in simulate_lines(work.rng(kind), 300) if kind in line.kinds]
    texts = work.call("mask.py", "mask", *([line.text] for line in lines))
    return list(zip(lines, map(str, texts), strict=True))
