"""A client of plain rows needs the standard library alone."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

#: Blocks every package besides the standard library and this one, and asks the server at argv[1].
SCRIPT = """
import asyncio, json, sys

class Blocker:  # a finder on sys.meta_path
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top != "deepseek" and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
from deepseek.client import AsyncClient, Client

async def ask_asynchronously(rows):
    async with AsyncClient(sys.argv[1]) as client:
        return await client.predict(rows)

rows = [{"age": 61.0, "income": float("nan"), "purpose": "NA"}, {"age": 33, "income": 2.5, "purpose": "car"}]
with Client(sys.argv[1]) as client:
    answers = [client.predict(rows), client.predict({name: [row[name] for row in rows] for name in rows[0]})]
    answers += [asyncio.run(ask_asynchronously([list(row.values()) for row in rows]))]
print(json.dumps([[one.labels, one.labels_known, one.probabilities, one.values, len(one)] for one in answers]))
"""
ANSWER = {"labels_known": ["no", "yes"], "labels": ["yes", "no"], "probabilities": [[0.25, 0.75], [1.0, 0.0]]}


@pytest.fixture
def stub() -> Iterator[tuple[str, list[object]]]:
    """A server that gives every row of :predict the same answer, and the bodies that it was sent."""
    bodies: list[object] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.reply({"object": "list", "data": [{"id": "loans"}]})

        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.reply(ANSWER)

        def reply(self, body: object) -> None:
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", bodies
        server.shutdown()


def test_plain_rows_are_predicted_without_numpy_or_any_other_package(stub: tuple[str, list[object]]) -> None:
    url, bodies = stub
    ran = subprocess.run([sys.executable, "-c", SCRIPT, url], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    answers = json.loads(ran.stdout)
    assert answers == [[ANSWER["labels"], ANSWER["labels_known"], ANSWER["probabilities"], None, 2]] * 3
    cells = [[61.0, None, None], [33, 2.5, "car"]]
    assert bodies == [
        {"columns": ["age", "income", "purpose"], "rows": cells},
        {"columns": ["age", "income", "purpose"], "rows": cells},
        {"rows": cells},
    ]


def test_the_import_loads_no_package() -> None:
    code = "import json, sys; from deepseek.client import Client; print(json.dumps(list(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"msgspec", "numpy", "pyarrow", "torch", "deepseek.contracts", "deepseek.data"} & {
        *json.loads(ran.stdout)
    }
