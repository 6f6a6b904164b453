"""Checks of the project "A training that nobody has to sit beside": ranks and whole runs are ended by SIGKILL."""

from __future__ import annotations

import math
import os
import signal
import time
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import JsonObject
from deepseek.data.table.npz import read_npz
from deepseek.errors import DeepseekError
from deepseek.learn.grading.chaos import kill_all, kill_one
from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work
from deepseek.learn.grading.runner import SolutionProcess

Array = NDArray[Any]
NUM_ROWS, NUM_TRAIN, MIN_ACCURACY, MAX_SHARE = 420, 315, 0.93, 2 / 3
MIN_STEPS, EVERY, KILL_AT, OWN_ROWS = 300, 60, 230, (400, 20_000)
FILE, POLL_S = "train.py", 0.01
RANK_KILLED = Text("a rank was killed", "一个 rank 被杀死")
ALL_KILLED = Text("all of it was killed", "整个运行被杀死")
#: Answers on the rows that were kept back, of the run that nobody disturbs, and its steps; by the fresh seed.
_WHOLE: dict[int, tuple[Array, int]] = {}


def make(data: DataFolder) -> object:
    x, y = tumours_of(data.seed)
    np.savez(data.path("rows.npz"), x=x[:NUM_ROWS], y=y[:NUM_ROWS])
    return {}


def tumours_of(seed: int) -> tuple[Array, Array]:
    """The tumours with rows and columns in orders of the learner's own, each column in another unit."""
    from sklearn.datasets import load_breast_cancer

    source, rng = load_breast_cancer(), np.random.default_rng([seed, 12])
    order, columns = rng.permutation(len(source.target)), rng.permutation(30)
    x = source.data[:, columns] * np.exp(rng.uniform(-2, 2, 30))
    return x.astype(np.float32)[order], source.target[order].astype(np.int64)


def check_bundle(work: Work) -> None:
    import pandas as pd

    import deepseek

    model = deepseek.load(work.bundle("model"))
    names, labels = [column.name for column in model.manifest.inputs], sorted(map(str, model.manifest.labels or []))
    if len(names) != 30 or labels != ["0", "1"]:
        raise Mistake("wrong_bundle", said=f"{len(names)}, {labels}")
    x, y = (each[NUM_ROWS:] for each in tumours_of(work.seed))
    answers = model.predict(pd.DataFrame(x, columns=names)).labels
    if answers is None:
        raise Mistake("wrong_bundle", said=Text("a number", "数值"))
    share = sum(str(label) == str(right) for label, right in zip(answers, y.tolist(), strict=True)) / len(y)
    if share < MIN_ACCURACY:
        raise Mistake("weak", said=f"{100 * share:.1f}", num=len(y))


def check_held(work: Work) -> None:
    _, (_, y) = rows_of(work)
    wrong = int((whole_run(work)[0] != y).sum())
    allowed = math.floor((1 - MIN_ACCURACY) * len(y))
    if is_own(work):
        allowed = math.floor(MAX_SHARE * (len(y) - np.bincount(y).max()))
    if wrong > allowed:
        raise Mistake("not_learned", num=len(y), said=wrong, wanted=allowed)


def check_log(work: Work) -> None:
    _, num_steps = whole_run(work)
    if num_steps < MIN_STEPS:
        wanted = Text(f"at least {MIN_STEPS} lines", f"至少 {MIN_STEPS} 行")
        raise Mistake("no_log", name="steps.log", said=num_steps, wanted=wanted)
    for rank in (0, 1):
        if not pid_of(work, "run-whole", rank):
            wanted = Text("its process id", "其进程号")
            raise Mistake("no_log", name=f"rank-{rank}.pid", said=Text("not there", "不存在"), wanted=wanted)


def check_rank_killed(work: Work) -> None:
    whole_run(work)

    def kill_rank() -> bool:
        pid = pid_of(work, "run-rank", 1)
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(pid)

    with begin(work, "run-rank") as process:
        step = wait_for_steps(work, process, "run-rank")
        if process.is_running and not kill_rank():
            raise Mistake(
                "no_log", name="rank-1.pid", said=Text("not there", "不存在"), wanted=Text("its process id", "其进程号")
            )
        process.wait()
        try:
            process.results()
        except Mistake as error:
            if error.code != "solution_raised":
                raise
            raise Mistake("ended_by_kill", step=step, error=error.values["error"]) from error
    hold_outcome(work, "run-rank", step, RANK_KILLED)


def check_all_killed(work: Work) -> None:
    whole_run(work)
    with begin(work, "run-all") as process:
        step = wait_for_steps(work, process, "run-all")
        kill_all(process.child.pid)
    time.sleep(0.5)
    with begin(work, "run-all") as process:
        process.wait()
        process.results()
    hold_outcome(work, "run-all", step, ALL_KILLED)


def hold_outcome(work: Work, folder: str, step: int, what: Text) -> None:
    answers, num_steps = whole_run(work)
    said = num_lines(work, folder)
    if step < num_steps and said > num_steps + 2 * EVERY:
        raise Mistake("began_anew", what=what, step=step, said=said, whole=num_steps)
    different = int((predict(work, folder) != answers).sum())
    if different:
        raise Mistake("other_outcome", what=what, step=step, num=different, total=len(answers))


def whole_run(work: Work) -> tuple[Array, int]:
    """Answers on the rows that were kept back, of a training that nobody disturbs, and its number of steps."""
    if work.fresh_seed not in _WHOLE:
        with begin(work, "run-whole") as process:
            process.wait()
            process.results()
        _WHOLE[work.fresh_seed] = predict(work, "run-whole"), num_lines(work, "run-whole")
    return _WHOLE[work.fresh_seed]


