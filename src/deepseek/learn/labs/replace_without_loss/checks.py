"""Checks of the lab "Replaced without a loss": a real server, asked without a pause while the learner's code runs."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import JsonObject
from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work
from deepseek.learn.grading.runner import child_environment, stop_child

Array = NDArray[np.float32]
MAX_P99_MS, RATE, LIMIT, PAUSE_S, ASK_S = 50, 5, 0.05, 0.02, 60.0
GOOD, OTHER, DAMAGED = "replaced", "differs", "damaged"
WHAT = {
    GOOD: Text("answers as the old one does", "与旧版回答一致"), OTHER: Text("answers otherwise", "回答不同"),
    DAMAGED: Text("is damaged", "已损坏"),
}  # fmt: skip
#: What has become of a rollout in this grading, by its fresh seed and kind: a server is what a check costs.
_ROLLOUTS: dict[tuple[int, str], Rollout] = {}


def make(data: DataFolder) -> object:
    while True:
        sizes = [1, 2, 4, 8, 16, 32, 64, 128]
        first, gain = data.rng.uniform(300, 900), data.rng.uniform(0.5, 0.8)
        rates = [round(float(first * size**gain * data.rng.uniform(0.97, 1.03))) for size in sizes]
        late = [round(float(4 + 2 * size ** data.rng.uniform(0.78, 0.85)), 1) for size in sizes]
        good = [rate for rate, ms in zip(rates, late, strict=True) if ms <= MAX_P99_MS]
        if len(good) in (5, 6) and min(abs(ms - MAX_P99_MS) for ms in late) > 1 and max(good) < max(rates):
            break
    order = data.rng.permutation(len(sizes))
    columns = {"batch_size": sizes, "rows_per_s": rates, "p99_ms": late}
    data.write_csv("measured.csv", {name: np.array(values)[order] for name, values in columns.items()})
    data.write_text("secret.txt", "".join(data.rng.choice(list("abcdefghjkmnpqrstuvwxyz23456789"), 24)))
    return {"batch_size": sizes[rates.index(max(good))], "cost": max(rates) / max(good),
            "fastest": sizes[rates.index(max(rates))]}  # fmt: skip


def check_own(work: Work) -> None:
    truth = work.truth
    for key in ("batch_size", "cost"):
        said = work.number("answers.json", key)
        if abs(said - truth[key]) > 0.002 * truth[key]:
            why = Text("see the table", "请看表")
            if key == "batch_size" and said == truth["fastest"]:
                why = Text("its p99 is above 50 ms", "它的 p99 超过 50 ms")
            elif key == "cost":
                why = Text("the rows of the best of all, by those of your choice", "最好者的行数除以你所选者的行数")
            raise Mistake("wrong_own", key=key, said=f"{said:g}", why=why)


def check_keys(work: Work) -> None:
    secret = work.path("secret.txt").read_text("utf-8").strip()
    text = work.path("keys.txt").read_text("utf-8", "replace")
    if secret in text:
        raise Mistake("secret_in_file")
    if hashlib.sha256(f"{secret}\n".encode()).hexdigest() in text.lower():
        raise Mistake("key_refused", status=401)
    repository = new_repository(work, "models-keys")
    keys = ("--api-key-file", str(work.path("keys.txt")))
    try:
        with serve_repository(work, repository, *keys) as server:
            for how, key in (
                (Text("without a key", "不带密钥"), ""),
                (Text("with another key", "带其他密钥"), secret[::-1]),
            ):
                if (status := server.ask("GET", "/v1/models", key=key)[0]) != 401:
                    raise Mistake("let_in", how=how, status=status)
            statuses = [server.ask("GET", "/v1/models", key=secret)[0] for _ in range(40)]
    except NoServerError as error:
        raise Mistake("no_server", problem=str(error)) from error
    if statuses[0] != 200:
        raise Mistake("key_refused", status=statuses[0])
    if 429 not in statuses and "requests=5/s" not in text:
        raise Mistake("no_rate")


def check_replaced(work: Work) -> None:
    hold_rollout(run_rollout(work, GOOD))


def check_no_loss(work: Work) -> None:
    result = run_rollout(work, GOOD)
    if lost := [status for status in result.statuses if status != 200]:
        raise Mistake("lost_requests", num=len(lost), total=len(result.statuses), status=lost[0])


def check_differs(work: Work) -> None:
    result = run_rollout(work, OTHER)
    hold_rollout(result)
    if result.num_of_new:
        raise Mistake("seen_too_early", num=result.num_of_new, what=WHAT[OTHER])


def check_damaged(work: Work) -> None:
    hold_rollout(run_rollout(work, DAMAGED))


@dataclass(slots=True)
class Rollout:
    """What a rollout has left."""

    kind: str
    said: object = None
    answer: float = 0.0  # of parts afterwards
    wanted: float = 0.0
    models: list[str] = field(default_factory=list)  # that are loaded
    folders: list[str] = field(default_factory=list)  # in the repository
    statuses: list[int] = field(default_factory=list)  # of requests meanwhile; 0: no answer
    num_of_new: int = 0  # of these, answered by the new version


def hold_rollout(result: Rollout) -> None:
    what = WHAT[result.kind]
    if result.said != result.kind:
        raise Mistake("wrong_word", said=str(result.said)[:40], what=what, wanted=result.kind)
    if abs(result.answer - result.wanted) > 1e-4:
        raise Mistake("other_version", what=what, said=f"{result.answer:g}", wanted=f"{result.wanted:g}")
    if result.models != ["parts"]:
        name = next((name for name in result.models if name != "parts"), "nothing")
        raise Mistake("left_behind", name=name, where=Text("loaded", "被加载着"))
    if result.folders != ["parts"]:
        name = next((name for name in result.folders if name != "parts"), "nothing")
        raise Mistake("left_behind", name=name, where=Text("in the repository", "在仓库中"))


def run_rollout(work: Work, kind: str) -> Rollout:
    """The learner's rollout() beside a server that is asked all the time."""
    key = (work.fresh_seed, kind)
    if key in _ROLLOUTS:
        return _ROLLOUTS[key]
    rng, result = work.rng("rollout"), Rollout(kind)
    old = rng.normal(0, 1, (4, 2)).astype(np.float32)
    new = old + np.float32(0.002 if kind == GOOD else 0.5)
    repository, file = new_repository(work, f"models-{kind}", old), f"new-{kind}.onnx"
    write_model(work.place.folder / file, new)
    if kind == DAMAGED:
        content = bytearray((work.place.folder / file).read_bytes())
        content[10:40] = bytes(255 - byte for byte in content[10:40])
        (work.place.folder / file).write_bytes(content)
    rows = rng.uniform(0.5, 1.5, (20, 4)).round(3).tolist()
    answers = [float(np.array(rows[0], np.float32) @ weights[:, 0]) for weights in (old, new)]
    result.wanted = answers[1] if kind == GOOD else answers[0]
    with serve_repository(work, repository) as server, ask_without_pause(server, rows[0]) as replies:
        arguments = [server.url, repository.name, file, rows, LIMIT]
        (result.said,) = work.call("rollout.py", "rollout", arguments, seconds=30)
        result.answer = score_of(server.predict("parts", rows[0])[1])
        result.models = sorted(each["id"] for each in json.loads(server.ask("GET", "/v1/models")[1])["data"])
        result.folders = sorted(path.name for path in repository.iterdir())
    result.statuses = [status for status, _ in replies]
    scores = [score_of(body) for status, body in replies if status == 200]
    result.num_of_new = sum(abs(score - answers[1]) < abs(score - answers[0]) for score in scores)
    _ROLLOUTS[key] = result
    return result


