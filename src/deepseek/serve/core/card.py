"""The description that every model has, whatever its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from deepseek.bundle import Input


class Card(Protocol):
    """The card of a model: task, columns, labels, digest. A bundle's manifest is one."""

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


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A model in GET /v1/models. Its fields are the keys of the JSON, in their order."""

    id: str
    object: str = "model"
    version: str
    task: str
    digest: str
    created: str


class GenerativeModelEntry(ModelEntry, frozen=True, kw_only=True):
    """A generative model in GET /v1/models; `parity`: the measured cost of a lossy precision."""

    precision: str
    engine: str | None
    parity: Any
