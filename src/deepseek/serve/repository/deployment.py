"""Opens models of a repository in this front end, sends requests to them, and closes them again.

    opened = await deployment.open(7, "loans", "2", path)   # warm, without requests yet
    await deployment.place([7])             # it gets requests; the one that it replaces gets no more
    await deployment.close(6)               # returns when it has answered everything and its memory is free
    await deployment.withdraw([7])          # it gets no more requests, although nothing replaces it

A loader decides what happens (loader.py) and gives the numbers; group_sync.py does the same in all front ends of a
group.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from deepseek.contracts import Event
from deepseek.engines.memory import return_freed_memory
from deepseek.errors import CheckError, DeepseekError, InputError
from deepseek.serve.batching.processes import EngineError
from deepseek.serve.models.adapter import adapt_model
from deepseek.serve.repository.folder import OpenModel
from deepseek.serve.repository.output_compatibility import OutputSignature, output_signature

if TYPE_CHECKING:
    from deepseek.serve.batching.processes import EngineProcesses
    from deepseek.serve.batching.workers import RunBatch
    from deepseek.serve.models.explanations import ExplainerPool
    from deepseek.serve.models.registry import ModelRegistry
    from deepseek.serve.models.served_model import ServedModel

IDLE_CHECK_S = 0.02  # between two checks that a replaced model has answered everything


class OpenedModel(msgspec.Struct, frozen=True):
    """A model that was opened; equal in all front ends of a group that opened the same."""

    version: str
    digest: str
    signature: OutputSignature


class Deployment(Protocol):
    """Carries out the decisions of a loader. `number`s name opened models; the loader gives them."""

    async def open(self, number: int, name: str, version: str, path: Path) -> OpenedModel:
        """Open a model beside those that are served. Raises why it cannot be served."""
        ...

    async def place(self, numbers: Sequence[int]) -> None:
        """Send requests to these models. Those that they replace get no more requests; they are closed separately."""
        ...

    async def withdraw(self, numbers: Sequence[int]) -> None:
        """Send no more requests to these models."""
        ...

    async def close(self, number: int) -> None:
        """Wait until a model without new requests has answered its last, and free its memory."""
        ...

    def check_loaded(self, name: str) -> None:
        """InputError for a model that no loader may unload, MissingError for one that is not loaded, as far as this
        is known here."""
        ...

    def emit_state(self, state: str, **fields: str) -> None:
        """Emit a server event."""
        ...


class DeploymentHost(Protocol):
    """The application, as far as a deployment needs it: see app.App."""

    models: ModelRegistry
    processes: EngineProcesses | None
    explainers: ExplainerPool
    runs: dict[str, RunBatch]

    @property
    def generators(self) -> Mapping[str, object]:
        """Generative models by name: none of them is opened or closed while the server runs."""
        ...

    def serve(self, model: ServedModel) -> ServedModel | None:
        """Send requests to this model from now on. Returns the one that it replaces."""
        ...

    def drop(self, model: ServedModel) -> None:
        """Send no more requests to this model."""
        ...

    def is_busy(self, model: ServedModel) -> bool:
        """Whether the model has requests that are not answered yet."""
        ...

    def emit(self, event: Event) -> None:
        """Pass an event to every sink."""
        ...


class LocalDeployment:
    """The deployment in the front end of this process."""

    def __init__(self, app: DeploymentHost, open_model: OpenModel) -> None:
        self._app = app
        self._open_model = open_model
        self._models: dict[int, ServedModel] = {}

    async def open(self, number: int, name: str, version: str, path: Path) -> OpenedModel:
        """Open a model. CheckError, or what opening raised."""
        try:
            model = self._models[number] = await self._open_and_warm(name, version, path)
        except Exception as error:
            raise _opening_error(name, path, error) from error
        return OpenedModel(model.version, model.digest, output_signature(model))

    async def place(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            model = self._models[number]
            replaced = self._app.serve(model)
            if replaced is not None:
                replaced.emit_unloaded()
            model.emit_loaded()

    async def withdraw(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            model = self._models[number]
            self._app.drop(model)
            model.emit_unloaded()

    async def close(self, number: int) -> None:
        model = self._models.get(number)
        if model is None:  # never opened here
            return
        while self._app.is_busy(model):
            await asyncio.sleep(IDLE_CHECK_S)
        self._models.pop(number, None)
        await self._release(model)

    def check_loaded(self, name: str) -> None:
        self._check_ours(name)
        slot = self._app.models.slots.get(name)
        if slot is None or not slot.versions:
            raise self._app.models.missing_error(name)

    def emit_state(self, state: str, **fields: str) -> None:
        self._app.emit(Event("server", fields={"state": state, **fields}))

    async def _open_and_warm(self, name: str, version: str, path: Path) -> ServedModel:
        """Open a model and warm it up in every engine process; it gets no request yet."""
        app = self._app
        self._check_ours(name)
        loop = asyncio.get_running_loop()
        adapter = await loop.run_in_executor(None, lambda: adapt_model(self._open_model(path)))
        model = app.models.make(name, adapter, version)
        try:
            if app.processes is None:
                app.runs[model.key] = adapter.run
            else:
                await app.processes.open(model.key, adapter.spec)
            await model.warm_up()
        except BaseException:
            await self._release(model)
            raise
        return model

    async def _release(self, model: ServedModel) -> None:
        if self._app.processes is not None:
            await self._app.processes.close_model(model.key)
        await self._app.explainers.close_model(model.key)
        self._app.runs.pop(model.key, None)
        model.release()
        # A model and its parts refer to each other, so the garbage collector has to find it, also among the objects
        # that were frozen at the start.
        frozen = gc.get_freeze_count() > 0
        gc.unfreeze()
        gc.collect()
        if frozen:
            gc.freeze()
        return_freed_memory()

    def _check_ours(self, name: str) -> None:
        ours = set(self._models.values())
        slot = self._app.models.slots.get(name)
        if name in self._app.generators or (slot is not None and not ours.issuperset(slot.versions.values())):
            raise InputError(
                f"{name!r} was given to the server when it was started",
                expected="a model that was loaded from the repository",
                fix="leave it out of the command line, and put it into the repository",
            )


def _opening_error(name: str, path: Path, error: Exception) -> DeepseekError:
    """The error for a model that cannot be opened."""
    if isinstance(error, DeepseekError):
        return error
    kind = "" if isinstance(error, EngineError) else f"{type(error).__name__}: "
    return CheckError(
        f"{name!r} cannot be opened from {path.name!r}: {kind}{error}",
        expected="a folder whose model an engine takes",
        fix="make it again, or take an unharmed copy; what is loaded goes on",
    )
