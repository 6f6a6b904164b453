"""Where models of a repository are opened, take their place, and are closed again: in this front end.

    version, digest, form = await stage.open(7, "loans", "2", path)   # warm in every engine process; nobody asks it yet
    await stage.place([7])                  # from now on it answers; who had its place is asked no more
    await stage.close(6)                    # returns when it has answered everything and its memory was given back
    await stage.withdraw([7])               # it is asked no more, although nothing takes its place

A loader decides what happens (loader.py) and gives the numbers; group_sync.py does the same in all front ends of a
group.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

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
    from deepseek.serve.models.registry import ModelRegistry, ServedModel

OpenedModel = tuple[str, str, OutputSignature]  # version, digest, and what its answers look like
IDLE_CHECK_S = 0.02  # between two looks whether a model that was replaced has answered everything


class Deployment(Protocol):
    """Does what a loader decides."""

    async def open(self, number: int, name: str, version: str, path: Path) -> OpenedModel:
        """Open a model, beside what is served. Raises why it cannot be served."""
        ...

    async def place(self, numbers: Sequence[int]) -> None:
        """From now on these answer. The one whose place one of them takes is asked no more, and closed by number."""
        ...

    async def withdraw(self, numbers: Sequence[int]) -> None:
        """From now on these are asked no more."""
        ...

    async def close(self, number: int) -> None:
        """Returns when a model that is asked no more has answered what it was asked, and its memory was given back."""
        ...

    def check_loaded(self, name: str) -> None:
        """InputError for a model that no loader may take away, MissingError for one that is not there, as far as this
        is known here."""
        ...

    def say(self, state: str, **fields: str) -> None:
        """Leave an event behind."""
        ...


class DeploymentHost(Protocol):
    """What a stage needs of the application whose models come and go: see app.App."""

    models: ModelRegistry
    processes: EngineProcesses | None
    explainers: ExplainerPool
    runs: dict[str, RunBatch]

    @property
    def writers(self) -> Mapping[str, object]:
        """Models that write text, by name: none of them is opened or closed while the server runs."""
        ...

    def serve(self, model: ServedModel) -> ServedModel | None:
        """From now on requests go to this model. Returns the one whose place it takes."""
        ...

    def drop(self, model: ServedModel) -> None:
        """From now on no request goes to this model."""
        ...

    def busy(self, model: ServedModel) -> bool:
        """Whether a request that the model has got is not answered yet."""
        ...

    def emit(self, event: Event) -> None:
        """Tell every sink."""
        ...


class LocalDeployment:
    """The front end of this process."""

    def __init__(self, app: DeploymentHost, open_model: OpenModel) -> None:
        self._app = app
        self._open_model = open_model
        self._models: dict[int, ServedModel] = {}

    async def open(self, number: int, name: str, version: str, path: Path) -> OpenedModel:
        """CheckError, or what opening raised."""
        try:
            model = self._models[number] = await self._opened(name, version, path)
        except Exception as error:
            raise _opening_error(name, path, error) from error
        return model.version, model.digest, output_signature(model)

    async def place(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            model = self._models[number]
            replaced = self._app.serve(model)
            if replaced is not None:
                replaced.unloaded()
            model.loaded()

    async def withdraw(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            model = self._models[number]
            self._app.drop(model)
            model.unloaded()

    async def close(self, number: int) -> None:
        model = self._models.get(number)
        if model is None:  # it was never opened here
            return
        while self._app.busy(model):
            await asyncio.sleep(IDLE_CHECK_S)
        self._models.pop(number, None)
        await self._let_go(model)

    def check_loaded(self, name: str) -> None:
        self._check_ours(name)
        slot = self._app.models.slots.get(name)
        if slot is None or not slot.versions:
            raise self._app.models.missing(name)

    def say(self, state: str, **fields: str) -> None:
        self._app.emit(Event("server", fields={"state": state, **fields}))

    async def _opened(self, name: str, version: str, path: Path) -> ServedModel:
        """A model that is warm in every engine process, and gets no request yet."""
        app = self._app
        self._check_ours(name)
        loop = asyncio.get_running_loop()
        face = await loop.run_in_executor(None, lambda: adapt_model(self._open_model(path)))
        model = app.models.make(name, face, version)
        try:
            if app.processes is None:
                app.runs[model.key] = face.run
            else:
                await app.processes.open(model.key, face.spec)
            await model.warm_up()
        except BaseException:
            await self._let_go(model)
            raise
        return model

    async def _let_go(self, model: ServedModel) -> None:
        if self._app.processes is not None:
            await self._app.processes.close_model(model.key)
        await self._app.explainers.close_model(model.key)
        self._app.runs.pop(model.key, None)
        model.let_go()
        # A model knows itself through its parts, so the collector has to find it, also among what was there at the
        # start and was exempt from its looks.
        frozen = gc.get_freeze_count() > 0
        gc.unfreeze()
        gc.collect()
        if frozen:
            gc.freeze()
        return_freed_memory()

    def _check_ours(self, name: str) -> None:
        ours = set(self._models.values())
        slot = self._app.models.slots.get(name)
        if name in self._app.writers or (slot is not None and not ours.issuperset(slot.versions.values())):
            raise InputError(
                f"{name!r} was given to the server when it was started",
                expected="a model that was loaded from the repository",
                fix="leave it out of the command line, and put it into the repository",
            )


def _opening_error(name: str, path: Path, error: Exception) -> DeepseekError:
    """What is told when a model cannot be loaded."""
    if isinstance(error, DeepseekError):
        return error
    kind = "" if isinstance(error, EngineError) else f"{type(error).__name__}: "
    return CheckError(
        f"{name!r} cannot be opened from {path.name!r}: {kind}{error}",
        expected="a folder whose model an engine takes",
        fix="make it again, or take an unharmed copy; what is loaded goes on",
    )
