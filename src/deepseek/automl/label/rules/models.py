"""Rules that are models: an older bundle, or a generator that is asked by URL.

    ask_bundle(Rule("old model", bundle="claims-2025", at_least=0.8), records, definition)
    ask_generator(Rule("llm", url="http://127.0.0.1:8000/v1/chat/completions", model="qwen"), records, definition)

A model abstains where it is less sure than `at_least`, and a generator where its answer names no label or several. What
a generator is sent leaves this machine where its URL does: the columns of the rule alone.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepseek.automl.label.project.records import Definition
from deepseek.automl.label.rules.definition import Rule, RuleVotes
from deepseek.automl.label.rules.patterns import text_of
from deepseek.contracts import Record
from deepseek.data.table.formats import apply_formats
from deepseek.data.table.read import read_table
from deepseek.errors import InputError

TIMEOUT_S = 60.0  # of one question
MAX_FAILURES = 3  # one after the other, behind which nothing more is asked
MAX_ANSWER_BYTES = 2**20
MAX_KEY_BYTES = 4_096


def ask_bundle(rule: Rule, records: Sequence[Record], definition: Definition) -> RuleVotes:
    """What a bundle says of each row. InputError for one that reads other columns or answers other classes."""
    from deepseek.automl.comparison.models import input_table
    from deepseek.automl.evaluate import score_table
    from deepseek.engines import open_runtime

    with open_runtime(Path(rule.bundle)) as runtime:
        manifest = runtime.manifest
        absent = [each.name for each in manifest.inputs if each.required and each.name not in definition.kinds]
        odd = [label for label in manifest.labels if label not in definition.labels]
        if absent or odd or not manifest.labels:
            problem = f"reads {absent[0]!r}" if absent else f"answers {odd[0]!r}" if odd else "answers no classes"
            raise InputError(
                f"{rule.name!r}: the bundle {problem}, which this project does not have",
                expected=f"columns of {', '.join(definition.kinds)} and classes of {', '.join(definition.labels[:10])}",
                fix="leave the rule out",
            )  # fmt: skip
        rows = read_table({name: [record[name] for record in records] for name in definition.kinds})
        table = input_table(manifest, apply_formats(rows, runtime.formats))
        root = Path(definition.root) if definition.root else None
        output = score_table(runtime, table, root, "mask", [])
        codes = runtime.decision.classes(output)
        chances = output[np.arange(len(codes)), codes]
        least = rule.at_least or 0.0
        labels = tuple(
            runtime.labels[code] if chance >= least else None
            for code, chance in zip(codes.tolist(), chances.tolist(), strict=True)
        )
    return RuleVotes(rule.name, labels)


def ask_generator(rule: Rule, records: Sequence[Record], definition: Definition) -> RuleVotes:
    """What a generator says of each row, equal rows asked once. InputError where it does not answer."""
    columns = (rule.column,) if rule.column else definition.texts
    answers: dict[str, str | None] = {}
    labels: list[str | None] = []
    errors: list[str] = []
    in_a_row = 0
    for record in records:
        text = "\n".join(text_of(record[column]) for column in columns)
        if text not in answers and text.strip():
            try:
                answers[text] = find_label(_ask(rule, text, definition.labels), definition.labels)
                in_a_row = 0
            except (OSError, ValueError) as error:
                errors.append(f"{type(error).__name__}: {error}"[:200])
                in_a_row += 1
                if in_a_row >= MAX_FAILURES:
                    raise InputError(
                        f"{rule.name!r}: {rule.url} does not answer: {errors[-1]}",
                        expected="the chat completions of a server", fix="start it, or correct url and model",
                    ) from error  # fmt: skip
        labels.append(answers.get(text))
    return RuleVotes(rule.name, tuple(labels), len(errors), errors[0] if errors else "")


def find_label(answer: str, labels: Sequence[str]) -> str | None:
    """The one label that an answer names; None for none and for several.

    >>> find_label("**Fire.**", ("fire", "water")), find_label("fire or water", ("fire", "water"))
    ('fire', None)
    >>> find_label("not sure", ("sure", "not sure"))
    'not sure'
    """
    words = answer.strip().strip("*.\"'`。 \n").casefold()
    exact = [label for label in labels if label.casefold() == words]
    if exact:
        return exact[0]
    named = [label for label in labels if re.search(rf"(?<!\w){re.escape(label.casefold())}(?!\w)", words)]
    longest = max(named, key=len, default=None)
    others = [label for label in named if longest is not None and label.casefold() not in longest.casefold()]
    return None if others else longest


def _ask(rule: Rule, text: str, labels: Sequence[str]) -> str:
    """One answer. OSError where the server does not give it, ValueError where it is none."""
    question = rule.question or "Which of these labels fits the text?"
    prompt = f"{question} Answer with one of them and nothing else: {', '.join(labels)}.\n\n{text}"
    body = {
        "model": rule.model, "messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": 24,
    }  # fmt: skip
    headers = {"Content-Type": "application/json"} | _authorization(rule)
    request = urllib.request.Request(rule.url, json.dumps(body).encode(), headers)  # noqa: S310  (http or https, checked)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
        document = json.loads(answer.read(MAX_ANSWER_BYTES))
    try:
        return str(document["choices"][0]["message"]["content"])
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"no choices[0].message.content in the answer: {error!r}") from error


def _authorization(rule: Rule) -> dict[str, str]:
    if not rule.key_file:
        return {}
    key = Path(rule.key_file).read_text(encoding="utf-8")[:MAX_KEY_BYTES].strip()
    return {"Authorization": f"Bearer {key}"}
