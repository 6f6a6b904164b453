"""Flows: what is asked next, what an answer fills, a switch of topic and the way back.

begin_flow(turn, flow, "refund", "I want my money back")    # asks for the first slot that the sentence does not hold
question = take_answer(turn)                # fills the open slot; what is left of the sentence is a question
"""

from __future__ import annotations

from dataclasses import replace

from deepseek.dialogue.conversation import Button, OpenFlow
from deepseek.dialogue.definition import FlowDefinition, FlowStep, in_language
from deepseek.dialogue.phrases import NO, YES, fill, plain_words
from deepseek.dialogue.references import same_value
from deepseek.dialogue.slots.read import read_slot
from deepseek.dialogue.slots.values import SlotValue
from deepseek.dialogue.turn import Turn

_QUESTION_STARTS = (
    "how", "what", "when", "where", "why", "who", "which", "can", "could", "do", "does", "is", "are", "will", "should",
)  # fmt: skip
_QUESTION_ENDS = ("?", "？", "吗", "呢", "么")


def begin_flow(turn: Turn, flow: FlowDefinition, intent: str, text: str) -> None:
    """Enter a flow with the values that the sentence holds, or go back to it where it is open already."""
    others = tuple(each for each in turn.conversation.flows if each.name != flow.name)
    new = OpenFlow(flow.name, intent=intent, question=text)
    before = next((each for each in turn.conversation.flows if each.name == flow.name), new)
    turn.update(flows=(*others, replace(before, num_attempts=0)))
    _fill_from(turn, flow, text)
    advance(turn)


def advance(turn: Turn) -> None:
    """Do the steps of the open flow up to the next question; at its end go back to the one that it interrupted."""
    while turn.conversation.flows:
        open_flow = turn.conversation.flows[-1]
        flow = turn.definition.flow(open_flow.name)
        if flow is None or open_flow.step >= len(flow.steps):
            _end_flow(turn, open_flow)
            continue
        step = flow.steps[open_flow.step]
        if _applies(step, open_flow) and _do_step(turn, flow, step, open_flow):
            return
        if turn.conversation.flows:
            _set_flow(turn, replace(turn.conversation.flows[-1], step=open_flow.step + 1, num_attempts=0))
    if turn.conversation.queue and turn.conversation.status == "open":
        following, *rest = turn.conversation.queue
        turn.update(queue=tuple(rest))
        flow = turn.definition.flow_of(following)
        if flow is not None:
            begin_flow(turn, flow, following, turn.user.text)


def repeat_question(turn: Turn) -> None:
    """Ask the open question again, after something else was answered."""
    turn.say("back_to", title=turn.title(turn.conversation.flows[-1].name))
    advance(turn)


def stop_flow(turn: Turn) -> None:
    """End the open flow without its last steps."""
    open_flow = turn.conversation.flows[-1]
    turn.say("cancelled", decision="flow", title=turn.title(open_flow.name))
    _drop(turn)
    if turn.conversation.flows:
        repeat_question(turn)


def take_answer(turn: Turn) -> str:
    """Take the message as the answer to the open question. Returns what is left of it as a question of its own: "" when
    it was an answer and nothing else."""
    open_flow = turn.conversation.flows[-1]
    flow = turn.definition.flow(open_flow.name)
    if flow is None or open_flow.step >= len(flow.steps):
        advance(turn)
        return turn.user.text if not turn.replies else ""
    step = flow.steps[open_flow.step]
    return _take_confirmation(turn, flow) if step.confirm else _take_slot(turn, flow, step)


def take_text(turn: Turn) -> bool:
    """Take words that look like a question, and are none that is known, as the text that is asked for. False where no
    text is."""
    open_flow = turn.conversation.flows[-1]
    flow = turn.definition.flow(open_flow.name)
    slot = flow.steps[open_flow.step].ask if flow is not None else ""
    if not slot or turn.definition.slots[slot].kind != "text":
        return False
    _fill(turn, slot, turn.user.text.strip())
    advance(turn)
    return True


def refuse_answer(turn: Turn) -> None:
    """Say that the answer could not be read, and ask again; after too many attempts a person takes over."""
    open_flow = turn.conversation.flows[-1]
    flow = turn.definition.flow(open_flow.name)
    step = flow.steps[open_flow.step] if flow is not None else FlowStep()
    attempts = open_flow.num_attempts + 1
    name = turn.title(open_flow.name)
    if attempts >= turn.definition.hand_over.after_attempts:
        turn.conversation = turn.conversation.add_tried(f"{name}: asked {attempts} times for {step.ask or 'yes or no'}")
        turn.hand_over(f"{name}: the answers were not understood")
        return
    _set_flow(turn, replace(open_flow, num_attempts=attempts))
    kind = turn.definition.slots[step.ask].kind if step.ask else "confirm"
    turn.say(f"again_{kind}", decision="flow")
    advance(turn)


