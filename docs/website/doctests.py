"""Makes Markdown of docstrings, an extension of Griffe, which mkdocstrings reads the package by: doctests become code,
and values[row][column] is no link."""

from __future__ import annotations

import re
from typing import Any

import griffe

#: A prompt and all lines up to the next empty one.
DOCTEST = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)


SUBSCRIPTS = re.compile(r"\]\[(?=\w+\])")


class Doctests(griffe.Extension):
    """Puts each doctest between fences before the docstring is read as Markdown."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            text = SUBSCRIPTS.sub(r"]\\[", obj.docstring.value)
            obj.docstring.value = DOCTEST.sub(lambda match: f"```pycon\n{match[0]}\n```", text)
