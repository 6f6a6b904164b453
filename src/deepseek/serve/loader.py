"""Loads and unloads models while the server serves: by request, or because their folder is watched.

    loader = Loader(app, repository); await loader.start()     # everything in it, the latest version of each
    await loader.load("loans")                                 # or a version; await loader.unload("loans")

A new version is opened, checked and warmed up in every engine process beside the old one, and only then takes its
place; the old one answers what it was given, and then its memory is given back. A version that cannot be opened is
refused, and the old one goes on.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from deepseek.contracts import Event
from deepseek.engines.memory import give_back
from deepseek.errors import CheckError, DeepseekError, InputError
from deepseek.serve.faces import face_of
from deepseek.serve.processes import EngineError
from deepseek.serve.repository import Held, Repository, Stamp, latest, missing, missing_version, stamp_of, sweep

if TYPE_CHECKING:
    from deepseek.serve.app import App
    from deepseek.serve.models import ServedModel

Result = TypeVar("Result")
Key = tuple[str, str]  # name and version; "" where a model has one
CLOSE_S = 5.0  # that models which were replaced have at the end to be let go
IDLE_S = 0.02  # between two looks whether a model that was replaced has answered everything


@dataclass(slots=True)
class Loaded:
    """A model that the loader has loaded."""

    model: ServedModel
    held: Held
    key: Key


@dataclass(slots=True)
class Seen:
    """What was last found in a folder. `reason`: why it was refused."""

    stamp: Stamp = ()
    reason: str = ""
    tried: Stamp | None = None  # the state that was loaded, or refused
    gone: bool = False  # in the last look: whoever replaces a folder may be in the middle of it


class Loader:
    """Loads and unloads the models of a repository, one at a time."""

    def __init__(self, app: App, repository: Repository) -> None:
        self._app = app
        self._repository = repository
        self._lock = asyncio.Lock()
        self._loaded: list[Loaded] = []
        self._seen: dict[Key, Seen] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load everything; what cannot be loaded is said, and left."""
        await _in_thread(sweep)
        await self.look(settle=False)
        if self._repository.watch_s is not None:
            self._watching = asyncio.get_running_loop().create_task(self._watch(self._repository.watch_s))

    async def close(self) -> None:
        """Look no more, and wait for models that answer their last requests."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching], timeout=CLOSE_S)
        if self._retiring:
            await asyncio.wait(self._retiring, timeout=CLOSE_S)
        for loaded in self._loaded:
            loaded.held.close()

    async def load(self, name: str, version: str = "") -> list[ServedModel]:
        """Load a version of a model, or the latest; where its requests are split, each of its versions.

        MissingError for what is not in the repository, CheckError or what opening raised for what cannot be served.
        """
        async with self._lock:
            found = await _in_thread(self._repository.scan)
            if name not in found:
                raise missing(name, found)
            versions = [version] if version else self._wanted(name, found[name])
            for each in versions:
                if each not in found[name]:
                    raise missing_version(name, each, found[name])
            return [await self._load((name, each), found[name][each]) for each in versions]

    async def unload(self, name: str) -> None:
        """Unload every version of a model. Returns when they have answered and their memory was given back."""
        async with self._lock:
            self._check_ours(name)
            ours = [loaded for loaded in self._loaded if loaded.model.name == name]
            if not ours:
                raise self._app.models.missing(name)
            tasks = [self._drop(loaded) for loaded in ours]
        await asyncio.wait(tasks)

    async def others(self) -> list[tuple[str, str, str]]:
        """What could be loaded and is not: name, version, and why."""
        found = await _in_thread(self._repository.scan)
        listed = []
        for key in [(name, version) for name, versions in found.items() for version in versions]:
            reason = self._seen.get(key, Seen()).reason
            if reason or not any(loaded.key == key for loaded in self._loaded):
                listed.append((*key, reason or "not loaded"))
        return listed

    async def look(self, *, settle: bool = True) -> None:
        """Load what is new, unload what went away. `settle`: a folder that says nothing of its files has to be the same
        in two looks."""
        found = await _in_thread(self._repository.scan)
        for name, versions in found.items():
            for version in self._wanted(name, versions):
                if version in versions:
                    await self._look_at((name, version), versions[version], settle)
        for loaded in list(self._loaded):
            name, version = loaded.key
            seen = self._seen[loaded.key]
            was_gone = seen.gone
            seen.gone = name not in found or (name in self._app.models.splits and version not in found[name])
            if seen.gone and was_gone and loaded in self._loaded:
                self._drop(loaded)
                del self._seen[loaded.key]

    async def _look_at(self, key: Key, folder: Path, settle: bool) -> None:
        seen = self._seen.setdefault(key, Seen())
        before, seen.stamp = seen.stamp, await _in_thread(stamp_of, folder)
        settled = not settle or seen.stamp == before or (folder / "bundle.json").is_file()
        if seen.tried == seen.stamp or not settled:
            return
        # Whoever waits for an answer is told there; here the event that _load leaves behind is all.
        with suppress(DeepseekError):
            async with self._lock:
                await self._load(key, folder)

    async def _watch(self, watch_s: float) -> None:
        said = ""
        while True:
            await asyncio.sleep(watch_s)
            trouble = ""
            try:
                await self.look()
            except CheckError as error:
                trouble = str(error)
                if trouble != said:
                    self._say("the repository is left as it is", error=trouble)
            said = trouble

    def _wanted(self, name: str, versions: Mapping[str, Path]) -> list[str]:
        split = self._app.models.splits.get(name)
        return [latest(versions)] if split is None else [each for each in split.versions if each in versions]

    async def _load(self, key: Key, folder: Path) -> ServedModel:
        """Open a model, warm it up and let it take its place."""
        name, version = key
        seen = self._seen.setdefault(key, Seen())
        seen.stamp = seen.tried = await _in_thread(stamp_of, folder)
        held = await _in_thread(Held, folder)
        try:
            model = await self._open(name, version, held.path)
        except BaseException as raised:
            held.close()
            if not isinstance(raised, Exception):
                raise
            error = _refused(name, folder, raised)
            seen.reason = str(error)
            self._say("a model was refused", model=name, version=version, error=str(error))
            raise error from raised
        seen.reason = ""
        replaced = self._app.serve(model)
        for loaded in [loaded for loaded in self._loaded if loaded.model is replaced]:
            loaded.model.unloaded()
            self._retire(loaded)
        model.loaded()
        self._loaded.append(Loaded(model, held, key))
        return model

    async def _open(self, name: str, version: str, path: Path) -> ServedModel:
        """A model that is warm in every engine process, and gets no request yet."""
        app = self._app
        self._check_ours(name)
        split = app.models.splits.get(name)
        if split is not None and version not in split.versions:
            raise _not_split(name, version, split.versions)
        face = await _in_thread(lambda: face_of(self._repository.open_model(path)))
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

    def _drop(self, loaded: Loaded) -> asyncio.Task[None]:
        self._app.drop(loaded.model)
        loaded.model.unloaded()
        return self._retire(loaded)

    def _retire(self, loaded: Loaded) -> asyncio.Task[None]:
        self._loaded.remove(loaded)
        task = asyncio.get_running_loop().create_task(self._finish(loaded))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)
        return task

    async def _finish(self, loaded: Loaded) -> None:
        """Wait until a model that gets no more requests has answered those that it has, and give its memory back."""
        while self._app.busy(loaded.model):
            await asyncio.sleep(IDLE_S)
        await self._let_go(loaded.model)
        await _in_thread(loaded.held.close)

    async def _let_go(self, model: ServedModel) -> None:
        if self._app.processes is not None:
            await self._app.processes.close_model(model.key)
        self._app.runs.pop(model.key, None)
        model.let_go()
        # A model knows itself through its parts, so the collector has to find it, also among what was there at the
        # start and was exempt from its looks.
        frozen = gc.get_freeze_count() > 0
        gc.unfreeze()
        gc.collect()
        if frozen:
            gc.freeze()
        give_back()

    def _check_ours(self, name: str) -> None:
        ours = {loaded.model for loaded in self._loaded}
        slot = self._app.models.slots.get(name)
        if name in self._app.writers or (slot is not None and not ours.issuperset(slot.versions.values())):
            raise InputError(
                f"{name!r} was given to the server when it was started",
                expected="a model that was loaded from the repository",
                fix="leave it out of the command line, and put it into the repository",
            )

    def _say(self, state: str, **fields: Any) -> None:
        self._app.emit(Event("server", fields={"state": state, **fields}))


async def _in_thread(work: Callable[..., Result], *args: Any) -> Result:
    return await asyncio.get_running_loop().run_in_executor(None, work, *args)


def _refused(name: str, folder: Path, error: Exception) -> DeepseekError:
    """What is told when a model cannot be loaded."""
    if isinstance(error, DeepseekError):
        return error
    kind = "" if isinstance(error, EngineError) else f"{type(error).__name__}: "
    return CheckError(
        f"{name!r} cannot be opened from {folder.name!r}: {kind}{error}",
        expected="a folder whose model an engine takes",
        fix="make it again, or take an unharmed copy; what is loaded goes on",
    )


def _not_split(name: str, version: str, versions: tuple[str, ...]) -> InputError:
    return InputError(
        f"the requests of {name!r} are not dealt to {version!r}",
        expected=", ".join(versions),
        fix=f"start the server with --route {name}=... that names it",
    )
