"""What projects are disturbed by: processes that die, connections that break, bytes that change."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest

from deepseek.learn.grading.chaos import BrokenLink, change_byte, kill_all, kill_one, list_processes

ANSWER = b"an answer that is longer than what a broken link lets through " * 20


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # http.server names it so
        """Nothing: the log is not asked for."""


@pytest.fixture
def url() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_broken_link_breaks_so_many_answers_and_carries_the_others(url: str) -> None:
    with BrokenLink(url, breaks=2) as link:
        for _ in range(2):
            with pytest.raises((HTTPException, OSError)), urlopen(link.url, timeout=10) as answer:
                answer.read()
        with urlopen(link.url, timeout=10) as answer:
            assert answer.read() == ANSWER
        assert link.num_broken == 2


def test_one_byte_changes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(range(200)))
    change_byte(path, np.random.default_rng(1))
    assert sum(one != other for one, other in zip(path.read_bytes(), range(200), strict=True)) == 1


def test_a_descendant_with_these_words_is_killed_and_no_other() -> None:
    grandchild = "import sys, time; print('ready', flush=True); time.sleep(600)"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}, 'the-engine'])"
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "ready\n"
        assert not kill_one(child.pid, words="another-engine")
        assert child.pid in {each.pid for each in list_processes()}
        assert kill_one(child.pid, words="the-engine")
        assert child.wait(30) == 0  # its child is dead, and it has come to its end
    finally:
        kill_all(child.pid)
        child.wait()
        child.stdout.close()


def test_all_of_a_process_is_killed() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == "1\n"
    kill_all(child.pid)
    assert child.stdout.read() == ""  # both ends of it are closed: nobody is left who could write
    assert child.wait() == -9
    child.stdin.close()
    child.stdout.close()
