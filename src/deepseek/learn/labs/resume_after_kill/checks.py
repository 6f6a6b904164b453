"""Checks of the lab "On after a kill": the grader ends the process by SIGKILL and changes bytes of what it has left."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

Array = NDArray[np.float64]
PATIENCE, NUM_EPOCHS, FILE = 4, 24, "train.py"
NUM_STEPS, EVERY, MIN_ACCURACY = 4_000, 200, 0.88
MAX_TRIES = 4  # a fast machine may have done all steps before it is ended: then there are twice as many
MAX_KILLS = 12  # until one does not fall into the writing of a checkpoint, where that matters
#: Weights of uninterrupted runs of this grading, by the fresh seed.
_WHOLE: dict[tuple[int, int], Array] = {}


def make(data: DataFolder) -> object:
    """Curves of four rates: too low, two that are good, and one that runs off. Overfitting sets in after the best."""
    rng = data.rng
    rates = sorted(round(float(rate), 4) for rate in np.exp(rng.uniform(-8, -2, 4)))
    while True:
        rows, best = [], []
        for number, rate in enumerate(rates):
            turn, depth = int(rng.integers(8, 17)), float(rng.uniform(0.25, 0.45)) + (0.5 if number in (0, 3) else 0)
            epochs = np.arange(NUM_EPOCHS)
            fall = 2.3 * np.exp(-epochs / turn * 2.5)
            validation = depth + fall + 0.012 * np.maximum(epochs - turn, 0) + rng.normal(0, 0.02, NUM_EPOCHS)
            train = 0.9 * fall + 0.3 * depth * np.exp(-epochs / 15) + 0.02 * number
            rows += [(rate, epoch, round(float(t), 4), round(float(v), 4))
                     for epoch, t, v in zip(epochs.tolist(), train, validation, strict=True)]  # fmt: skip
            best.append(min((round(float(v), 4), epoch) for epoch, v in enumerate(validation)))
        losses = sorted(row[3] for row in rows)
        rate = rates[int(np.argmin([each[0] for each in best]))]
        own = [row[3] for row in rows if row[0] == rate]
        if len(set(rates)) == 4 and losses[0] < losses[1] and 4 < int(np.argmin(own)) < NUM_EPOCHS - 1:
            break
    names = ("rate", "epoch", "train_loss", "validation_loss")
    data.write_csv("curves.csv", {name: [row[place] for row in rows] for place, name in enumerate(names)})
    by_train = min(rows, key=lambda row: row[2])
    return {"rate": rate, "epoch": int(np.argmin(own)), "stopped": stop_right(own, PATIENCE)[1],
            "train_rate": by_train[0], "train_epoch": by_train[1]}  # fmt: skip


def stop_right(losses: list[float], patience: int) -> list[int]:
    best, lowest = 0, math.inf
    for epoch, loss in enumerate(losses):
        if loss < lowest:
            best, lowest = epoch, loss
        elif epoch - best >= patience:
            return [best, epoch]
    return [best, len(losses) - 1]


def check_own(work: Work) -> None:
    truth = work.truth
    for key in ("rate", "epoch", "stopped"):
        said = work.number("answers.json", key)
        if abs(said - truth[key]) > 1e-9:
            why = Text("look for the lowest validation loss of all", "请找所有验证损失中最低者")
            if key != "stopped" and said == truth[f"train_{key}"]:
                why = Text("that is the lowest training loss", "那是最低的训练损失")
            elif key == "stopped":
                why = Text("the first epoch in which the best so far is 4 epochs old", "最好值已过去 4 轮的第一轮")
            raise Mistake("wrong_own", key=key, said=f"{said:g}", why=why)


def check_stops(work: Work) -> None:
    rng = work.rng("stops")
    drawn = np.round(rng.uniform(0.1, 1, 15), 2).tolist()
    cases = [(drawn, 3), ([1.0, 0.5, 0.5, 0.5, 0.4], 2), ([math.nan, 0.9, math.nan, 0.8, 0.7], 2), ([3.0, 2.0, 1.0], 5)]
    for (losses, patience), said in zip(cases, work.call(FILE, "stop_epoch", *map(list, cases)), strict=True):
        wanted = stop_right(losses, patience)
        if said != wanted:
            raise Mistake("wrong_stop", losses=losses, patience=patience, said=str(said)[:30], wanted=wanted)


def check_learns(work: Work) -> None:
    weights = whole_run(work, NUM_STEPS)
    x, y = digits(work)[1]
    share = float(((np.column_stack([x, np.ones(len(x))]) @ weights.T).argmax(1) == y).mean())
    if share < MIN_ACCURACY:
        raise Mistake("not_learned", said=f"{100 * share:.1f}")
    if (num := num_lines(work, whole_folder(NUM_STEPS))) != NUM_STEPS:
        raise Mistake("wrong_log", said=num, wanted=NUM_STEPS)


def check_same(work: Work) -> None:
    steps, step = interrupt(work, "run-same")
    gap = gap_of(train(work, "run-same", steps), whole_run(work, steps))
    if gap > 0:
        raise Mistake("not_same", step=step, gap=f"{gap:.3g}")


def check_goes_on(work: Work) -> None:
    steps, step = interrupt(work, "run-on")
    train(work, "run-on", steps)
    more = num_lines(work, "run-on") - step
    if more > steps - step + EVERY + 1:
        raise Mistake("began_anew", step=step, said=more, wanted=steps - step, every=EVERY)


def check_damaged(work: Work) -> None:
    steps, step = interrupt(work, "run-damaged", may_end_at=is_between_checkpoints)
    files = [
        path for path in (work.place.folder / "run-damaged").rglob("*") if path.is_file() and path.name != "steps.log"
    ]
    files = [path for path in files if path.stat().st_size >= 64]
    if not files:
        raise Mistake("no_checkpoint", step=step)
    newest = max(path.stat().st_mtime_ns for path in files)
    path = max((path for path in files if newest - path.stat().st_mtime_ns < 5e6), key=lambda path: path.stat().st_size)
    change_bytes(path, work.rng("damage"))
    name = path.relative_to(work.place.folder).as_posix()
    try:
        weights = train(work, "run-damaged", steps)
    except Mistake as error:
        if error.code != "solution_raised":
            raise
        raise Mistake("damage_stops", name=name, error=error.values["error"]) from error
    if (gap := gap_of(weights, whole_run(work, steps))) > 0:
        raise Mistake("damage_trusted", name=name, gap=f"{gap:.3g}")


def change_bytes(path: Path, rng: np.random.Generator) -> None:
    """Sixteen bytes in the middle become others; digits stay digits, so that a text still looks like one."""
    content = bytearray(path.read_bytes())
    begin = len(content) // 2 + int(rng.integers(0, 8))
    for place in range(begin, begin + 16):
        byte = content[place]
        content[place] = 48 + (byte - 47) % 10 if 48 <= byte <= 57 else byte ^ (1 if 32 <= byte < 127 else 0x5A)
    path.write_bytes(content)


def interrupt(work: Work, folder: str, *, may_end_at: Callable[[int], bool] = lambda _step: True) -> tuple[int, int]:
    """Begin a training and end it by SIGKILL after a third of its steps, at one that `may_end_at` allows: how many it
    was to take, and had taken."""
    steps, num_ended, num_killed = NUM_STEPS, 0, 0
    while True:
        when = partial(has_reached, work, folder, steps // 3, may_end_at)
        is_killed = work.kill(FILE, "train", *arguments(work, folder, steps), when=when)
        step = num_lines(work, folder)
        num_ended, num_killed = num_ended + (not is_killed), num_killed + is_killed
        if (is_killed and may_end_at(step)) or num_killed == MAX_KILLS:
            return steps, step
        shutil.rmtree(work.place.folder / folder)
        if num_ended == MAX_TRIES:
            return steps, 0
        steps *= 1 if is_killed else 2


def has_reached(work: Work, folder: str, num: int, may_end_at: Callable[[int], bool]) -> bool:
    step = num_lines(work, folder)
    return step >= num and may_end_at(step)


def is_between_checkpoints(num_steps: int) -> bool:
    """Whether no checkpoint is being written after so many lines of the log, be it before its own line or after it.
    That takes most of the time where disks are slow; what is newest then is half a file that nobody would read, and to
    change its bytes would try nothing."""
    return num_steps % EVERY not in (0, EVERY - 1)


def arguments(work: Work, folder: str, steps: int) -> list[Any]:
    x, y = digits(work)[0]
    (work.place.folder / folder).mkdir(exist_ok=True)
    return [x, y, folder, steps, EVERY]


def train(work: Work, folder: str, steps: int) -> Array:
    (said,) = work.call(FILE, "train", arguments(work, folder, steps))
    try:
        weights = np.asarray(said, np.float64)
    except (TypeError, ValueError):
        weights = np.zeros(0)
    if weights.shape != (10, 65) or not np.isfinite(weights).all():
        raise Mistake("no_weights", said=str(getattr(said, "shape", said))[:40])
    return weights


def whole_run(work: Work, steps: int) -> Array:
    """The weights of a run that nobody interrupts."""
    key = (work.fresh_seed, steps)
    if key not in _WHOLE:
        _WHOLE[key] = train(work, whole_folder(steps), steps)
    return _WHOLE[key]


def whole_folder(steps: int) -> str:
    return f"run-whole-{steps}"


def gap_of(first: Array, second: Array) -> float:
    return float(np.abs(first - second).max())


def num_lines(work: Work, folder: str) -> int:
    path = work.place.folder / folder / "steps.log"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def digits(work: Work) -> tuple[tuple[Array, Any], tuple[Array, Any]]:
    """Digits of scikit-learn with pixels in an order of this grading: rows to learn from, and others."""
    from sklearn.datasets import load_digits

    source, rng = load_digits(), work.rng("digits")
    x, order = source.data[:, rng.permutation(64)] / 16, rng.permutation(len(source.target))
    y = source.target.astype(np.int64)
    return (x[order[:700]], y[order[:700]]), (x[order[700:1_300]], y[order[700:1_300]])
