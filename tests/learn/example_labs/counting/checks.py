"""Checks of a lab for tests: fast, and one of them depends on chance."""

from __future__ import annotations

from deepseek.learn.grading.kit import DataFolder, Mistake, Work


def make(data: DataFolder) -> object:
    numbers = data.rng.integers(0, 1_000, 20)
    data.write_csv("numbers.csv", {"number": numbers})
    return {"sum": int(numbers.sum())}


def check_answer(work: Work) -> None:
    said = work.number("answer.json", "sum")
    if said != work.truth["sum"]:
        raise Mistake("wrong_sum", wanted="another", said=f"{said:g}")


def check_total(work: Work) -> None:
    numbers = work.rng("total").integers(0, 1_000, 10).tolist()
    (total,) = work.call("solution.py", "total", [numbers], seconds=5)
    if total != sum(numbers):
        raise Mistake("wrong_sum", wanted=sum(numbers), said=total)


def check_chance(work: Work) -> None:
    """Holds where the seed of the grading is even, so at one of two runs: a step between them is odd."""
    if work.fresh_seed % 2:
        raise Mistake("unlucky")


def check_empty(work: Work) -> None:
    (total,) = work.call("solution.py", "total", [[]], seconds=5)
    if total != 0:
        raise Mistake("wrong_sum", wanted=0, said=total)


def check_read(work: Work) -> None:
    work.read_json("answer.json")
