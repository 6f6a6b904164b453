"""An assistant behind the server: how late it answers on one thread, and what 50,000 conversations cost in memory.

    python benchmarks/assistant_server.py [--quick] [--only CLAIM] [--bundle HELP] [--messages N] [--own N]

`deepseek serve` runs in a process of its own that is held to one core. Each message is answered when it is on the disk
with its replies. The bundle is that of `deepseek recipe assistant --example`, or --bundle, such as one that was learned
from banking77 with an encoder. 500 conversations are kept as the server keeps them, each with three messages of its
user, their replies and an open flow, and copied to others under ids of their own; then a server is started on them and
goes on with some: an answer to the open question must find it. Memory is what the server has in use at its highest, and
the file with its log.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from result import claim, finish, options

LATE, HELD = "p99 of an answer through the server, one CPU thread", "conversations held in 1 GB"
USED = "CPU time of that answer, p99"  # what the wall would show on a machine with nothing else to do
CLAIMS = (LATE, HELD)
NUM_MESSAGES, NUM_WARM_UP = 2_000, 50
NUM_CONVERSATIONS, NUM_OWN, NUM_CONTINUED = 50_000, 500, 500  # NUM_OWN: that are no copies
QUESTIONS = (
    "Where is my order?", "How do I return a shirt?", "I want my money back", "Do you ship to France?",
    "Which sizes do you have?", "can I pay by invoice and when does it arrive?", "tell me a joke", "我的订单在哪里？",
    "how long does it take?", "怎么退货？", "is the discount code still valid", "my parcel is damaged, what now?",
)  # fmt: skip
DIALOGUE = """
[slots.order]
kind = "order_number"
ask = {en = "What is the order number?", zh = "请问订单号是多少？"}
[slots.words]
kind = "text"
ask = {en = "What happened?", zh = "发生了什么？"}
[[flows]]
name = "complaint"
intents = ["INTENT"]
[[flows.steps]]
ask = "order"
[[flows.steps]]
ask = "words"
[[flows.steps]]
say = {en = "Your complaint about {order} is kept.", zh = "已记录您对{order}的投诉。"}
"""


def main() -> int:
    """The exit code: 3 when a bar is missed."""
    parser = options(__doc__, CLAIMS, quick="the same: it takes two minutes")
    parser.add_argument("--bundle", type=Path, help="An assistant.  [default: the example, made here]")
    parser.add_argument("--messages", type=int, default=NUM_MESSAGES, help="That are sent.  [default: 2000]")
    parser.add_argument("--own", type=int, default=NUM_OWN, help="Conversations that are no copies.  [default: 500]")
    chosen = parser.parse_args()
    claims, left_out = [], [name for name in CLAIMS if chosen.only not in (None, name)]
    with tempfile.TemporaryDirectory() as folder:
        bundle = chosen.bundle or make_example(Path(folder) / "help")
        dialogue = write_dialogue(Path(folder), bundle)
        if LATE not in left_out:
            claims += measure_lateness(bundle, dialogue, Path(folder) / "late", chosen.messages)
        if HELD not in left_out:
            claims.append(measure_memory(bundle, dialogue, Path(folder) / "held", chosen.own))
    return finish("assistant_server", claims, not_run=left_out)


def make_example(out: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "deepseek", "recipe", "assistant", "--example", "--out", str(out), "--json"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return out


def write_dialogue(folder: Path, bundle: Path) -> Path:
    """A dialogue file whose flow begins with the first intent of the bundle."""
    from deepseek.engines.assistant import load_assistant

    path = folder / "dialogue.toml"
    path.write_text(DIALOGUE.replace("INTENT", load_assistant(bundle).intents[0]), encoding="utf-8")
    return path


@contextmanager
def served(bundle: Path, dialogue: Path, state: Path) -> Iterator[tuple[HTTPConnection, str, int]]:
    """A connection to a server of its own on one core, the name of the assistant, and the server's process id."""
    core = str(min(os.sched_getaffinity(0)))
    running = subprocess.Popen(
        [
            "taskset", "-c", core, sys.executable, "-m", "deepseek", "serve", str(bundle), "--state", str(state),
            "--dialogue", str(dialogue),
        ],
        stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PORT": "0", "DEEPSEEK_LOG_LEVEL": "error", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert running.stdout is not None
    try:
        ready = json.loads(running.stdout.readline())
        host, _, port = ready["url"].removeprefix("http://").rpartition(":")
        yield HTTPConnection(host, int(port), timeout=60), ready["models"][0], running.pid
    finally:
        running.terminate()
        running.wait(30)


def ask(connection: HTTPConnection, name: str, verb: str, **body: Any) -> dict[str, Any]:
    connection.request("POST", f"/v1/models/{name}:{verb}", json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    values: dict[str, Any] = json.loads(answer.read())
    if answer.status != 200:
        raise RuntimeError(f"{verb}: {answer.status} {values}")
    return values


def cpu_seconds(pid: int) -> float:
    """That the threads of a process have used, in steps of a nanosecond."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def measure_lateness(bundle: Path, dialogue: Path, state: Path, num_messages: int) -> list[dict[str, Any]]:
    """By the wall and in CPU time. One message after the other, each fourth in a conversation that has begun."""
    draw, late, used = random.Random(0), list[float](), list[float]()
    with served(bundle, dialogue, state) as (connection, name, pid):
        identity = ""
        for _ in range(NUM_WARM_UP + num_messages):
            start, before_s = time.perf_counter(), cpu_seconds(pid)
            answer = ask(connection, name, "converse", message=draw.choice(QUESTIONS), conversation=identity)
            late.append(time.perf_counter() - start)
            used.append(cpu_seconds(pid) - before_s)
            identity = answer["conversation"] if len(late) % 4 and answer["status"] == "open" else ""
    middle, p99 = (1e3 * quantile(late[NUM_WARM_UP:], share) for share in (0.5, 0.99))
    cpu_middle, cpu_p99 = (1e3 * quantile(used[NUM_WARM_UP:], share) for share in (0.5, 0.99))
    count = f"{num_messages} messages, each synced to the disk; load {os.getloadavg()[0]:.1f}"
    return [
        claim(
            LATE, ours=p99, unit="ms", op="<=", bar=60.0, rival=800.0, rival_name="the average that is asked for",
            note=f"median {middle:.1f} ms; {count}",
        ),
        claim(USED, ours=cpu_p99, unit="CPU ms", op="<=", bar=60.0, note=f"median {cpu_middle:.1f} CPU ms; {count}"),
    ]  # fmt: skip


def quantile(values: list[float], share: float) -> float:
    """The value that a share of them does not exceed."""
    return sorted(values)[int(len(values) * share)]


def measure_memory(bundle: Path, dialogue: Path, state: Path, num_own: int) -> dict[str, Any]:
    """Keep conversations, start a server on them, go on with some of them."""
    identities = fill(bundle, dialogue, state, num_own)
    draw = random.Random(1)
    with served(bundle, dialogue, state) as (connection, name, pid):
        for identity in draw.sample(identities, NUM_CONTINUED):
            answer = ask(connection, name, "converse", message="A-1234567", conversation=identity)
            assert answer["number"] == 7, answer
            assert "happened" in answer["messages"][-1]["text"], answer
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        resident = 1_024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
        files = sum(file.stat().st_size for file in state.iterdir())
    held = NUM_CONVERSATIONS / ((resident + files) / 1e9)
    note = (
        f"{NUM_CONVERSATIONS} of 6 messages and an open flow, {num_own} no copies: {resident / 1e6:.0f} MB "
        f"in the server at its highest, {files / 1e6:.0f} MB of file; {NUM_CONTINUED} of them went on where they were"
    )
    return claim(HELD, ours=held, unit="conversations", op=">=", bar=50_000.0, note=note)


def fill(bundle: Path, dialogue: Path, state: Path, num_own: int) -> list[str]:
    """The ids of conversations: some that are kept as the server keeps them, and copies of each under ids of their
    own."""
    from deepseek.cli.support.kinds.conversations import open_manager
    from deepseek.dialogue.store.sqlite import SqliteStore
    from deepseek.serve.assistant.service import AssistantService, Incoming

    manager = open_manager(bundle, None, dialogue)
    store = SqliteStore.open(state)
    connection = store._connection
    connection.execute("PRAGMA synchronous = OFF")
    service = AssistantService("help", manager, store, sends_notes=False)
    begins_flow = manager.model.intents[0]
    answered = [name for name in manager.model.intents[1:] if name in manager.model.answers]
    for place in range(num_own):
        identity, question = "", QUESTIONS[place % len(QUESTIONS)]
        for name in (answered[place % len(answered)], answered[(place + 1) % len(answered)], begins_flow):
            exchange = service._converse(Incoming(question, identity, f"intent:{name}"))
            identity = exchange.conversation.id
    connection.execute("BEGIN")
    columns = [row[1] for row in connection.execute("PRAGMA table_info(messages)")][1:]
    for copy in range(1, NUM_CONVERSATIONS // num_own):
        new = f"'{copy:04d}' || substr({{}}, 5)"
        own = "FROM conversations WHERE id IN (SELECT id FROM own)"
        if copy == 1:
            connection.execute("CREATE TEMP TABLE own AS SELECT id FROM conversations")
        connection.execute(
            f"INSERT INTO conversations SELECT {new.format('id')}, version, status, "
            f"CAST(replace(CAST(state AS TEXT), id, {new.format('id')}) AS BLOB), updated_s {own}"
        )
        connection.execute(
            f"INSERT INTO messages SELECT {new.format('conversation')}, {', '.join(columns)} FROM messages "
            "WHERE conversation IN (SELECT id FROM own)"
        )
    connection.execute("COMMIT")
    identities = [row[0] for row in connection.execute("SELECT id FROM conversations")]
    assert len(identities) == NUM_CONVERSATIONS
    store.close()
    return identities


if __name__ == "__main__":
    sys.exit(main())
