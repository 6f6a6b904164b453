"""Conversations over HTTP: what is kept, what is said again, two messages at once, and what is refused."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from deepseek.serve import Settings
from deepseek.serve.console.chinese import in_both_languages
from support.assistant.client import assistant, in_loop
from support.assistant.model import ANSWERS, OUT_OF_SCOPE


@in_loop
async def test_a_conversation_is_there_after_a_restart(tmp_path: Path) -> None:
    async with assistant(tmp_path / "state") as client:
        first = await client.say("Do you deliver cards abroad?")
    async with assistant(tmp_path / "state") as client:
        again = await client.say("and what is the exchange rate?", first["conversation"])
        assert again["messages"][-1]["text"] == ANSWERS["exchange_rate"]
        whole = await client.ask("transcript", conversation=first["conversation"])
        assert [message["number"] for message in whole["messages"]] == [1, 2, 3, 4]
        assert [message["role"] for message in whole["messages"]] == ["user", "assistant"] * 2


@in_loop
async def test_messages_that_come_at_once_are_kept_in_their_order_and_each_has_its_reply(tmp_path: Path) -> None:
    async with assistant(tmp_path / "state") as client:
        identity = (await client.say("Where is my card?"))["conversation"]
        texts = [f"What is the exchange rate number {place}?" for place in range(20)]
        await asyncio.gather(*(client.say(text, identity) for text in texts))
        whole = (await client.ask("transcript", conversation=identity))["messages"]
        assert [message["number"] for message in whole] == list(range(1, len(whole) + 1))
        spoken = [message for message in whole[2:] if message["role"] == "user"]
        assert sorted(message["text"] for message in spoken) == sorted(texts)
        for message in spoken:
            assert [each for each in whole if each["reply_to"] == message["number"]]


@in_loop
async def test_a_message_that_is_sent_again_is_answered_once(tmp_path: Path) -> None:
    async with assistant(tmp_path / "state") as client:
        first = await client.say("Where is my card?")
        identity = first["conversation"]
        second = await client.say("change my pin", identity, message_id="m-1")
        await client.say("What is the exchange rate?", identity)
        third = await client.say("change my pin", identity, message_id="m-1")
        assert (third["number"], third["messages"]) == (second["number"], second["messages"])
        whole = await client.ask("transcript", conversation=identity)
        assert sum(message["text"] == "change my pin" for message in whole["messages"]) == 1


@in_loop
async def test_a_first_message_that_is_sent_again_finds_the_conversation_that_it_has_begun(tmp_path: Path) -> None:
    async with assistant(tmp_path / "state") as client:
        body = {"begin": "0123456789abcdef0123", "message_id": "m-1"}
        first, again = await client.say("tell me a joke", **body), await client.say("tell me a joke", **body)
        assert (first["conversation"], first["messages"]) == (again["conversation"], again["messages"])
        assert len((await client.ask("desk"))["conversations"]) == 1
        await client.ask("converse", status=422, message="x", begin="short")


@in_loop
async def test_conversations_without_a_message_for_long_are_forgotten(tmp_path: Path) -> None:
    import time

    from support.assistant.servers import make_app

    async with assistant(tmp_path / "state") as client:
        identity = (await client.say("Where is my card?"))["conversation"]
    service = make_app(tmp_path / "state").generators["help"].service  # type: ignore[attr-defined]
    assert await service.forget_before(time.time() - 60) == 0
    assert await service.forget_before(time.time() + 60) == 1
    assert service.store.load(identity) is None
    service.close()


@in_loop
async def test_our_client_talks(tmp_path: Path) -> None:
    from deepseek.client import AsyncClient

    async with assistant(tmp_path / "state") as client, AsyncClient(str(client.http.base_url)) as ours:
        first = await ours.converse("I lost my card")
        assert (first.text, [button.value for button in first.messages[0].buttons]) == (
            "Which card?", ["choice:debit", "choice:credit"],
        )  # fmt: skip
        second = await ours.converse("", conversation=first.conversation, choose="choice:debit")
        assert (second.conversation, second.status) == (first.conversation, "waiting")


@in_loop
async def test_a_long_message_is_kept_whole_and_one_that_is_longer_is_refused(tmp_path: Path) -> None:
    async with assistant(tmp_path / "state") as client:
        text = "卡" * 100_000
        answer = await client.say(text)
        whole = await client.ask("transcript", conversation=answer["conversation"])
        assert whole["messages"][0]["text"] == text
        refused = await client.ask("converse", status=422, message=text + "卡")
        assert "100000" in refused["error"]["expected"]


@in_loop
async def test_what_is_wrong_with_a_body_is_said(tmp_path: Path) -> None:
    async with assistant(tmp_path / "state") as client:
        assert "mesage" in (await client.ask("converse", status=422, mesage="x"))["error"]["message"]
        assert "at message" in (await client.ask("converse", status=422, message=3))["error"]["message"]
        assert (await client.ask("converse", status=404, conversation="nobody"))["error"]["code"] == "not_found"
        assert (await client.ask("transcript", status=404, conversation="nobody"))["error"]["code"] == "not_found"
        answer = await client.http.post("/v1/models/help:converse", content=b'{"message": "a", "message": "b"}')
        assert answer.status_code == 400


@in_loop
async def test_no_body_makes_the_server_fail(tmp_path: Path) -> None:
    keys = {
        "converse": ("message", "conversation", "choose", "begin"), "transcript": ("conversation", "after"),
        "feedback": ("number",), "undo_answer": ("answer",), "add_answer": ("answer", "intent", "questions"),
        "drop_questions": ("question_ids",), "reply": ("message", "person"), "predict": ("instances",),
    }  # fmt: skip
    async with assistant(tmp_path / "state") as client:
        identity = (await client.say("Where is my card?"))["conversation"]
        more = {
            "feedback": {"helpful": False},
            "add_answer": {"answer": "a", "questions": ["b"]},
            "reply": {"message": "a"},
        }
        for verb, names in keys.items():
            for name in names:
                for value in ("\ud800", "\0\u202e", 2**70, -1, None, [], ["\ud800"], {}, "9" * 5_000):
                    whole: dict[str, object] = (
                        {"conversation": identity} if verb in ("transcript", "feedback", "reply") else {}
                    )
                    content = json.dumps(whole | more.get(verb, {}) | {name: value}).encode()
                    answer = await client.http.post(f"/v1/models/help:{verb}", content=content)
                    assert answer.status_code < 500, (verb, content[:100], answer.text)
        await client.ask("give_back", conversation=identity)
        assert (await client.say("Where is my card?", identity))["messages"]


@in_loop
async def test_a_conversation_can_be_forgotten(tmp_path: Path) -> None:
    async with assistant(tmp_path / "state") as client:
        identity = (await client.say("tell me a joke"))["conversation"]
        await client.ask("forget", conversation=identity)
        await client.ask("transcript", status=404, conversation=identity)
        assert (await client.ask("unanswered"))["groups"] == []
        assert (await client.ask("desk"))["conversations"] == []


@in_loop
async def test_questions_are_understood_without_a_conversation(tmp_path: Path) -> None:
    async with assistant(tmp_path / "state") as client:
        body = {"instances": [{"question": "I lost my card"}, {"question": OUT_OF_SCOPE[0], "row": 7}]}
        first, second = (await client.http.post("/v1/models/help:predict", json=body)).json()["predictions"]
        assert (first["label"], first["decision"], len(first["intents"])) == ("lost_card", "answer", 3)
        assert second["decision"] == "hand_over"
        await client.ask("predict", status=422, instances=[])


@in_loop
async def test_the_model_is_listed_and_described(tmp_path: Path) -> None:
    async with assistant(tmp_path / "state") as client:
        listed = (await client.http.get("/v1/models")).json()["data"]
        assert [(entry["id"], entry["task"]) for entry in listed] == [("help", "intents")]
        described = (await client.http.get("/v1/models/help")).json()
        assert described["intents"]["card_arrival"] == {"en": "card delivery", "zh": "寄卡"}
        assert described["slots"]["order"] == "order_number"
        paths = (await client.http.get("/openapi.json")).json()["paths"]
        assert {"/v1/models/help:converse", "/v1/models/help:add_answer", "/v1/chat/completions"} <= paths.keys()
        assert "prompt" not in str(paths["/v1/chat/completions"])
        for path in paths.values():
            for operation in path.values():
                words = [operation["summary"], *(each["description"] for each in operation["responses"].values())]
                for sentence in words:
                    assert sentence == "Done." or in_both_languages(sentence).zh != sentence, sentence
        assert (await client.http.get("/docs")).status_code == 200


@in_loop
async def test_a_server_with_an_assistant_says_how_it_does(tmp_path: Path) -> None:
    from deepseek.serve.status import read_status
    from support.assistant.servers import make_app

    app = make_app(tmp_path / "state")
    await app.start()
    status = read_status(app)
    assert (status.generators, app.not_ready) == ((), None)
    await app.close()


@in_loop
async def test_a_key_that_may_only_chat_opens_the_chat_and_nothing_else(tmp_path: Path) -> None:
    from hashlib import sha256

    keys = tmp_path / "keys"
    lines = [f"{sha256(b'web').hexdigest()} name=web may=chat", f"{sha256(b'staff').hexdigest()} name=staff"]
    keys.write_text("\n".join(lines))
    async with assistant(tmp_path / "state", settings=Settings(api_keys_file=str(keys))) as client:
        await client.ask("converse", status=401, message="Where is my card?")
        client.http.headers["authorization"] = "Bearer web"
        answer = await client.say("Where is my card?")
        await client.ask("transcript", conversation=answer["conversation"])
        for verb in ("desk", "unanswered", "answers"):
            assert (await client.ask(verb, status=403))["error"]["code"] == "key_scope"
        await client.ask("reply", status=403, conversation=answer["conversation"], message="x")
        assert (await client.http.get("/v1/models")).status_code == 403
        client.http.headers["authorization"] = "Bearer staff"
        await client.ask("desk")
        del client.http.headers["authorization"]
        assert (await client.http.get("/chat/help")).status_code == 200  # the page asks for a key itself


@in_loop
async def test_a_conversation_is_open_to_the_key_that_began_it_and_to_staff_alone(tmp_path: Path) -> None:
    from hashlib import sha256

    keys = tmp_path / "keys"
    chats = [f"{sha256(name.encode()).hexdigest()} name={name} may=chat" for name in ("shop", "bank")]
    keys.write_text("\n".join([*chats, f"{sha256(b'staff').hexdigest()} name=staff"]))
    begin = "drawn-at-random-by-the-page"
    for _ in range(2):  # the second time after a restart
        async with assistant(tmp_path / "state", settings=Settings(api_keys_file=str(keys))) as client:
            client.http.headers["authorization"] = "Bearer shop"
            ours = (await client.say("Where is my card?", begin=begin, message_id="m1"))["conversation"]
            client.http.headers["authorization"] = "Bearer bank"
            for verb, body in (
                ("converse", {"message": "And theirs?"}), ("transcript", {}), ("forget", {}),
                ("feedback", {"number": 2, "helpful": False}),
            ):  # fmt: skip
                refused = await client.ask(verb, status=404, conversation=ours, **body)
                assert refused == await client.ask(verb, status=404, conversation="no-such-conversation", **body)
            chat = {"model": "help", "messages": [{"role": "user", "content": "And theirs?"}]}
            answer = await client.http.post("/v1/chat/completions", json=chat | {"metadata": {"conversation": ours}})
            assert answer.status_code in (403, 404)
            assert (await client.say("Where is my card?", begin=begin))["conversation"] != ours
            client.http.headers["authorization"] = "Bearer staff"
            assert len((await client.ask("transcript", conversation=ours))["messages"]) == 2
            client.http.headers["authorization"] = "Bearer shop"
            assert len((await client.ask("transcript", conversation=ours))["messages"]) == 2


@in_loop
async def test_a_conversation_of_before_there_were_keys_is_opened_by_its_id(tmp_path: Path) -> None:
    from hashlib import sha256

    async with assistant(tmp_path / "state") as client:
        earlier = (await client.say("Where is my card?"))["conversation"]
    keys = tmp_path / "keys"
    keys.write_text(f"{sha256(b'web').hexdigest()} name=web may=chat")
    async with assistant(tmp_path / "state", settings=Settings(api_keys_file=str(keys))) as client:
        client.http.headers["authorization"] = "Bearer web"
        assert (await client.ask("transcript", conversation=earlier))["messages"]


@in_loop
async def test_where_others_reach_the_server_without_keys_the_desk_is_closed(tmp_path: Path) -> None:
    async with assistant(tmp_path / "state", settings=Settings(host="0.0.0.0")) as client:
        await client.say("Where is my card?")
        assert (await client.ask("desk", status=403))["error"]["code"] == "key_needed"


@in_loop
async def test_no_id_of_a_conversation_and_no_personal_data_stands_in_the_log(tmp_path: Path) -> None:
    from deepseek.contracts import Event
    from support.assistant.servers import make_app
    from support.servers.serving import serving

    app = make_app(tmp_path / "state")
    events: list[Event] = []
    async with serving(app) as url:
        app.generators["help"].service.emit = events.append  # type: ignore[attr-defined]
        import httpx

        async with httpx.AsyncClient(base_url=url, timeout=60) as http:
            text = "My card 4111 1111 1111 1111 is lost, mail ann@bank.com"
            answer = (await http.post("/v1/models/help:converse", json={"message": text})).json()
    await app.close()
    (event,) = events
    shown = str(event.fields)
    assert "My card [card] is lost, mail [email]" in shown
    assert answer["conversation"] not in shown