def new_repository(work: Work, name: str, weights: Array | None = None) -> Path:
    repository = work.place.folder / name
    (repository / "parts").mkdir(parents=True)
    write_model(repository / "parts" / "model.onnx", np.ones((4, 2), np.float32) if weights is None else weights)
    return repository


def write_model(path: Path, weights: Array) -> None:
    """A graph with one layer."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("x", 4), ("scores", 2))
    ]
    node = helper.make_node("MatMul", ["x", "w"], ["scores"])
    graph = helper.make_graph([node], "parts", ends[:1], ends[1:], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(model)


class NoServerError(Exception):
    """The server has ended before it was ready."""


@dataclass(frozen=True, slots=True)
class Server:
    url: str

    def ask(self, method: str, path: str, document: object = None, key: str = "") -> tuple[int, bytes]:
        """Status and body; 0 where the connection was lost."""
        parts = urlsplit(self.url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=ASK_S)
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        try:
            connection.request(method, path, None if document is None else json.dumps(document), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, HTTPException):
            return 0, b""
        finally:
            connection.close()

    def predict(self, model: str, row: list[float]) -> tuple[int, bytes]:
        return self.ask("POST", f"/v1/models/{model}:predict", {"instances": [{"x": row}]})


def score_of(body: bytes) -> float:
    """The first score of an answer; NaN where there is none."""
    try:
        document: JsonObject = json.loads(body)
        return float(document["predictions"][0]["scores"][0])
    except (ValueError, KeyError, IndexError, TypeError):
        return float("nan")


@contextmanager
def serve_repository(work: Work, repository: Path, *options: str) -> Iterator[Server]:
    """`deepseek serve --repository`, ended after the block."""
    command = [sys.executable, "-m", "deepseek", "serve", "--repository", str(repository), "--port", "0", "--workers",
               "1", "--log-level", "off", *options]  # fmt: skip
    server = subprocess.Popen(
        command, cwd=work.place.scratch, env=child_environment(work.place.scratch), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert server.stdout is not None  # noqa: S101  (a pipe)
    assert server.stderr is not None  # noqa: S101
    try:
        line = server.stdout.readline()
        if not line:
            lines = server.stderr.read().decode("utf-8", "replace").strip().splitlines() or [""]
            raise NoServerError(lines[-1][:200])
        yield Server(json.loads(line)["url"])
    finally:
        stop_child(server)
        server.stdout.close()
        server.stderr.close()


@contextmanager
def ask_without_pause(server: Server, row: list[float]) -> Iterator[list[tuple[int, bytes]]]:
    """Ask for one row again and again beside the block; what came back."""
    replies: list[tuple[int, bytes]] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            replies.append(server.predict("parts", row))
            time.sleep(PAUSE_S)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield replies
    finally:
        is_over.set()
        thread.join()
