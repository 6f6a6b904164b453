"""Stories: conversations as they have to go, in a TOML file, played through the manager.

    [[stories]]
    name = "a refund with another question in its middle"
    [[stories.turns]]
    user = "I want my money back"
    asks = "order"                       # the slot whose question is open afterwards
    [[stories.turns]]
    user = "What is the exchange rate?"
    says = ["interbank"]                 # each stands in what was said
    intent = "exchange_rate"             # a reply answers it
    [[stories.turns]]
    user = "A-1234567"
    slots = {order = "A-1234567"}        # values that are known afterwards
    [[stories.turns]]
    choose = "person"
    status = "waiting"                   # open, waiting, person

Also: decision (answer, ask, hand_over, flow), buttons (values that are offered), never (texts that are not said).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from deepseek.config import build_dataclass, read_toml
from deepseek.contracts import JsonObject
from deepseek.dialogue.conversation import Conversation
from deepseek.dialogue.manager import DialogueManager
from deepseek.dialogue.turn import TurnResult, UserInput
from deepseek.errors import InputError
from deepseek.results import Result

#: The day of a story that names none: what "next Friday" is may not depend on when a test runs.
DEFAULT_NOW = "2026-06-01T12:00:00"


@dataclass(frozen=True, slots=True)
class StoryTurn:
    """A message, and what has to follow."""

    user: str = ""
    choose: str = ""
    says: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    intent: str = ""
    decision: str = ""
    asks: str = ""
    slots: Mapping[str, str] = field(default_factory=dict)
    buttons: tuple[str, ...] = ()
    status: str = ""


@dataclass(frozen=True, slots=True)
class Story:
    """One conversation."""

    name: str
    turns: tuple[StoryTurn, ...]
    now: str = DEFAULT_NOW


@dataclass(frozen=True, slots=True)
class StoryFile:
    """The stories of a file."""

    stories: tuple[Story, ...]


@dataclass(frozen=True, slots=True)
class PlayedStory:
    """How a story went."""

    name: str
    num_turns: int
    problems: tuple[str, ...]  # the turn, what was to follow, and what did


@dataclass(frozen=True, slots=True, eq=False)
class StoryResult(Result):
    """How all stories of a file went."""

    stories: tuple[PlayedStory, ...]
    bundle: str = ""
    digest: str = ""

    @property
    def num_passed(self) -> int:
        return sum(not story.problems for story in self.stories)

    def to_dict(self) -> JsonObject:
        return {
            "bundle": self.bundle, "digest": self.digest, "num_stories": len(self.stories),
            "num_passed": self.num_passed,
            "stories": [
                {"name": each.name, "num_turns": each.num_turns, "passed": not each.problems,
                 "problems": list(each.problems)}
                for each in self.stories
            ],
        }  # fmt: skip

    def summary(self) -> str:
        lines = [f"{self.num_passed} of {len(self.stories)} stories go as they have to"]
        for story in self.stories:
            lines.append(f"{'ok  ' if not story.problems else 'FAIL'} {story.name} ({story.num_turns} turns)")
            lines += [f"       {problem}" for problem in story.problems]
        return "\n".join(lines)


def read_stories(path: Path) -> tuple[Story, ...]:
    """The stories of a file. InputError names what is wrong."""
    stories = build_dataclass(StoryFile, read_toml(path)).stories
    for story in stories:
        if not story.turns:
            raise InputError(f"the story {story.name!r} has no turns", expected="[[stories.turns]]", fix="add some")
        _read_now(story)
    if not stories:
        raise InputError(f"{path} holds no story", expected="[[stories]]", fix="write one")
    return stories


def play_stories(manager: DialogueManager, stories: Sequence[Story]) -> StoryResult:
    """Play each story from its beginning."""
    return StoryResult(tuple(_play(manager, story) for story in stories))


def _play(manager: DialogueManager, story: Story) -> PlayedStory:
    conversation, now, problems = Conversation("story"), _read_now(story), []
    for number, turn in enumerate(story.turns, 1):
        result = manager.respond(conversation, UserInput(turn.user, now, turn.choose))
        conversation = result.conversation
        problems += [f"turn {number} ({turn.user or turn.choose!r}): {what}" for what in _differences(turn, result)]
        if problems:
            break  # what follows a wrong turn says nothing
    return PlayedStory(story.name, len(story.turns), tuple(problems))


def _differences(turn: StoryTurn, result: TurnResult) -> Iterator[str]:
    state = result.conversation
    spoken = "\n".join(reply.text for reply in result.replies)
    shown = repr(spoken[:300])
    yield from (f"to say {text!r}, said {shown}" for text in turn.says if text not in spoken)
    yield from (f"never to say {text!r}, said {shown}" for text in turn.never if text in spoken)
    intents = [reply.intent for reply in result.replies if reply.intent]
    if turn.intent and turn.intent not in intents:
        yield f"to answer {turn.intent}, answered {', '.join(intents) or 'nothing'}, said {shown}"
    decisions = [reply.decision for reply in result.replies if reply.decision]
    if turn.decision and turn.decision not in decisions:
        yield f"to decide {turn.decision}, decided {', '.join(decisions) or 'nothing'}, said {shown}"
    if turn.asks and turn.asks != result.open_slot:
        yield f"to ask for {turn.asks}, asked for {result.open_slot or 'nothing'}, said {shown}"
    known = {**state.mentioned, **(state.flows[-1].slots if state.flows else {})}
    for name, value in turn.slots.items():
        if known.get(name) != value:
            yield f"to have {name} = {value!r}, has {known.get(name)!r}"
    offered = [button.value for reply in result.replies for button in reply.buttons]
    yield from (
        f"to offer {value}, offered {', '.join(offered) or 'nothing'}" for value in turn.buttons if value not in offered
    )
    if turn.status and turn.status != state.status:
        yield f"to be {turn.status}, is {state.status}"


def _read_now(story: Story) -> datetime:
    try:
        return datetime.fromisoformat(story.now).replace(tzinfo=None)
    except ValueError as error:
        raise InputError(
            f"now of the story {story.name!r} is {story.now!r}", expected="such as 2026-06-01T12:00", fix="correct it"
        ) from error
