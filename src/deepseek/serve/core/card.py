"""The description that every model has, whatever its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from deepseek.bundle import Input


class Card(Protocol):
    """What a model says of itself: task, columns, labels, digest. A bundle's manifest is one."""

    @property
    def task(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def threshold(self) -> float | None: ...
    @property
    def inputs(self) -> tuple[Input, ...]: ...
    @property
    def digest(self) -> str: ...
    @property
    def created(self) -> str: ...
