"""Assistants as verbs open them: model, dialogue file, the store of their conversations, the webhook of hand-overs.

open_assistant("help", Path("help"), None, ConversationOptions())      # for `deepseek serve`
open_manager(Path("help"), None, None)                                 # for `deepseek evaluate help STORIES.toml`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepseek.cli.support.kinds.assistants import is_assistant

if TYPE_CHECKING:
    from deepseek.cli.support.opening import OpenedModel
    from deepseek.dialogue.manager import DialogueManager
    from deepseek.dialogue.store.records import ConversationStore
    from deepseek.dialogue.stories import StoryResult
    from deepseek.serve import Settings
    from deepseek.serve.assistant.model import AssistantModel
    from deepseek.serve.assistant.routes import AssistantRoutes

STATE_SUFFIX = ".state"  # of the folder beside a bundle where its conversations are kept


@dataclass(frozen=True, slots=True)
class ConversationOptions:
    """What `deepseek serve` says of the conversations of an assistant."""

    state: Path | None = None  # None: beside the bundle
    dialogue: Path | None = None  # None: the file in the bundle, where there is one
    url: str | None = None  # of a Redis that keeps them instead of a file
    keep_days: int | None = None  # after which a conversation is forgotten
    hand_over_url: str | None = None
    hand_over_secret: str | None = None

    @classmethod
    def of(cls, settings: Settings, state: Path | None, dialogue: Path | None) -> ConversationOptions:
        """With what the settings say. InputError for two places."""
        from deepseek.errors import InputError

        if state is not None and settings.conversations_url is not None:
            raise InputError(
                "conversations would be kept in two places", expected="--state or --conversations", fix="drop one"
            )
        return cls(
            state, dialogue, settings.conversations_url, settings.keep_days, settings.hand_over_url,
            settings.hand_over_secret,
        )  # fmt: skip


def open_manager(bundle: Path, key: Path | None, dialogue: Path | None) -> DialogueManager:
    """What answers: the model of a bundle and a dialogue file. InputError for a file that does not fit the model,
    ExtraError where what reads its slots is not installed."""
    from deepseek.dialogue.definition import DIALOGUE_FILE, DialogueDefinition, read_dialogue
    from deepseek.dialogue.manager import DialogueManager
    from deepseek.dialogue.slots.read import check_readers
    from deepseek.engines.assistant import load_assistant

    model = load_assistant(bundle, key=key)
    file = dialogue or bundle / DIALOGUE_FILE
    has_file = dialogue is not None or file.is_file()
    definition = read_dialogue(file, model.intents) if has_file else DialogueDefinition()
    check_readers(slot.kind for slot in definition.slots.values())
    return DialogueManager(model, definition)


def open_assistant(name: str, bundle: Path, key: Path | None, options: ConversationOptions) -> AssistantModel:
    """An assistant to be served. IntegrityError for a bundle that is not whole, StorageError for a folder that cannot
    keep conversations."""
    from deepseek.bundle import open_bundle
    from deepseek.cli.support.opening_plain import check_whole
    from deepseek.dialogue.store.redis import RedisStore
    from deepseek.dialogue.store.sqlite import SqliteStore
    from deepseek.extras import need
    from deepseek.serve.assistant.model import AssistantCard, AssistantModel
    from deepseek.serve.assistant.notes import Webhook
    from deepseek.serve.assistant.service import AssistantService

    need("phonenumbers", extra="dialogue")  # which masks phones in logs
    check_whole(bundle, key)
    manifest = open_bundle(bundle, key=key).manifest
    webhook = None
    if options.hand_over_url is not None:
        webhook = Webhook(options.hand_over_url, options.hand_over_secret or "")
        webhook.check()
    manager = open_manager(bundle, key, options.dialogue)
    place = bundle.resolve()
    name = name or manifest.name
    store: ConversationStore
    if options.url is not None:
        store = RedisStore.open(options.url, name)
    else:
        store = SqliteStore.open(options.state or place.with_name(place.name + STATE_SUFFIX))
    service = AssistantService(name, manager, store, sends_notes=webhook is not None)
    card = AssistantCard(manifest.version, manifest.digest, manifest.created)
    return AssistantModel(name, card, service, webhook, keep_days=options.keep_days)


def open_if_assistant(
    name: str, bundle: Path, *, key: Path | None, options: ConversationOptions
) -> AssistantModel | None:
    """The assistant of a bundle, for open_models(); None for another bundle."""
    return open_assistant(name, bundle, key, options) if is_assistant(bundle) else None


def assistant_routes(models: Mapping[str, OpenedModel]) -> list[AssistantRoutes]:
    """The routes that the assistants among the models have beside OpenAI's."""
    from deepseek.serve.assistant.model import AssistantModel
    from deepseek.serve.assistant.routes import AssistantRoutes

    return [AssistantRoutes(model) for model in models.values() if isinstance(model, AssistantModel)]


def is_story_file(bundle: Path, data: Path) -> bool:
    """Whether `evaluate` is to play stories: of an assistant and a .toml file."""
    return data.suffix.lower() == ".toml" and is_assistant(bundle)


def play_stories_of(bundle: Path, stories: Path, *, key: Path | None, dialogue: Path | None) -> StoryResult:
    """How the stories of a file go with the assistant of a bundle."""
    from dataclasses import replace

    from deepseek.bundle import open_bundle
    from deepseek.dialogue.stories import play_stories, read_stories

    played = read_stories(stories)
    result = play_stories(open_manager(bundle, key, dialogue), played)
    return replace(result, bundle=str(bundle), digest=open_bundle(bundle).manifest.digest)


def evaluate_stories(bundle: Path, stories: Path, *, key: Path | None, dialogue: Path | None, as_json: bool) -> None:
    """Play the stories of a file; exit code 3 when one goes otherwise."""
    from deepseek.cli.support import output
    from deepseek.errors import CheckError

    result = play_stories_of(bundle, stories, key=key, dialogue=dialogue)
    num_failed = len(result.stories) - result.num_passed
    if num_failed:
        error = CheckError(
            f"{num_failed} of {len(result.stories)} stories go otherwise", expected="all as they are written",
            fix="correct the dialogue file, the examples of the intents, or the story",
        )  # fmt: skip
        output.emit_unmet(result, error, as_json, result.summary())
    output.emit(result, as_json, result.summary())
