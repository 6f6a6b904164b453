"""Hand-over to a person: what the webhook gets, a webhook that is down, messages meanwhile, the way back."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path

import pytest

from support.assistant.client import Client, Desk, assistant, in_loop


async def until(true: Callable[[], bool]) -> None:
    """Wait until something holds; half a minute is a fault."""
    for _ in range(1_500):
        if true():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen")


async def texts(client: Client, identity: str) -> list[str]:
    return [message["text"] for message in (await client.ask("transcript", conversation=identity))["messages"]]


@in_loop
async def test_the_webhook_gets_transcript_reason_and_what_was_tried(tmp_path: Path, desk: Desk) -> None:
    async with assistant(tmp_path / "state", webhook=desk.url) as client:
        identity = (await client.say("My order A-1234567 has not come, where is my card"))["conversation"]
        await client.say("tell me a joke", identity)
        await until(lambda: bool(desk.notes))
        (note,) = desk.notes
        assert (note["kind"], note["conversation"], note["assistant"]) == ("handed_over", identity, "help")
        assert note["reason"] == "the question is not covered"
        assert note["tried"][0] == "answered: card delivery"
        assert note["slots"] == {"order": "A-1234567"}
        assert [each["role"] for each in note["transcript"]] == ["user", "assistant", "user", "assistant", "assistant"]
        assert note["reply"] == "/v1/models/help:reply"
        signature = hmac.new(b"secret", desk.bodies[0], hashlib.sha256).hexdigest()
        assert desk.heads[0]["x-deepseek-signature"] == f"sha256={signature}"
        assert desk.heads[0]["idempotency-key"] == note["id"]


@in_loop
async def test_a_person_answers_until_the_conversation_is_given_back(tmp_path: Path, desk: Desk) -> None:
    async with assistant(tmp_path / "state", webhook=desk.url) as client:
        identity = (await client.say("I want to talk to a human"))["conversation"]
        listed = (await client.ask("desk"))["conversations"]
        assert [(each["id"], each["status"], each["reason"]) for each in listed] == [
            (identity, "waiting", "a person was asked for")
        ]
        answer = await client.ask("reply", conversation=identity, message="Good morning.", person="Ann")
        assert answer["status"] == "person"
        silent = await client.say("Where is my card?", identity)
        assert (silent["messages"], silent["status"], silent["person"]) == ([], "person", "Ann")
        await until(lambda: len(desk.notes) == 2)
        assert (desk.notes[1]["kind"], [each["text"] for each in desk.notes[1]["transcript"]]) == (
            "message", ["Where is my card?"],
        )  # fmt: skip
        await client.ask("give_back", conversation=identity)
        again = await client.say("Where is my card?", identity)
        assert again["messages"][0]["intent"] == "card_arrival"
        assert (await client.ask("desk"))["conversations"] == []
        assert (await client.ask("give_back", status=409, conversation=identity))["error"]["code"] == "check_failed"
        spoken = await texts(client, identity)
        assert "Ann answers you now." in spoken
        assert "You are with the assistant again." in spoken


@pytest.mark.slow
@in_loop
async def test_a_webhook_that_is_down_is_said_once_and_gets_the_hand_over_later(tmp_path: Path, desk: Desk) -> None:
    desk.status = 503
    async with assistant(tmp_path / "state", webhook=desk.url) as client:
        identity = (await client.say("I want to talk to a human"))["conversation"]
        await until(lambda: desk.num_requests >= 2)  # tried again
        await client.say("is anybody there?", identity)
        spoken = await texts(client, identity)
        assert sum("Nobody can be reached at the moment" in text for text in spoken) == 1
        assert (await client.ask("desk"))["hand_overs_not_arrived"] >= 1
    desk.status = 200  # it comes up again while the server is down
    async with assistant(tmp_path / "state", webhook=desk.url) as client:
        await until(lambda: len(desk.notes) == 2)
        assert [note["kind"] for note in desk.notes] == ["handed_over", "message"]
        await until(lambda: True)
        assert (await client.ask("desk"))["hand_overs_not_arrived"] in (0, 1)


@in_loop
async def test_a_webhook_that_leads_elsewhere_is_not_followed(tmp_path: Path, desk: Desk) -> None:
    desk.status = 302
    async with assistant(tmp_path / "state", webhook=desk.url) as client:
        await client.say("I want to talk to a human")
        await until(lambda: desk.num_requests >= 1)
        desk.status = 200
        await until(lambda: len(desk.notes) == 1)
        assert desk.notes[0]["kind"] == "handed_over"


@in_loop
async def test_what_was_forgotten_is_not_sent(tmp_path: Path, desk: Desk) -> None:
    desk.status = 503
    async with assistant(tmp_path / "state", webhook=desk.url) as client:
        identity = (await client.say("I want to talk to a human"))["conversation"]
        await until(lambda: desk.num_requests >= 1)
        await client.ask("forget", conversation=identity)
        desk.status = 200
        await client.say("I want to talk to a human")
        await until(lambda: bool(desk.notes))
        assert desk.notes[0]["conversation"] != identity
