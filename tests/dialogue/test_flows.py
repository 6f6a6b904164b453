"""Flows: what is asked, what fills a slot, a switch of topic and the way back, and when a person takes over."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepseek.dialogue.definition import read_dialogue
from deepseek.dialogue.manager import DialogueManager
from deepseek.dialogue.stories import play_stories, read_stories
from support.assistant.talk import Talk

pytest.importorskip("price_parser")
pytest.importorskip("dateparser")
pytest.importorskip("cn2an")
STORIES = Path(__file__).parents[1] / "support" / "assistant" / "stories.toml"


def test_the_stories_go_as_they_have_to(manager: DialogueManager) -> None:
    result = play_stories(manager, read_stories(STORIES))
    assert result.num_passed == len(result.stories) == 4, result.summary()


def test_a_story_that_goes_otherwise_says_which_turn_and_what_followed(
    manager: DialogueManager, tmp_path: Path
) -> None:
    path = tmp_path / "stories.toml"
    path.write_text(
        '[[stories]]\nname="wrong"\n[[stories.turns]]\nuser="I want a refund"\nasks="amount"\nsays=["Paris"]\n'
        'buttons=["yes"]\nstatus="waiting"\nslots={order="A"}\nintent="human"\ndecision="ask"\nnever=["order"]\n'
    )
    (story,) = play_stories(manager, read_stories(path)).stories
    text = "\n".join(story.problems)
    for expected in ("ask for amount, asked for order", "say 'Paris'", "offer yes", "be waiting, is open", "have order",
                     "answer human", "decide ask", "never to say 'order'"):  # fmt: skip
        assert expected in text


def test_a_sentence_fills_every_slot_that_it_holds(talk: Talk) -> None:
    assert talk.say("I want a refund of $20 for my order A-1234567") == "Refund 20 USD for order A-1234567?"
    assert talk.offered == ["yes", "no"]


def test_an_answer_and_a_question_in_one_message_are_both_heard(talk: Talk) -> None:
    talk.say("I want my money back")
    spoken = talk.say("A-1234567, and what is the exchange rate?")
    assert "interbank" in spoken
    assert spoken.endswith("How much was it?")
    assert talk.state.flows[-1].slots == {"order": "A-1234567"}


def test_after_a_flow_it_is_what_the_flow_was_about_whatever_was_asked_in_its_midst(talk: Talk) -> None:
    talk.say("I want a refund for my order A-1234567")
    assert "interbank" in talk.say("What is the exchange rate?")
    talk.say("$20")
    talk.say("yes")
    assert (talk.state.topic, talk.state.topic_question) == ("refund", "I want a refund for my order A-1234567")
    assert "interbank" not in talk.say("and today?")


def test_a_slot_stays_open_through_words_that_answer_nothing(talk: Talk) -> None:
    talk.say("I want a refund for my order A-1234567")
    for text in ("😀😀", "", "🎉" * 100_000, "a " * 50_000):
        talk.say(text)
        assert talk.state.flows[-1].slots == {"order": "A-1234567"}
    assert talk.say("$20") == "Refund 20 USD for order A-1234567?"


def test_another_flow_in_the_middle_of_one_comes_first_and_the_first_goes_on(talk: Talk) -> None:
    talk.say("I lost my card")
    talk.say("I want a refund for my order A-9999999 of $20")
    spoken = talk.say("yes")
    assert spoken.startswith("The refund of 20 USD is on its way.")
    assert spoken.endswith("Which card?")


def test_two_flows_in_one_sentence_follow_each_other(talk: Talk) -> None:
    talk.say("I want a refund and I lost my card and how do I change my PIN?")
    assert talk.state.queue == ("lost_card",) or len(talk.state.flows) == 1
    talk.say("A-1234567")
    talk.say("20")
    assert talk.say("yes").endswith("Which card?")


def test_no_to_the_confirmation_ends_the_flow_and_nothing_is_done(talk: Talk) -> None:
    talk.say("I want a refund of $20 for my order A-1234567")
    assert "Nothing was done" in talk.say("no")
    assert talk.state.flows == ()


def test_an_answer_that_cannot_be_read_is_asked_again_and_then_a_person_takes_over(talk: Talk) -> None:
    talk.say("I want a refund for my order A-1234567")
    assert "I read no amount" in talk.say("no idea")
    talk.say("I really do not remember")
    talk.say("hmm")
    assert talk.state.status == "waiting"
    assert "amount" in talk.state.tried[-1]


def test_a_step_that_does_not_apply_is_left_out(talk: Talk) -> None:
    talk.say("I lost my card")
    talk.say("", choose="choice:debit")
    assert talk.state.status == "waiting"
    assert talk.state.reason == "blocking the card: a card is to be blocked"


def test_words_that_look_like_a_question_are_the_text_that_is_asked_for_unless_they_are_one(
    manager: DialogueManager, tmp_path: Path
) -> None:
    path = tmp_path / "dialogue.toml"
    flow = '[[flows]]\nname="end"\nintents=["close_account"]\nsteps=[{ask="why"}, {say={en="Noted: {why}"}}]\n'
    path.write_text(f'[slots.why]\nkind="text"\nask={{en="Why?"}}\n{flow}', encoding="utf-8")
    talk = Talk(DialogueManager(manager.model, read_dialogue(path)))
    talk.say("I want to close my account")
    assert "interbank" in talk.say("What is the exchange rate?")
    assert talk.say("is too dear for what it does") == "Noted: is too dear for what it does"


def test_an_amount_of_before_is_not_taken_for_another_refund(talk: Talk) -> None:
    talk.say("I want a refund of $20 for my order A-1234567")
    talk.say("yes")
    assert talk.say("I want a refund for it") == "How much was it?"
    assert talk.state.flows[-1].slots == {"order": "A-1234567"}


def test_a_value_with_a_placeholder_in_it_is_not_filled_again(manager: DialogueManager) -> None:
    from deepseek.dialogue.phrases import fill

    assert fill("{a} {b}", {"a": "{b}", "b": "1"}) == "{b} 1"
