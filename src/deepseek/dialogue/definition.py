"""A dialogue as data: slots, flows, titles, phrases and when a person takes over, from one TOML file.

    [slots.order]
    kind = "order_number"
    ask = {en = "What is the order number?", zh = "请问订单号是多少？"}

    [[flows]]
    name = "refund"
    intents = ["request_refund"]                 # questions that begin it
    [[flows.steps]]
    ask = "order"
    [[flows.steps]]
    confirm = {en = "Refund order {order}?"}     # no ends the flow
    [[flows.steps]]
    hand_over = "refund"                         # or: say = {en = "..."}

A step with only_if = {slot = "value"} is left out unless the slot has that value.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from deepseek.config import build_dataclass, read_toml
from deepseek.dialogue.phrases import PHRASES
from deepseek.dialogue.slots.values import SlotDefinition
from deepseek.errors import InputError
from deepseek.plugins import did_you_mean

DIALOGUE_FILE = "dialogue.toml"  # in the bundle of an assistant
LANGUAGES = ("en", "zh")
MAX_PATTERN_CHARS = 300


@dataclass(frozen=True, slots=True)
class FlowStep:
    """One step, of one kind."""

    ask: str = ""  # the slot that is asked for, unless it has a value
    say: Mapping[str, str] = field(default_factory=dict)  # by language; {slot} stands for its value
    confirm: Mapping[str, str] = field(default_factory=dict)  # a question to which no ends the flow
    hand_over: str = ""  # why a person goes on
    only_if: Mapping[str, str] = field(default_factory=dict)  # slot -> the value that it must have

    @property
    def kinds(self) -> list[str]:
        return [name for name in ("ask", "say", "confirm", "hand_over") if getattr(self, name)]


@dataclass(frozen=True, slots=True)
class FlowDefinition:
    """Steps that follow on a question of one of its intents."""

    name: str
    intents: tuple[str, ...]
    steps: tuple[FlowStep, ...]
    title: Mapping[str, str] = field(default_factory=dict)  # by language: what a person calls it


@dataclass(frozen=True, slots=True)
class HandOverRules:
    """When a person takes over."""

    not_covered: Literal["at_once", "offer"] = "at_once"  # a question that is out of scope
    after_unsure: int = 2  # turns in a row that the assistant was not sure of
    after_attempts: int = 3  # answers to the question of one slot that could not be read
    intents: tuple[str, ...] = ()  # questions that ask for a person


@dataclass(frozen=True, slots=True)
class DialogueDefinition:
    """All that a dialogue file says. Without a file there are no flows, and the rules are the defaults."""

    slots: Mapping[str, SlotDefinition] = field(default_factory=dict)
    flows: tuple[FlowDefinition, ...] = ()
    titles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # intent -> by language
    phrases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # language -> name -> text
    hand_over: HandOverRules = field(default_factory=HandOverRules)

    def flow_of(self, intent: str) -> FlowDefinition | None:
        """The flow that a question of this intent begins."""
        return next((flow for flow in self.flows if intent in flow.intents), None)

    def flow(self, name: str) -> FlowDefinition | None:
        """The flow of a name; None where the file has changed since a conversation entered it."""
        return next((flow for flow in self.flows if flow.name == name), None)

    def title(self, intent: str, language: str) -> str:
        """What a person calls an intent or a flow.

        >>> DialogueDefinition().title("card_arrival", "en")
        'Card arrival'
        """
        flow = self.flow(intent)
        titles = self.titles.get(intent) or (flow.title if flow is not None else {})
        if titles:
            return in_language(titles, language)
        words = re.sub(r"[_\-]+", " ", intent).strip() if " " not in intent else intent
        return words[:1].upper() + words[1:]


def in_language(texts: Mapping[str, str], language: str) -> str:
    """The text of a language, or of another one where it is missing."""
    return texts.get(language) or next(iter(texts.values()))


def read_dialogue(path: Path, intents: Collection[str] | None = None) -> DialogueDefinition:
    """The dialogue of a file. `intents`: those of the model; None where they are not known yet. InputError names what
    is wrong and where."""
    definition = build_dataclass(DialogueDefinition, read_toml(path))
    for problem in _problems(definition, intents):
        raise InputError(f"{path}: {problem.message}", expected=problem.expected, fix=problem.fix)
    return definition


def _problems(dialogue: DialogueDefinition, intents: Collection[str] | None) -> Iterator[InputError]:
    for name, slot in dialogue.slots.items():
        yield from _slot_problems(f"slots.{name}", slot)
    yield from _flow_problems(dialogue)
    yield from _phrase_problems(dialogue)
    if intents is not None:
        begun = [intent for flow in dialogue.flows for intent in flow.intents]
        for intent in (*begun, *dialogue.titles, *dialogue.hand_over.intents):
            if intent not in intents and dialogue.flow(intent) is None:
                near = did_you_mean(intent, intents)
                yield InputError(
                    f"the model has no intent {intent!r}.{near}", expected="an intent of the bundle", fix="correct it"
                )


def _flow_problems(dialogue: DialogueDefinition) -> Iterator[InputError]:
    begun: dict[str, str] = {}
    for flow in dialogue.flows:
        where = f"the flow {flow.name!r}"
        if not flow.intents or not flow.steps:
            lacking = "steps" if flow.intents else "intents"
            yield InputError(f"{where} has no {lacking}", expected="some", fix="add them")
        if flow.name in begun.values():
            yield InputError(f"two flows are named {flow.name!r}", expected="a name for each", fix="rename one")
        for intent in flow.intents:
            if intent in begun:
                yield InputError(
                    f"{intent!r} begins two flows, {begun[intent]!r} and {flow.name!r}", expected="one", fix="drop one"
                )
            begun[intent] = flow.name
        for number, step in enumerate(flow.steps, 1):
            yield from _step_problems(f"step {number} of {where}", step, dialogue.slots)


def _phrase_problems(dialogue: DialogueDefinition) -> Iterator[InputError]:
    for language, phrases in dialogue.phrases.items():
        for name in phrases:
            if language not in PHRASES or name not in PHRASES[language]:
                near = did_you_mean(name, PHRASES["en"])
                yield InputError(
                    f"there is no phrase {language}.{name}.{near}", expected=", ".join(PHRASES["en"]), fix="take one"
                )


def _slot_problems(where: str, slot: SlotDefinition) -> Iterator[InputError]:
    if not slot.ask:
        yield InputError(f"{where}.ask is empty", expected='{en = "What is ...?"}', fix="add the question")
    yield from _language_problems(f"{where}.ask", slot.ask)
    if (slot.kind == "choice") != bool(slot.choices):
        yield InputError(
            f"{where} is of the kind {slot.kind} and has {'choices' if slot.choices else 'no choices'}",
            expected="choices for the kind choice, and for no other", fix='choices = {debit = ["debit card"], ...}',
        )  # fmt: skip
    if len(slot.pattern) > MAX_PATTERN_CHARS:
        yield InputError(f"{where}.pattern is too long", expected=f"at most {MAX_PATTERN_CHARS}", fix="shorten it")
    try:
        re.compile(slot.pattern)
    except re.error as error:
        yield InputError(
            f"{where}.pattern is no regular expression: {error}", expected="such as [A-Z]-\\d{7}", fix="correct it"
        )


def _step_problems(where: str, step: FlowStep, slots: Mapping[str, SlotDefinition]) -> Iterator[InputError]:
    if len(step.kinds) != 1:
        yield InputError(
            f"{where} has {', '.join(step.kinds) or 'nothing to do'}", expected="one of ask, say, confirm, hand_over",
            fix="write a step for each",
        )  # fmt: skip
    for text in (step.say, step.confirm):
        yield from _language_problems(where, text)
    names = [step.ask] if step.ask else []
    names += [
        name for text in (step.say, step.confirm) for each in text.values() for name in re.findall(r"{(\w+)}", each)
    ]
    for name in (*names, *step.only_if):
        if name not in slots:
            near = did_you_mean(name, slots)
            yield InputError(f"{where} names the slot {name!r}, which is not there.{near}", expected=", ".join(slots),
                             fix=f"add [slots.{name}]")  # fmt: skip


def _language_problems(where: str, texts: Mapping[str, str]) -> Iterator[InputError]:
    for language in texts:
        if language not in LANGUAGES:
            yield InputError(f"{where} has the language {language!r}", expected="en, zh", fix="take one of these")
