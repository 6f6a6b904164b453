"""Questions: what is answered, what is asked back with three buttons, what a person is asked for.

answer_question(turn, "Where is my card?", model, additions)        # True where something was answered
"""

from __future__ import annotations

from collections.abc import Sequence

from deepseek.dialogue.additions import AddedAnswer, Additions
from deepseek.dialogue.conversation import Button
from deepseek.dialogue.flow import begin_flow
from deepseek.dialogue.references import readings
from deepseek.dialogue.turn import Turn
from deepseek.dialogue.understanding import Understanding, Understands

MAX_BUTTONS = 3
MAX_PARTS = 4  # questions of one sentence that are answered


def answer_question(
    turn: Turn, text: str, model: Understands, additions: Additions, *, only_sure: bool = False
) -> bool:
    """Answer a question, or each of several in one sentence. `only_sure`: say nothing rather than ask back or hand
    over, because the message may be no question at all. Returns whether anything was answered."""
    if (added := additions.find(text)) is not None:
        answer_added(turn, added)
        return True
    (bare,), topic = model.understand([text]), turn.conversation.topic
    read: list[Understanding] = []
    if topic and bare.decision != "answer" and len(bare.parts) == 1:  # each reading costs as much as the question
        follow_ups = readings(text, turn.title(topic), turn.conversation.topic_question)
        read = model.understand(follow_ups) if follow_ups else []
    others = [each for each in read if _adds_to(each, bare, topic)]
    understanding = next((each for each in (bare, *others) if each.decision == "answer"), None)
    if understanding is None:  # asking back is better than nothing: where the bare question is out of scope as well
        understanding = next((each for each in (bare, *others) if each.decision == "ask"), bare)
    if understanding is bare and len(bare.parts) > 1 and _answer_parts(turn, bare, model, additions, only_sure):
        return True
    if understanding.decision == "answer" and understanding.best is not None:
        name = understanding.best.name
        if understanding is not bare:
            turn.say("about", title=turn.title(name))
        answer_intent(turn, name, text, model, additions)
        return True
    if only_sure:
        return False
    first = [Button(each.title, f"answer:{each.id}") for each in additions.near(text)]
    if topic in model.intents and any(each.decision == "answer" and _names(each)[0] == topic for each in read):
        first.append(Button(turn.title(topic), f"intent:{topic}"))  # it points back, and may be about that
    if understanding.decision == "ask" or first:
        ask_which(turn, understanding, first)
    else:
        refuse(turn, text, understanding)
    return False


def _adds_to(reading: Understanding, bare: Understanding, topic: str) -> bool:
    """Whether a question that was read as a follow-up says more than the topic that was put into it: another intent, or
    the topic's where the question alone is nearest to that, too. Else "is it raining?" would get the last answer again.
    """
    if reading.best is None:
        return False
    return reading.best.name != topic or (bare.best is not None and bare.best.name == topic)


def _answer_parts(turn: Turn, whole: Understanding, model: Understands, additions: Additions, only_sure: bool) -> bool:
    """Answer the questions of a sentence one by one. False where none of them is sure: then the sentence is one."""
    parts = whole.parts[:MAX_PARTS]
    added = [additions.find(part) for part in parts]
    understood = model.understand(parts)
    if not any(added) and not any(each.decision == "answer" for each in understood):
        return False
    names: list[str] = []
    for part, addition, each in zip(parts, added, understood, strict=True):
        if addition is not None:
            answer_added(turn, addition)
        elif each.decision == "answer" and each.best is not None:
            if each.best.name not in names:
                names.append(each.best.name)
                answer_intent(turn, each.best.name, part, model, additions)
        elif not only_sure and turn.conversation.status == "open":
            turn.keep_unanswered(part, "unsure" if each.decision == "ask" else "not_covered", _names(each))
            buttons = _intent_buttons(turn, each) if each.decision == "ask" else []
            turn.say("not_covered_part" if not buttons else "which", [*buttons, turn.button("person")], part=part)
    return True


def answer_added(turn: Turn, added: AddedAnswer) -> None:
    """Give an answer that the keeper of the FAQ has added."""
    turn.reply(added.answer, intent=added.intent or f"answer:{added.id}", decision="answer")
    turn.update(topic=added.intent or added.title, topic_question=turn.user.text or added.title, num_unsure=0)


def answer_intent(turn: Turn, name: str, text: str, model: Understands, additions: Additions) -> None:
    """Give the answer of an intent, or begin its flow, or hand over where there is neither."""
    rules, flow = turn.definition.hand_over, turn.definition.flow_of(name)
    turn.update(num_unsure=0)
    if name in rules.intents:
        turn.hand_over("a person was asked for")
    elif flow is not None:
        is_second = any(reply.decision == "flow" and reply.intent != flow.name for reply in turn.replies)
        if is_second:  # of two flows in one sentence the second waits until the first has ended
            turn.update(queue=(*turn.conversation.queue, name))
        else:
            begin_flow(turn, flow, name, text)
        turn.update(topic=name, topic_question=text)
    elif answer := additions.by_intent.get(name) or model.answers.get(name):
        turn.reply(answer, intent=name, decision="answer")
        turn.update(topic=name, topic_question=text)
        turn.conversation = turn.conversation.add_tried(f"answered: {turn.title(name)}")
    else:
        turn.keep_unanswered(text, "no_answer", [name])
        turn.say("no_answer", title=turn.title(name))
        turn.hand_over(f"no answer is written for: {turn.title(name)}")


def ask_which(turn: Turn, understanding: Understanding, first: Sequence[Button] = ()) -> None:
    """Ask back with three buttons at most, `first` before others; after too many turns without an answer a person takes
    over."""
    num_unsure = turn.conversation.num_unsure + 1
    buttons = list(first)
    if understanding.decision == "ask" or not buttons:
        buttons += [each for each in _intent_buttons(turn, understanding) if each not in buttons]
    buttons = buttons[:MAX_BUTTONS]
    labels = ", ".join(button.label for button in buttons)
    turn.conversation = turn.conversation.add_tried(f"was not sure, and offered: {labels}")
    if num_unsure > turn.definition.hand_over.after_unsure:
        turn.keep_unanswered(turn.user.text, "unsure", _names(understanding))
        turn.hand_over("the assistant was not sure several times in a row")
        return
    turn.update(num_unsure=num_unsure)
    turn.say("which", [*buttons, turn.button("none_of_these")], decision="ask")


def refuse(turn: Turn, question: str, understanding: Understanding | None = None) -> None:
    """Say that there is no answer; a person is asked for, or offered."""
    rules = turn.definition.hand_over
    num_unsure = turn.conversation.num_unsure + 1
    names = () if understanding is None else _names(understanding)
    turn.keep_unanswered(question, "unsure" if understanding is None else "not_covered", names)
    turn.conversation = turn.conversation.add_tried("has no answer to the question")
    at_once = rules.not_covered == "at_once" or num_unsure >= rules.after_unsure
    turn.update(num_unsure=num_unsure)
    turn.say("not_covered", [] if at_once else [turn.button("person")])
    if at_once:
        turn.hand_over("the question is not covered" if understanding is not None else "none of the offers was meant")


def _intent_buttons(turn: Turn, understanding: Understanding) -> list[Button]:
    return [Button(turn.title(each.name), f"intent:{each.name}") for each in understanding.intents[:MAX_BUTTONS]]


def _names(understanding: Understanding) -> tuple[str, ...]:
    return tuple(each.name for each in understanding.intents)
