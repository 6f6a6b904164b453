"""An assistant with a real store behind a real server, in the test's event loop or in a process of its own.

python -m support.assistant.servers STATE [PORT]     # prints the ready line of `deepseek serve`
"""

from __future__ import annotations

import sys
from pathlib import Path

from deepseek.dialogue.definition import read_dialogue
from deepseek.dialogue.manager import DialogueManager
from deepseek.dialogue.store.records import ConversationStore
from deepseek.dialogue.store.sqlite import SqliteStore
from deepseek.serve import App, Settings, create_app
from deepseek.serve.assistant.model import AssistantCard, AssistantModel
from deepseek.serve.assistant.notes import Webhook
from deepseek.serve.assistant.routes import AssistantRoutes
from deepseek.serve.assistant.service import AssistantService
from support.assistant.model import DIALOGUE, small_model


def make_app(
    state: Path, *, webhook: str = "", settings: Settings | None = None, store: ConversationStore | None = None
) -> App:
    """The assistant "help", with its conversations in `state`."""
    dialogue = state.parent / "dialogue.toml"
    dialogue.write_text(DIALOGUE, encoding="utf-8")
    model = small_model()
    manager = DialogueManager(model, read_dialogue(dialogue, model.intents))
    service = AssistantService("help", manager, store or SqliteStore.open(state), sends_notes=bool(webhook))
    hook = Webhook(webhook, "secret") if webhook else None
    assistant = AssistantModel("help", AssistantCard("1", "0" * 64), service, hook)
    return create_app({"help": assistant}, settings=settings, more_routes=[AssistantRoutes(assistant)])


def main() -> None:
    from deepseek.serve.run import bind, run

    listener = bind("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    settings = Settings(allowed_hosts=("localhost",))  # whose pages may show the chat
    run(make_app(Path(sys.argv[1]), settings=settings), listener)


if __name__ == "__main__":
    main()
