"""A mistake of the learner's, by its code: the words stand in lab.toml and in definition/mistakes.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from deepseek.look.words import Text


class Mistake(Exception):  # noqa: N818  (what it is called in a lab)
    """Raised by a check that does not hold: Mistake("leak", column="visit_id"). A value that is a part of a sentence is
    a Text, in both languages."""

    def __init__(self, code: str, /, **values: object) -> None:
        super().__init__(code)
        self.code = code
        self.values: dict[str, str | Text] = {
            name: value if isinstance(value, Text) else str(value) for name, value in values.items()
        }

    @classmethod
    def from_child(cls, code: str, values: Mapping[str, object]) -> Self:
        """A mistake that another process has reported; a Text came as a list of both languages."""
        return cls(code, **{name: Text(*value) if isinstance(value, list) else value for name, value in values.items()})
