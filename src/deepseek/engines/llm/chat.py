"""Messages to the text that a model expects, by the template that its folder brings.

    ChatTemplate(folder).render([{"role": "user", "content": "Who's there?"}])

The template is jinja and runs in GenAI's own interpreter (minja): no Python objects, no files, no imports within reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepseek.engines.llm.folder import read_text
from deepseek.engines.openvino import signal_stack
from deepseek.errors import InputError
from deepseek.extras import need

TEMPLATE = "chat_template.jinja"


class ChatTemplate:
    """The template of a folder. Needs no weights, so a front end may render without an engine. For any thread."""

    def __init__(self, folder: Path) -> None:
        with signal_stack():
            self.tokenizer = need("openvino_genai", extra="llm").Tokenizer(str(folder))
        if (folder / TEMPLATE).is_file():  # where transformers keeps it since version 5, and GenAI does not look
            self.tokenizer.chat_template = read_text(folder / TEMPLATE)

    def render(self, messages: Sequence[dict[str, Any]]) -> str:
        """The prompt, with the beginning of the answer's turn. InputError when there is no template or it refuses,
        MemoryError when it takes all."""
        if not self.tokenizer.chat_template:
            raise InputError(
                "the model has no chat template", expected="a model made for chats", fix="use /v1/completions"
            )
        try:
            found: str = self.tokenizer.apply_chat_template(list(messages), True)
        except RuntimeError as error:
            if "bad_alloc" in str(error):
                raise MemoryError from None
            reason = str(error).split(" at row ", 1)[0]  # behind it the template is shown
            raise InputError(
                f"the chat template refuses these messages: {reason[-200:].strip()}",
                expected="roles in the order that the model was made for, often user and assistant in turn",
                fix="change the roles or their order",
            ) from None
        return found
