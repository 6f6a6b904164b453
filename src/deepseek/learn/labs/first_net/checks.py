"""Checks of the lab "A first net that can be repeated"."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepseek.learn.grading.kit import DataFolder, Mistake, Work

NUM_TRAIN, NUM_NEW = 900, 300
MIN_SHARE = 0.92
NOISE = 1.2


def make(data: DataFolder) -> object:
    pixels, digits = make_scans(data.rng, NUM_TRAIN + NUM_NEW)
    columns = {f"p{place}": pixels[:, place] for place in range(64)}
    data.write_csv("train.csv", {name: values[:NUM_TRAIN] for name, values in columns.items()}
                   | {"digit": digits[:NUM_TRAIN]})  # fmt: skip
    data.write_csv("new.csv", {name: values[NUM_TRAIN:] for name, values in columns.items()})
    return {"new": digits[NUM_TRAIN:].tolist()}


def make_scans(rng: np.random.Generator, num: int) -> tuple[Any, Any]:
    """Pictures (num, 64) and their digits, through the noise of a scanner."""
    from sklearn.datasets import load_digits

    source = load_digits()
    rows = rng.choice(len(source.target), num, replace=False)
    pixels = source.data[rows] + rng.normal(0, NOISE, (num, 64))
    return np.round(np.clip(pixels, 0, 16), 1), source.target[rows]


def check_own(work: Work) -> None:
    said = work.read_csv("predictions.csv", "digit")
    right = work.truth["new"]
    if len(said) != len(right):
        raise Mistake("few_rows", num=len(said), wanted=len(right))
    share = np.mean([row["digit"].strip() == str(digit) for row, digit in zip(said, right, strict=True)])
    if share < MIN_SHARE:
        raise Mistake("weak_own", share=f"{share:.2f}")


def check_learns(work: Work) -> None:
    pixels, digits = make_scans(work.rng("learns"), 1_000)
    (said,) = digits_of(work, [pixels[:700], digits[:700], pixels[700:], 1])
    share = (said == digits[700:]).mean()
    if share < MIN_SHARE:
        raise Mistake("weak", share=f"{share:.2f}", wanted=MIN_SHARE)


def check_repeats(work: Work) -> None:
    pixels, digits = make_scans(work.rng("repeats"), 500)
    call = [pixels[:200], digits[:200], pixels[200:] + 2.0, 5]  # few rows, so that nets differ in their answers
    first, second = (digits_of(work, call)[0] for _ in range(2))  # a process each
    if (first != second).any():
        raise Mistake("not_repeated", num=(first != second).sum(), total=len(first))


def check_alone(work: Work) -> None:
    rng = work.rng("alone")
    pixels, digits = make_scans(rng, 500)
    # The others come first: dropout that was left on draws other numbers for the same pictures then.
    few, dark = pixels[200:260], np.clip(pixels[260:] * 0.2, 0, 16)
    alone, among = digits_of(
        work, [pixels[:200], digits[:200], few, 6], [pixels[:200], digits[:200], np.concatenate([dark, few]), 6]
    )
    num = (alone != among[-len(few) :]).sum()
    if num:
        raise Mistake("by_company", num=num, total=len(few))


def check_scale(work: Work) -> None:
    pixels, digits = make_scans(work.rng("scale"), 1_000)
    pixels = np.round(pixels / 16 * 255)
    (said,) = digits_of(work, [pixels[:700], digits[:700], pixels[700:], 2])
    share = (said == digits[700:]).mean()
    if share < MIN_SHARE - 0.04:
        raise Mistake("wrong_scale", share=f"{share:.2f}")


def digits_of(work: Work, *calls: list[Any]) -> list[Any]:
    """What fit_predict() returns for each, as arrays."""
    answers = []
    for call, said in zip(calls, work.call("net.py", "fit_predict", *calls, seconds=60), strict=True):
        try:
            answer = np.asarray(said).astype(int).reshape(-1)
        except (TypeError, ValueError):
            answer = np.empty(0, int)
        if len(answer) != len(call[2]):
            raise Mistake("wrong_shape", said=str(said)[:40], wanted=len(call[2]))
        answers.append(answer)
    return answers
