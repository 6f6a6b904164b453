"""Several processes and one file: two front ends at once, and one that is killed while it answers."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from support.assistant.processes import ask, process


@pytest.mark.slow
def test_two_front_ends_keep_one_conversation_in_order_and_lose_nothing(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with process(state) as (first, _), process(state) as (second, _):
        identity = ask(first, "converse", message="Where is my card?")["conversation"]
        texts: dict[str, list[str]] = {first: [], second: []}

        def send(url: str) -> None:
            for place in range(15):
                text = f"What is the exchange rate, {url} {place}?"
                ask(url, "converse", message=text, conversation=identity)
                texts[url].append(text)

        threads = [threading.Thread(target=send, args=(url,)) for url in texts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        whole = ask(second, "transcript", conversation=identity)["messages"]
        assert [message["number"] for message in whole] == list(range(1, 2 + 2 * 30 + 1))
        for url, own in texts.items():
            assert [each["text"] for each in whole if each["role"] == "user" and url in each["text"]] == own
        answer = ask(first, "add_answer", answer="Zebras.", questions=["What animals are striped?"])
        assert ask(second, "converse", message="what animals are striped")["messages"][0]["text"] == "Zebras."
        ask(second, "undo_answer", answer=answer["id"])
        assert ask(first, "converse", message="what animals are striped")["messages"][0]["text"] != "Zebras."


@pytest.mark.slow
def test_no_message_that_was_answered_is_lost_when_the_server_is_killed(tmp_path: Path) -> None:
    state, acknowledged = tmp_path / "state", list[tuple[str, int, str]]()
    with process(state) as (url, running):

        def send(sender: int) -> None:
            identity = ""
            for place in range(1_000):
                text = f"What is the exchange rate, {sender} {place}?"
                try:
                    answer = ask(url, "converse", message=text, conversation=identity)
                except (OSError, ValueError):  # it was killed
                    return
                identity = answer["conversation"]
                acknowledged.append((identity, answer["number"], text))
                if len(acknowledged) == 60:
                    running.send_signal(signal.SIGKILL)

        threads = [threading.Thread(target=send, args=(sender,)) for sender in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(acknowledged) >= 60
    with process(state) as (url, _):
        for identity in {identity for identity, _, _ in acknowledged}:
            whole = ask(url, "transcript", conversation=identity)["messages"]
            kept = {(message["number"], message["text"]) for message in whole}
            assert {(number, text) for other, number, text in acknowledged if other == identity} <= kept
            assert [message["number"] for message in whole] == list(range(1, len(whole) + 1))
            users = [message["number"] for message in whole if message["role"] == "user"]
            assert {message["reply_to"] for message in whole if message["role"] == "assistant"} == set(users)
            assert ask(url, "converse", message="Where is my card?", conversation=identity)["messages"]
