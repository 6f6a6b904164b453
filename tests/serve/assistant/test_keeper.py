"""The keeper of the FAQ: questions in groups, answers that hold at once, a second answer to one question, undo."""

from __future__ import annotations

from pathlib import Path

from support.assistant.client import assistant, in_loop

QUESTIONS = (
    "tell me a joke please",
    "tell me a funny joke",
    "please tell a joke",
    "how tall is the tower",
    "play some music",
)


@in_loop
async def test_an_added_answer_holds_from_the_next_message_until_it_is_undone(tmp_path: Path) -> None:
    async with assistant(tmp_path / "state") as client:
        for text in QUESTIONS:
            await client.say(text)
        groups = (await client.ask("unanswered"))["groups"]
        assert groups[0]["size"] == 3
        ids = [each["id"] for each in groups[0]["questions"]]
        answer = await client.ask("add_answer", answer="We tell no jokes.", question_ids=ids, author="Ann")
        assert (await client.say("Tell me a funny joke!"))["messages"][0]["text"] == "We tell no jokes."
        assert [each["size"] for each in (await client.ask("unanswered"))["groups"]] == [1, 1]
        await client.ask("undo_answer", answer=answer["id"])
        assert (await client.say("Tell me a funny joke!"))["status"] == "waiting"
        assert (await client.ask("unanswered"))["groups"][0]["size"] == 4
        await client.ask("undo_answer", status=404, answer=answer["id"])


@in_loop
async def test_one_question_has_one_answer_unless_the_later_replaces_the_earlier(tmp_path: Path) -> None:
    async with assistant(tmp_path / "state") as client:
        await client.ask("add_answer", answer="Yes.", questions=["Are you open on Sunday?"])
        refused = await client.ask("add_answer", status=409, answer="No.", questions=["are you open on sunday"])
        assert "Are you open on Sunday?" in refused["error"]["message"]
        later = await client.ask("add_answer", answer="No.", questions=["are you open on sunday"], replaces=True)
        assert (await client.say("Are you open on Sunday?"))["messages"][0]["text"] == "No."
        await client.ask("undo_answer", answer=later["id"])
        assert (await client.say("Are you open on Sunday?"))["messages"][0]["text"] == "Yes."


@in_loop
async def test_an_answer_that_did_not_help_brings_its_question_to_the_keeper_without_personal_data(
    tmp_path: Path,
) -> None:
    async with assistant(tmp_path / "state") as client:
        answer = await client.say("Where is my card, I am ann@bank.com")
        number = answer["messages"][0]["number"]
        for helpful in (True, False, False):
            await client.ask("feedback", conversation=answer["conversation"], number=number, helpful=helpful)
        (group,) = (await client.ask("unanswered"))["groups"]
        (question,) = group["questions"]
        assert (question["question"], question["reason"]) == ("Where is my card, I am [email]", "not_helpful")
        await client.ask("feedback", status=404, conversation=answer["conversation"], number=1, helpful=False)
        await client.ask("drop_questions", question_ids=[question["id"]])
        assert (await client.ask("unanswered"))["groups"] == []


@in_loop
async def test_an_answer_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    async with assistant(tmp_path / "state") as client:
        for body in ({"answer": " ", "questions": ["a"]}, {"answer": "a"}, {"answer": "a", "intent": "no such"},
                     {"answer": "x" * 10_001, "questions": ["a"]}):  # fmt: skip
            await client.ask("add_answer", status=422, **body)
        await client.ask("add_answer", answer="In a week.", intent="card_arrival")
        assert (await client.say("Where is my card?"))["messages"][0]["text"] == "In a week."