def begin(work: Work, folder: str) -> SolutionProcess:
    (x, y), _ = rows_of(work)
    (work.place.folder / folder).mkdir(exist_ok=True)
    np.savez(work.place.folder / "drawn.npz", x=x, y=y)
    return SolutionProcess(work.place, FILE, "train", [["drawn.npz", folder, 2]])


def wait_for_steps(work: Work, process: SolutionProcess, folder: str) -> int:
    """Wait until so many steps were taken; how many there are then."""
    while process.is_running and num_lines(work, folder) < KILL_AT:
        time.sleep(POLL_S)
    return num_lines(work, folder)


def predict(work: Work, folder: str) -> Array:
    _, (x, y) = rows_of(work)
    (said,) = work.call(FILE, "predict", [folder, x])
    try:
        answers = np.asarray(said, np.float64)
    except (TypeError, ValueError):
        answers = np.zeros(0)
    if answers.shape != y.shape:
        raise Mistake("no_classes", said=str(said)[:40], num=len(y))
    return answers


def is_own(work: Work) -> bool:
    return (work.folder / "own.npz").exists()


def rows_of(work: Work) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Rows to train on and rows that are kept back, new in each grading; of the learner's own data where there is."""
    if is_own(work):
        x, y = read_own(work)
    else:
        x, y = (each[:NUM_ROWS] for each in tumours_of(work.seed))
    order = work.rng("rows").permutation(len(y))
    train, held = order[: len(y) * 3 // 4], order[len(y) * 3 // 4 :]
    return (x[train], y[train]), (x[held], y[held])


def read_own(work: Work) -> tuple[Array, Array]:
    try:
        arrays = read_npz(work.path("own.npz"), "own.npz")
        x, y = np.asarray(arrays["x"], np.float32), np.asarray(arrays["y"])
    except (DeepseekError, ValueError, KeyError, TypeError) as error:
        raise Mistake("bad_own", problem=str(error)[:80]) from error
    problem = None
    if x.ndim != 2 or y.shape != (len(x),) or not OWN_ROWS[0] <= len(x) <= OWN_ROWS[1]:
        problem = Text(
            "x is rows by columns, y one for each, 400 to 20,000 of them", "x 为行×列，y 每行一个，共 400 到 20,000 行"
        )
    elif y.dtype.kind not in "iu" or y.min() != 0 or len(np.unique(y)) != y.max() + 1 or y.max() < 1:
        problem = Text("classes are 0, 1, ... without a gap", "类别应为连续的 0、1、……")
    elif not np.isfinite(x).all():
        problem = Text("x has numbers that are not finite", "x 含非有限数")
    if problem is not None:
        raise Mistake("bad_own", problem=problem)
    return x, y.astype(np.int64)


def pid_of(work: Work, folder: str, rank: int) -> int:
    """The process of a rank by its file; 0 where there is none."""
    with suppress(OSError, ValueError):
        return int((work.place.folder / folder / f"rank-{rank}.pid").read_text("utf-8"))
    return 0


def num_lines(work: Work, folder: str) -> int:
    path = work.place.folder / folder / "steps.log"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def check_served(work: Work) -> None:
    x, _ = tumours_of(work.seed)
    with work.serve("model", "--workers", "2") as served:
        names = [column["name"] for column in work.value("model/bundle.json", "inputs")]
        rows = [dict(zip(names, row.tolist(), strict=True)) for row in x[NUM_ROWS : NUM_ROWS + 5]]
        served.predict(rows)
        kill_one(served.pid, words="deepseek.engines")
        for _ in range(10):
            status, answer = served.predict(rows)
            if status != 200 or len(answer.get("predictions", [])) != len(rows):
                raise Mistake("not_served", said=status)


def check_watch(work: Work) -> None:
    rng = work.rng("watch")
    fall = 0.3 + 2 * np.exp(-np.arange(200) / 40) + rng.normal(0, 0.02, 200)
    cases: list[tuple[Array, float, Text, str]] = [
        (fall, 5, Text("goes on as it should", "正常进行"), "fine"),
        (np.concatenate([fall, np.linspace(0.4, 3, 40)]), 5, Text("runs off slowly", "缓慢发散"), "diverged"),
        (
            np.concatenate([fall, [0.3, math.nan, 0.3]]),
            5,
            Text("has had a loss that is no number", "出现过非数值损失"),
            "diverged",
        ),
        (
            fall,
            11,
            Text("has taken no step for eleven times as long as usual", "已有平时十一倍的时间没有走步"),
            "silent",
        ),
        (np.concatenate([fall, np.linspace(0.4, 3, 40)]), 900, Text("has run off and ended", "发散后停止"), "diverged"),
        (fall[:30], 5, Text("has just begun", "刚刚开始"), "fine"),
        (fall[:0], 5, Text("has no step yet", "还没有走步"), "fine"),
    ]
    logs = [log_of(losses, rng) for losses, _, _, _ in cases]
    calls = [
        [log, (log[-1]["time_s"] if log else 0.0) + 2.0 * times]
        for log, (_, times, _, _) in zip(logs, cases, strict=True)
    ]
    for (_, _, what, wanted), said in zip(cases, work.call("watch.py", "state_of", *calls), strict=True):
        if said != wanted:
            raise Mistake("wrong_state", said=str(said)[:20], what=what, wanted=wanted)


def log_of(losses: Array, rng: np.random.Generator) -> list[JsonObject]:
    """A line for each step, two seconds apart, but for a pause of the machine."""
    times = np.cumsum(np.where(np.arange(len(losses)) == 12, 60.0, 2.0)) + float(rng.integers(0, 1_000))
    return [{"time_s": float(when), "step": step, "loss": float(loss)}
            for step, (when, loss) in enumerate(zip(times, losses, strict=True))]  # fmt: skip