def _take_confirmation(turn: Turn, flow: FlowDefinition) -> str:
    words = plain_words(turn.user.text)
    if turn.user.choose == "yes" or words in YES:
        open_flow = turn.conversation.flows[-1]
        _set_flow(turn, replace(open_flow, step=open_flow.step + 1, num_attempts=0))
        advance(turn)
        return ""
    if turn.user.choose == "no" or words in NO:
        stop_flow(turn)
        return ""
    if _correct(turn, flow):
        advance(turn)
        return ""
    return turn.user.text


def _correct(turn: Turn, flow: FlowDefinition) -> bool:
    """Change the values that the sentence has others for: "change it to 50 pounds"."""
    open_flow, is_changed = turn.conversation.flows[-1], False
    for name in _slots_of(flow):
        slot = turn.definition.slots[name]
        value = None if slot.kind == "text" else read_slot(slot, turn.user.text, turn.user.now)
        if value is not None and value.value != open_flow.slots.get(name):
            _fill(turn, name, value.value)
            turn.say("changed", decision="flow", slot=name, value=value.value)
            is_changed = True
    return is_changed


def _take_slot(turn: Turn, flow: FlowDefinition, step: FlowStep) -> str:
    slot, text = turn.definition.slots[step.ask], turn.user.text
    if turn.user.choose.startswith("choice:"):
        value: SlotValue | None = SlotValue(0, len(text), turn.user.choose.removeprefix("choice:"))
        value = value if value is not None and value.value in slot.choices else None
    elif slot.kind == "text" and _is_question(text):
        return text
    else:
        value = read_slot(slot, text, turn.user.now, is_asked=True)
    if value is None:
        earlier = same_value(text, step.ask, turn.conversation.mentioned)
        if earlier is None:
            return text
        value = SlotValue(0, len(text), earlier)
    _fill(turn, step.ask, value.value)
    _fill_from(turn, flow, text)
    question = text if slot.kind != "text" and _is_question(text) and value.end - value.start < len(text) / 2 else ""
    if not question:
        advance(turn)
    return question


def _is_question(text: str) -> bool:
    plain = text.strip().lower()
    return plain.endswith(_QUESTION_ENDS) or plain.split(" ", 1)[0] in _QUESTION_STARTS


def _do_step(turn: Turn, flow: FlowDefinition, step: FlowStep, open_flow: OpenFlow) -> bool:
    """Do a step. Returns whether the flow waits for the user, or is over."""
    if step.ask:
        if step.ask in open_flow.slots:
            return False
        slot = turn.definition.slots[step.ask]
        buttons = [Button(value, f"choice:{value}") for value in slot.choices]
        turn.reply(in_language(slot.ask, turn.language), buttons, intent=flow.name, decision="flow")
        return True
    if step.confirm:
        text = fill(in_language(step.confirm, turn.language), open_flow.slots)
        turn.reply(text, [turn.button("yes"), turn.button("no")], intent=flow.name, decision="flow")
        return True
    if step.say:
        turn.reply(fill(in_language(step.say, turn.language), open_flow.slots), intent=flow.name, decision="answer")
        return False
    values = ", ".join(f"{name} = {value}" for name, value in open_flow.slots.items())
    turn.conversation = turn.conversation.add_tried(f"{turn.title(flow.name)}: {values or 'no values'}")
    turn.hand_over(f"{turn.title(flow.name)}: {step.hand_over}")
    return True


def _applies(step: FlowStep, open_flow: OpenFlow) -> bool:
    return all(open_flow.slots.get(name) == value for name, value in step.only_if.items())


def _fill_from(turn: Turn, flow: FlowDefinition, text: str) -> None:
    """Fill every slot of the flow that the sentence holds a value for, or points back at one."""
    for name in _slots_of(flow):
        slot = turn.definition.slots[name]
        if name in turn.conversation.flows[-1].slots or slot.kind == "text":
            continue
        value = read_slot(slot, text, turn.user.now)
        if value is not None:
            _fill(turn, name, value.value)
        elif slot.kind == "order_number" and (earlier := same_value(text, name, turn.conversation.mentioned)):
            _fill(turn, name, earlier)  # "refund it": an amount or a day of before is another one's


def _fill(turn: Turn, name: str, value: str) -> None:
    open_flow = turn.conversation.flows[-1]
    turn.update(mentioned={**turn.conversation.mentioned, name: value})
    _set_flow(turn, replace(open_flow, slots={**open_flow.slots, name: value}))


def _slots_of(flow: FlowDefinition) -> list[str]:
    return list(dict.fromkeys(step.ask for step in flow.steps if step.ask))


def _set_flow(turn: Turn, flow: OpenFlow) -> None:
    turn.update(flows=(*turn.conversation.flows[:-1], flow))


def _end_flow(turn: Turn, open_flow: OpenFlow) -> None:
    _drop(turn)
    turn.update(topic=open_flow.intent, topic_question=open_flow.question, num_unsure=0)
    if turn.conversation.flows:
        turn.say("back_to", title=turn.title(turn.conversation.flows[-1].name))


def _drop(turn: Turn) -> None:
    turn.update(flows=turn.conversation.flows[:-1], offered=())
