"""One conversation with a manager of dialogues, as a user would have it."""

from __future__ import annotations

from datetime import datetime

from deepseek.dialogue.conversation import Conversation
from deepseek.dialogue.manager import DialogueManager
from deepseek.dialogue.turn import TurnResult, UserInput

NOW = datetime(2026, 11, 29, 12)  # a Sunday


class Talk:
    """One conversation with a manager."""

    def __init__(self, manager: DialogueManager) -> None:
        self.manager, self.state = manager, Conversation("c")
        self.result = TurnResult(self.state)

    def say(self, text: str, choose: str = "") -> str:
        """Send a message; what was said to it, a reply a line."""
        self.result = self.manager.respond(self.state, UserInput(text, NOW, choose))
        self.state = self.result.conversation
        return "\n".join(reply.text for reply in self.result.replies)

    @property
    def offered(self) -> list[str]:
        return [button.value for reply in self.result.replies for button in reply.buttons]
