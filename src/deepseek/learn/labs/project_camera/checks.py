"""Checks of the project "Digits on a device": figures on held digits, damaged files and a pulled plug."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.errors import DeepseekError
from deepseek.learn.grading.chaos import change_byte
from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

Array = NDArray[Any]
NUM_TRAIN, NUM_VALIDATION = 1_000, 200
MAX_BYTES, MIN_HELD, MIN_DEAD, DEAD = 24_000, 0.93, 0.82, 0.3
VERSIONS, NUM_KILLS, LOOK_S = "versions.py", 3, 0.3
LABELS = [str(digit) for digit in range(10)]


def make(data: DataFolder) -> object:
    x, y = digits_of(data.seed)
    for name, rows in (("train", slice(NUM_TRAIN)), ("validation", slice(NUM_TRAIN, NUM_TRAIN + NUM_VALIDATION))):
        np.savez(data.path(f"{name}.npz"), x=x[rows], y=y[rows])
    return {}


def digits_of(seed: int) -> tuple[Array, Array]:
    """Digits with rows and pixels in orders of the learner's own; the last rows are the grader's."""
    from sklearn.datasets import load_digits

    source, rng = load_digits(), np.random.default_rng([seed, 11])
    order = rng.permutation(len(source.target))
    x = (source.data[:, rng.permutation(64)] / 16).astype(np.float32)[order]
    return x, source.target[order].astype(np.int64)


def held_digits(work: Work) -> tuple[Array, Array]:
    x, y = digits_of(work.seed)
    return x[NUM_TRAIN + NUM_VALIDATION :], y[NUM_TRAIN + NUM_VALIDATION :]


def probabilities(work: Work, x: Array) -> Array:
    """Of each digit, by the bundle in this process."""
    import pandas as pd

    import deepseek

    model = deepseek.load(work.bundle("model"))
    names = [column.name for column in model.manifest.inputs]
    if len(names) != 64 or sorted(model.manifest.labels or []) != LABELS:
        raise Mistake("wrong_bundle", said=f"{len(names)}, {model.manifest.labels}")
    answers = model.predict(pd.DataFrame(x, columns=names))
    order = [list(map(str, answers.labels_known)).index(label) for label in LABELS]
    return np.asarray(answers.probabilities)[:, order]


def check_verifies(work: Work) -> None:
    path = work.bundle("model") / "model.onnx"
    size = path.stat().st_size if path.is_file() else MAX_BYTES + 1
    if size > MAX_BYTES:
        raise Mistake("too_large", said=size, limit=MAX_BYTES)


def check_held(work: Work) -> None:
    x, y = held_digits(work)
    share = float((probabilities(work, x).argmax(1) == y).mean())
    if share < MIN_HELD:
        raise Mistake("weak", said=f"{100 * share:.1f}", num=len(y), wanted=round(100 * MIN_HELD))


def check_dead_pixels(work: Work) -> None:
    x, y = held_digits(work)
    share = float((probabilities(work, with_dead_pixels(work, x)).argmax(1) == y).mean())
    if share < MIN_DEAD:
        raise Mistake("needs_all_pixels", said=f"{100 * share:.1f}", num=len(y), wanted=round(100 * MIN_DEAD))


def with_dead_pixels(work: Work, x: Array) -> Array:
    return x * (work.rng("dead").random(x.shape) > DEAD).astype(np.float32)


def check_newest(work: Work) -> None:
    folder = work.place.folder / "versions-newest"
    for name in ("8", "9", "10", "11"):
        shutil.copytree(work.bundle("model"), folder / name)
    (folder / "notes.txt").write_text("not a version")
    (folder / ".new-12").mkdir()
    names = sorted(path.name for path in folder.iterdir())
    (folder / "11" / "model.onnx").unlink()
    change_byte(folder / "10" / "model.onnx", work.rng("byte"))
    hold_newest(
        work,
        folder,
        names,
        "9",
        Text("11 lacks a file, and in 10 a byte was changed", "11 缺一个文件，10 有一个字节被改动"),
    )
    shutil.rmtree(folder / "10")
    shutil.copytree(work.bundle("model"), folder / "10")
    hold_newest(work, folder, names, "10", Text("10 is a larger number than 9", "10 比 9 大"))
    for name in ("8", "9", "10"):
        shutil.rmtree(folder / name)
    hold_newest(work, folder, [".new-12", "11", "notes.txt"], None, Text("none of them is whole", "没有一个是完整的"))


def hold_newest(work: Work, folder: Path, names: list[str], wanted: str | None, why: Text) -> None:
    (said,) = work.call(VERSIONS, "newest", [folder.name])
    if (said is not None and str(said) != wanted) or (said is None and wanted is not None):
        raise Mistake("wrong_newest", names=", ".join(names), said=str(said)[:30], wanted=wanted, why=why)


def check_refused(work: Work) -> None:
    folder, source = work.place.folder / "versions-refused", work.place.folder / "source-damaged"
    shutil.copytree(work.bundle("model"), source)
    change_byte(source / "model.onnx", work.rng("byte"))
    try:
        work.call(VERSIONS, "install", [source.name, folder.name, "3"])
    except Mistake as error:
        if error.code != "solution_raised" or not str(error.values["error"]).startswith("ValueError"):
            raise
    else:
        raise Mistake("took_damaged")
    if folder.is_dir() and (names := sorted(path.name for path in folder.iterdir())):
        raise Mistake("left_behind", name=names[0])


def check_killed(work: Work) -> None:
    """Killed as soon as a file of the new version is there; the last one is let through."""
    folder, source = work.place.folder / "versions-killed", work.place.folder / "source-good"
    shutil.copytree(work.bundle("model"), source)
    for number in range(NUM_KILLS):
        name = str(number + 1)
        work.kill(VERSIONS, "install", source.name, folder.name, name, when=sees_more(folder, num_files(folder)))
        if (folder / name).exists() and (problem := problem_of(folder / name)):
            raise Mistake("half_version", name=name, problem=problem)
    work.call(VERSIONS, "install", [source.name, folder.name, "9"])
    if problem := problem_of(folder / "9"):
        raise Mistake("not_installed", name="9", problem=problem)


def sees_more(folder: Path, num: int) -> Callable[[], bool]:
    """Looks without a pause for some time: a copy takes milliseconds."""

    def look() -> bool:
        end_s = time.monotonic() + LOOK_S
        while num_files(folder) <= num:
            if time.monotonic() > end_s:
                return False
        return True

    return look


def num_files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*")) if folder.is_dir() else 0


def problem_of(path: Path) -> str:
    """What is wrong with a bundle; "" where nothing is."""
    from deepseek.bundle import verification

    try:
        return next(iter(verification(path).problems), "")
    except DeepseekError as error:
        return error.message


def check_watch(work: Work) -> None:
    x, _ = held_digits(work)
    whole, dead = probabilities(work, x).max(1), probabilities(work, with_dead_pixels(work, x)).max(1)
    rng = work.rng("days")
    order = rng.permutation(len(whole))
    usual, other = whole[order[:300]], whole[order[300:]]
    level = rng.uniform(0.5, 0.9, 400)
    cases = [
        (usual, dead),
        (usual, other),
        (usual, usual[:3] - 0.03),
        (level, level - 0.015),
        (usual, np.minimum(usual + 0.1, 1)),
    ]
    calls = [[first.tolist(), second.tolist()] for first, second in cases]
    for (first, second), said in zip(cases, work.call("watch.py", "is_unsure", *calls), strict=True):
        wanted = is_unsure_right(first, second)
        if said is not wanted:
            raise Mistake("wrong_watch", said=str(said)[:20], mean=f"{second.mean():.3f}", usual=f"{first.mean():.3f}",
                          num=len(second), wanted=wanted)  # fmt: skip


def is_unsure_right(usual: Array, today: Array) -> bool:
    gap = float(usual.mean() - today.mean())
    return gap > 0.02 and gap > 4 * math.sqrt(usual.var() / len(usual) + today.var() / len(today))
