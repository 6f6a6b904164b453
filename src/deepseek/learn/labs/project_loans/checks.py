"""Checks of the project "A model that a bank can leave alone": figures on held loans, and what breaks, broken."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.learn.grading.chaos import BrokenLink, change_byte, kill_one
from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work
from deepseek.learn.grading.runner import SolutionProcess
from deepseek.learn.grading.serving import serve_bundle

NUM_LOANS, NUM_HELD, NUM_DAY, NUM_ASKED = 1_400, 800, 500, 40
MIN_AUC, MOVE_SDS, UNKNOWN = 0.75, 0.8, -1.0
NUMBERS = ("age", "income", "debt", "years_employed")
GIVE_UP_S, CALL_S, AWAY_S = 240.0, 20.0, 1.5


def make(data: DataFolder) -> object:
    """Past loans: reminders went to most of those who did not pay, and -1 stands for an income that is not known."""
    columns, fails = draw_loans(data.rng, NUM_LOANS)
    reminds = fails & (data.rng.random(NUM_LOANS) < 0.92)
    columns["reminder_fee"] = np.where(reminds, data.rng.uniform(20, 90, NUM_LOANS).round(2), 0.0)
    columns["income"] = np.where(data.rng.random(NUM_LOANS) < 0.12, UNKNOWN, columns["income"])
    data.write_csv("loans.csv", columns | {"defaulted": np.where(fails, "yes", "no")})
    return {"debts": sorted(set(columns["debt"].tolist()))}


def draw_loans(rng: np.random.Generator, num: int) -> tuple[JsonObject, Any]:
    """Loans as they are at the counter, and whether each will fail."""
    customer = [f"c{number}" for number in rng.integers(0, num // 2, num)]
    age = rng.integers(20, 75, num)
    income = np.round(np.exp(rng.normal(7.9, 0.5, num)), 0)
    debt = np.round(income * rng.gamma(2, 2, num), 0)
    years = np.minimum(rng.gamma(2, 4, num).round(1), age - 18.0)
    num_loans = rng.poisson(1.5, num)
    purpose = rng.choice(["car", "home", "study", "shop"], num, p=[0.35, 0.2, 0.15, 0.3])
    odds = -2.2 + 0.45 * (debt / income - 4) - 0.09 * (years - 8) + 0.5 * (num_loans - 1.5)
    odds += np.where(purpose == "shop", 0.9, 0) - np.where(purpose == "study", 0.6, 0)
    fails = rng.random(num) < 1 / (1 + np.exp(-odds))
    columns: JsonObject = {
        "customer": customer, "age": age, "income": income, "debt": debt, "years_employed": years,
        "num_loans": num_loans, "purpose": purpose, "reminder_fee": np.zeros(num),
    }  # fmt: skip
    return columns, fails


def new_loans(work: Work, name: str, num: int) -> tuple[Any, Any]:
    """A frame of loans at the counter, some incomes not known, and whether each will fail."""
    import pandas as pd

    rng = work.rng(name)
    columns, fails = draw_loans(rng, num)
    frame = pd.DataFrame(columns)
    frame.loc[rng.random(num) < 0.12, "income"] = np.nan
    return frame, fails


def check_signed(work: Work) -> None:
    work.path("my-key.pub")
    for path in sorted(work.folder.rglob("*")):
        if path.is_file() and path.stat().st_size < 1 << 16 and b"PRIVATE KEY" in path.read_bytes():
            raise Mistake("key_in_folder", name=path.relative_to(work.folder))
    manifest = json.loads((work.bundle("model") / "bundle.json").read_text("utf-8"))
    if manifest["target"] != "defaulted" or sorted(manifest["labels"] or []) != ["no", "yes"]:
        raise Mistake("wrong_target", target=manifest["target"])
    card = json.loads((work.bundle("model") / "card.json").read_text("utf-8"))
    known = {column["name"]: column for column in card["columns"]}
    if "debt" not in known or not {known["debt"].get("min"), known["debt"].get("max")} <= set(work.truth["debts"]):
        raise Mistake("other_rows")
    try:
        work.bundle("model", key="my-key.pub")
    except Mistake as error:
        raise Mistake("unsigned", problem=error.values.get("problem", error.code)) from error


def check_held(work: Work) -> None:
    from sklearn.metrics import roc_auc_score

    frame, fails = new_loans(work, "held", NUM_HELD)
    auc = roc_auc_score(fails, probabilities(work, frame))
    if auc < MIN_AUC:
        raise Mistake("weak", num=NUM_HELD, auc=f"{auc:.3f}")


def check_honest(work: Work) -> None:
    from sklearn.metrics import log_loss

    frame, fails = new_loans(work, "held", NUM_HELD)
    said = log_loss(fails, probabilities(work, frame), labels=[False, True])
    wanted = log_loss(fails, np.full(NUM_HELD, fails.mean()), labels=[False, True])
    if said >= wanted:
        raise Mistake("not_honest", said=f"{said:.3f}", wanted=f"{wanted:.3f}")


def probabilities(work: Work, frame: Any) -> Any:
    """Of failing, by the bundle in this process."""
    import deepseek

    answers = deepseek.load(work.bundle("model")).predict(frame)
    if answers.probabilities is None or "yes" not in answers.labels_known:
        raise Mistake("wrong_target", target=", ".join(map(str, answers.labels_known)))
    return answers.probabilities[:, list(answers.labels_known).index("yes")]


def check_damaged(work: Work) -> None:
    options = options_of(work)
    manifest = work.bundle("model") / "bundle.json"
    changed, unsigned = (copy_bundle(work, name) for name in ("changed", "unsigned"))
    names = sorted(each for each in json.loads(manifest.read_text("utf-8"))["files"] if is_read_to_answer(each))
    change_byte(changed / str(work.rng("file").choice(names)), work.rng("byte"))
    for path in unsigned.glob("*.sig*"):
        path.unlink()
    cases = {
        changed: Text("with one changed byte", "有一个字节被改动"),
        unsigned: Text("without a signature", "没有签名"),
    }
    for path, what in cases.items():
        if is_served(work, path, options):
            raise Mistake("served_damaged", what=what)


def is_read_to_answer(name: str) -> bool:
    """Whether a server reads this file of a bundle before it answers: evidence is verified when somebody asks for it,
    weights when somebody asks for reasons."""
    return name != "card.json" and not name.startswith(("evidence/", "weights/"))


def is_served(work: Work, path: Path, options: list[str]) -> bool:
    """Whether a server starts with it."""
    try:
        with serve_bundle(path, work.place, *options, folder=work.place.folder):
            return True
    except Mistake:
        return False


def copy_bundle(work: Work, name: str) -> Path:
    target = work.place.scratch / name
    shutil.copytree(work.bundle("model"), target)
    return target


def check_engine_killed(work: Work) -> None:
    what = Text("an engine process is killed", "引擎进程被杀死")
    with work.serve("model", *options_of(work)) as served:
        for _ in range(60):  # they are started when they are needed
            if kill_one(served.pid, words="deepseek.engines"):
                break
            time.sleep(0.5)
        else:
            raise Mistake("no_engine")
        hold_answers(work, served.url, what, lambda: kill_one(served.pid, words="deepseek.engines"))


def check_server_killed(work: Work) -> None:
    what = Text("the server is killed and started again", "服务被杀死并重新启动")
    options = options_of(work)
    with ExitStack() as stack:
        port = free_port()
        first = stack.enter_context(work.serve("model", *options, port=port))

        def restart() -> None:
            os.kill(first.pid, signal.SIGKILL)
            time.sleep(AWAY_S)
            stack.enter_context(work.serve("model", *options, port=port))

        hold_answers(work, first.url, what, restart)


def check_cut(work: Work) -> None:
    what = Text("connections break off", "连接中断")
    with work.serve("model", *options_of(work)) as served, BrokenLink(served.url, breaks=2) as link:
        hold_answers(work, link.url, what, lambda: None)


def hold_answers(work: Work, url: str, what: Text, disturb: Callable[[], object]) -> None:
    """Let the learner's client ask, while `disturb` is called; its labels have to be the model's."""
    import deepseek

    frame, _ = new_loans(work, "asked", NUM_ASKED)
    answers = deepseek.load(work.bundle("model")).predict(frame).labels
    right = [] if answers is None else list(map(str, answers))
    with SolutionProcess(work.place, "client.py", "ask", [[url, rows_of(frame), GIVE_UP_S]], CALL_S * 2) as process:
        thread = threading.Thread(target=disturb)
        thread.start()
        process.wait()
        thread.join()
        try:
            (said,) = process.results()
        except Mistake as error:
            if error.code != "solution_raised":
                raise
            raise Mistake("lost_answers", what=what, error=error.values["error"]) from error
    labels = said if isinstance(said, list) else []
    wrong = sum(one != other for one, other in zip(labels, right, strict=False)) + abs(len(labels) - NUM_ASKED)
    if wrong:
        raise Mistake("wrong_answers", what=what, num=wrong, total=NUM_ASKED)


def check_watch(work: Work) -> None:
    card = json.loads((work.bundle("model") / "card.json").read_text("utf-8"))
    known = {column["name"]: column for column in card["columns"]}
    manifest = json.loads((work.bundle("model") / "bundle.json").read_text("utf-8"))
    reads = [column["name"] for column in manifest["inputs"]]
    frame, _ = new_loans(work, "day", NUM_DAY)
    frame = frame[[name for name in frame.columns if name in reads]]
    moved = [name for name in NUMBERS if name in frame.columns and known[name].get("std")]
    if not moved:
        raise Mistake("unusable", problem=Text("the model reads no number of the loan", "模型没有读取贷款的任何数值"))
    column = str(work.rng("column").choice(moved))
    shifted = frame.copy()
    shifted[column] = shifted[column] + MOVE_SDS * known[column]["std"]
    calls = [[card, rows_of(each)] for each in (shifted, frame)]
    alarms = [sorted(map(str, said)) if isinstance(said, list) else [str(said)[:40]]
              for said in work.call("watch.py", "changed_columns", *calls)]  # fmt: skip
    if alarms[1]:
        raise Mistake("false_alarm", said=", ".join(alarms[1]))
    if alarms[0] != [column]:
        raise Mistake("not_watched", column=column, sds=MOVE_SDS, said=", ".join(alarms[0]) or "-")


def rows_of(frame: Any) -> list[JsonObject]:
    """Rows as objects, None where a value is not known."""
    import pandas as pd

    rows: list[JsonObject] = frame.to_dict("records")
    return [{name: None if pd.isna(value) else value for name, value in row.items()} for row in rows]


def options_of(work: Work) -> list[str]:
    options = work.value("serve.json", "options")
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise Mistake("bad_options", said=str(options)[:40])
    if "--port" in options:
        raise Mistake("bad_options", said=Text("the port is the grader's", "端口由评分程序决定"))
    return options


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
