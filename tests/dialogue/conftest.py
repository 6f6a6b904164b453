"""The small assistant of support/assistant, and a way to talk to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepseek.dialogue.definition import read_dialogue
from deepseek.dialogue.manager import DialogueManager
from support.assistant.model import DIALOGUE, small_model
from support.assistant.talk import Talk


@pytest.fixture(scope="session")
def dialogue_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dialogue") / "dialogue.toml"
    path.write_text(DIALOGUE, encoding="utf-8")
    return path


@pytest.fixture
def manager(dialogue_file: Path) -> DialogueManager:
    model = small_model()
    return DialogueManager(model, read_dialogue(dialogue_file, model.intents))


@pytest.fixture
def talk(manager: DialogueManager) -> Talk:
    return Talk(manager)
