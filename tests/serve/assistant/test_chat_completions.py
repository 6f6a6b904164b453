"""/v1/chat/completions for an assistant, asked by OpenAI's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import openai
import pytest
from openai import AsyncOpenAI

from support.assistant.client import Client, assistant, in_loop
from support.assistant.model import ANSWERS


@asynccontextmanager
async def official_client(state: Path) -> AsyncIterator[tuple[Client, AsyncOpenAI]]:
    """The assistant by our routes, and by OpenAI's client."""
    async with (
        assistant(state) as client,
        AsyncOpenAI(base_url=f"{client.http.base_url}/v1", api_key="none", max_retries=0) as official,
    ):
        yield client, official


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


@in_loop
async def test_a_chat_is_answered_whole_and_as_a_stream(tmp_path: Path) -> None:
    async with official_client(tmp_path / "state") as (_, official):
        whole = await official.chat.completions.create(model="help", messages=[user("Where is my card?")])
        assert whole.choices[0].message.content == ANSWERS["card_arrival"]
        assert whole.choices[0].finish_reason == "stop"
        stream = await official.chat.completions.create(
            model="help", messages=[user("Where is my card?")], stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
        assert "".join(pieces) == ANSWERS["card_arrival"]
        assert len(pieces) > 2
        assert chunks[-1].usage is not None
        assert [model.id async for model in official.models.list()] == ["help"]


@in_loop
async def test_a_client_that_keeps_the_chat_itself_goes_on_with_its_flow_and_nothing_is_kept(tmp_path: Path) -> None:
    async with official_client(tmp_path / "state") as (client, official):
        messages = [
            {"role": "system", "content": "You are a pirate. Answer in rhymes."}, user("I lost my card"),
            {"role": "assistant", "content": "Which card?"}, user("What is the exchange rate?"),
        ]  # fmt: skip
        answer = await official.chat.completions.create(model="help", messages=messages, temperature=1.5)
        lines = str(answer.choices[0].message.content).splitlines()
        assert lines == [ANSWERS["exchange_rate"], "Back to blocking the card.", "Which card?", "1. debit", "2. credit"]
        assert (await client.ask("desk"))["conversations"] == []


@in_loop
async def test_a_chat_that_ends_with_a_person_is_kept_and_goes_on_by_its_id(tmp_path: Path) -> None:
    async with official_client(tmp_path / "state") as (client, official):
        answer = await official.chat.completions.create(
            model="help",
            messages=[user("Where is my card?"), {"role": "assistant", "content": "x"}, user("tell me a joke")],
        )
        identity = answer.model_extra["conversation"]  # type: ignore[index]
        assert [each["id"] for each in (await client.ask("desk"))["conversations"]] == [identity]
        await client.ask("give_back", conversation=identity)
        kept = await official.chat.completions.create(
            model="help", messages=[user("Where is my card?")], metadata={"conversation": identity}
        )
        assert kept.choices[0].message.content == ANSWERS["card_arrival"]
        assert len((await client.ask("transcript", conversation=identity))["messages"]) > 6


@in_loop
async def test_what_cannot_be_done_is_refused_by_name(tmp_path: Path) -> None:
    async with official_client(tmp_path / "state") as (_, official):
        create = official.chat.completions.create
        for more, param in (
            ({"messages": []}, "messages"), ({"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
            ({"messages": [user("x")], "n": 2}, "n"), ({"messages": [user("x" * 100_001)]}, "messages[0].content"),
            ({"messages": [user("x")], "tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ):  # fmt: skip
            with pytest.raises(openai.UnprocessableEntityError) as caught:
                await create(model="help", **more)
            assert caught.value.param == param
        with pytest.raises(openai.NotFoundError):
            await create(model="other", messages=[user("x")])
        with pytest.raises(openai.UnprocessableEntityError):
            await official.completions.create(model="help", prompt="x")
