"""The whole way: a bundle is made, stories are played, it is served, killed while people talk, and served again."""

from __future__ import annotations

import json
import signal
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from deepseek.cli import main
from support.assistant.processes import ask
from support.servers.serving import started

for module in ("phonenumbers", "cn2an", "sklearn"):
    pytest.importorskip(module)

DIALOGUE = """
[slots.order]
kind = "order_number"
ask = {en = "What is the order number?", zh = "请问订单号是多少？"}
[[flows]]
name = "cancel"
intents = ["cancel_order"]
[[flows.steps]]
ask = "order"
[[flows.steps]]
confirm = {en = "Cancel order {order}?", zh = "取消订单{order}？"}
[[flows.steps]]
hand_over = "an order is to be canceled"
"""
STORIES = """
[[stories]]
name = "an order is canceled"
[[stories.turns]]
user = "please cancel my order"
asks = "order"
[[stories.turns]]
user = "where is my order?"
intent = "track_order"
asks = "order"
[[stories.turns]]
user = "A-1234567"
buttons = ["yes", "no"]
[[stories.turns]]
user = "yes"
status = "waiting"
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("assistant")
    (folder / "dialogue.toml").write_text(DIALOGUE, encoding="utf-8")
    words = ["--dialogue", str(folder / "dialogue.toml"), "--out", str(folder / "help"), "--json"]
    assert main(["recipe", "assistant", "--example", *words]) == 0
    return folder / "help"


@pytest.mark.slow
def test_stories_are_played_with_the_flows_in_the_bundle(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stories = tmp_path / "stories.toml"
    stories.write_text(STORIES, encoding="utf-8")
    assert main(["evaluate", str(bundle), str(stories), "--json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (result["num_stories"], result["num_passed"]) == (1, 1)
    stories.write_text(STORIES.replace("track_order", "invoice"), encoding="utf-8")
    assert main(["evaluate", str(bundle), str(stories)]) == 3
    assert "to answer invoice, answered track_order" in capsys.readouterr().out
    stories.write_text("[[stories]]\nname='x'\nturns=[]\n", encoding="utf-8")
    assert main(["evaluate", str(bundle), str(stories)]) == 2


@pytest.mark.slow
def test_a_server_that_is_killed_goes_on_where_it_was(bundle: Path) -> None:
    with started(bundle, "--front-ends", "2") as server:
        identity = ask(server.url, "converse", message="please cancel my order")["conversation"]
        assert "interbank" not in ask(server.url, "converse", message="where is my order?")["messages"][0]["text"]
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    with started(bundle) as server:
        answer = ask(server.url, "converse", message="A-1234567", conversation=identity)
        assert answer["messages"][-1]["text"] == "Cancel order A-1234567?"
        answer = ask(server.url, "converse", message="yes", conversation=identity)
        assert answer["status"] == "waiting"
        whole = ask(server.url, "transcript", conversation=identity)
        assert len(whole["messages"]) == 6
        for page in ("/metrics", "/v1/stats", "/v1/history", "/", "/docs", "/chat/help"):
            with urllib.request.urlopen(server.url + page) as shown:
                assert shown.status == 200
    assert (bundle.with_name("help.state") / "conversations.sqlite3").is_file()


@pytest.mark.slow
def test_what_does_not_go_together_is_said(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wrong.toml").write_text(DIALOGUE.replace("cancel_order", "cancel_oder"), encoding="utf-8")
    for words, message in (
        (("--dialogue", str(tmp_path / "wrong.toml")), "Did you mean 'cancel_order'?"),
        (("--hand-over", "ftp://desk"), "no address of HTTP"),
        (("--state", str(tmp_path), "--conversations", "redis://127.0.0.1:1/0"), "two places"),
        (("--conversations", "redis://127.0.0.1:1/0"), "cannot be reached"),
    ):
        code = main(["serve", str(bundle), "--port", "0", *words])
        assert code in (2, 3), words
        assert message in capsys.readouterr().err
