"""Messages to the text that a model expects, by the template that its folder brings.

    open_template(folder).render([{"role": "user", "content": "Who's there?"}])

The template is jinja. In a converted folder it runs in GenAI's own interpreter (minja): no Python objects, no files, no
imports within reach. In others it runs in the sandbox of jinja2, as transformers has it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from deepseek.engines.llm.model.convert import NOTE_FILE
from deepseek.engines.llm.model.folder import read_json, read_text
from deepseek.engines.openvino import keep_signal_stack
from deepseek.errors import InputError
from deepseek.extras import need

TEMPLATE, TOKENIZER_CONFIG = "chat_template.jinja", "tokenizer_config.json"


class Template(Protocol):
    """Makes a prompt of messages."""

    def render(self, messages: Sequence[Mapping[str, object]]) -> str:
        """The prompt of messages {"role", "content"}, with the beginning of the answer's turn. InputError when there is
        no template or it refuses the messages, MemoryError when it takes all memory."""
        ...


def open_template(folder: Path) -> Template:
    """The template of a folder, by what runs its model."""
    return GenaiTemplate(folder) if (folder / NOTE_FILE).is_file() else JinjaTemplate(folder)


class GenaiTemplate:
    """The template of a converted folder. Needs no weights. For any thread."""

    def __init__(self, folder: Path) -> None:
        with keep_signal_stack():
            self.tokenizer = need("openvino_genai", extra="llm").Tokenizer(str(folder))
        if (folder / TEMPLATE).is_file():  # where transformers keeps it since version 5, and GenAI does not look
            self.tokenizer.chat_template = read_text(folder / TEMPLATE)

    def render(self, messages: Sequence[Mapping[str, object]]) -> str:
        """See Template."""
        if not self.tokenizer.chat_template:
            raise _no_template_error()
        try:
            prompt: str = self.tokenizer.apply_chat_template(list(messages), True)
        except RuntimeError as error:
            if "bad_alloc" in str(error):
                raise MemoryError from None
            raise _refusal_error(str(error).split(" at row ", 1)[0]) from None  # behind it the template is shown
        return prompt


class JinjaTemplate:
    """The template of a folder as it was saved, with what transformers gives to templates. For any thread."""

    def __init__(self, folder: Path) -> None:
        sandbox = need("jinja2.sandbox", extra="llm-torch")
        self._errors = need("jinja2", extra="llm-torch").TemplateError
        config = read_json(folder / TOKENIZER_CONFIG) if (folder / TOKENIZER_CONFIG).is_file() else {}
        source = read_text(folder / TEMPLATE) if (folder / TEMPLATE).is_file() else config.get("chat_template")
        if isinstance(source, list):  # several by name
            by_name = {part.get("name"): part.get("template") for part in source if isinstance(part, dict)}
            source = by_name.get("default")
        # Lines of a template that hold nothing but a tag leave no empty line in the prompt.
        environment = sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = lambda value, **more: json.dumps(value, **({"ensure_ascii": False} | more))
        environment.globals |= {"raise_exception": self._raise, "strftime_now": time.strftime}
        token_names = [name for name in ("bos_token", "eos_token") if config.get(name)]
        environment.globals |= {name: _token_text(config[name]) for name in token_names}
        try:
            self._template = environment.from_string(source) if isinstance(source, str) else None
        except self._errors as error:
            raise _refusal_error(str(error)) from None

    def render(self, messages: Sequence[Mapping[str, object]]) -> str:
        """See Template."""
        if self._template is None:
            raise _no_template_error()
        try:
            prompt: str = self._template.render(messages=list(messages), add_generation_prompt=True, tools=None)
        except (self._errors, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            raise _refusal_error(str(error)) from None
        return prompt

    def _raise(self, reason: str) -> None:
        raise self._errors(reason)


def _token_text(token: Any) -> str:
    """The text of a special token, which is saved as text or as an object that holds it."""
    return str(token.get("content", "") if isinstance(token, dict) else token)


def _no_template_error() -> InputError:
    return InputError("the model has no chat template", expected="a model made for chats", fix="use /v1/completions")


def _refusal_error(reason: str) -> InputError:
    return InputError(
        f"the chat template refuses these messages: {reason[-200:].strip()}",
        expected="roles in the order that the model was made for, often user and assistant in turn",
        fix="change the roles or their order",
    )
