"""Loads and unloads models while the server serves: by request, or because their folder is watched.

    loader = RepositoryLoader(stage, repository, splits); await loader.start()     # everything in it, the latest
    version of each
    await loader.load("loans")                                 # or a version; await loader.unload("loans")

A loader decides, one change at a time; a stage does it: in this process (deployment.py), or in every front end of a
group
(group_sync.py). A new version is opened, checked and warmed up beside the old one wherever it is to be served, and only
then takes its place; the old one answers what it was given, and then its memory is given back. A version that cannot be
opened is refused, and everything stays as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol, TypeVar

from deepseek.errors import CheckError, DeepseekError, DrainingError, InputError, MissingError
from deepseek.serve.models.routing import TrafficSplit
from deepseek.serve.repository.deployment import Deployment
from deepseek.serve.repository.folder import (
    FolderSnapshot,
    FolderState,
    Repository,
    folder_state,
    latest_version,
    missing_model_error,
    missing_version_error,
    remove_stale_snapshots,
)
from deepseek.serve.repository.output_compatibility import OutputSignature, check_compatible

Result = TypeVar("Result")
VersionKey = tuple[str, str]  # name and version; "" where a model has one
CLOSE_TIMEOUT_S = 5.0  # that models which were replaced have at the end to be let go


class ModelLifecycle(Protocol):
    """What a server can be asked of models that come and go."""

    async def start(self) -> None: ...
    async def close(self) -> None: ...
    async def load(self, name: str, version: str = "") -> list[str]: ...
    async def unload(self, name: str) -> None: ...
    async def others(self) -> list[tuple[str, str, str]]: ...


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """A model that is open. `number`: what its stage knows it by."""

    number: int
    name: str
    version: str  # what it is called by
    held: FolderSnapshot
    key: VersionKey
    form: OutputSignature


@dataclass(slots=True)
class FolderStatus:
    """What was last found in a folder. `reason`: why it was refused."""

    stamp: FolderState = ()
    reason: str = ""
    tried: FolderState | None = None  # the state that was loaded, or refused
    gone: bool = False  # in the last look: whoever replaces a folder may be in the middle of it


class RepositoryLoader:
    """Loads and unloads the models of a repository, one change at a time."""

    def __init__(self, stage: Deployment, repository: Repository, splits: Mapping[str, TrafficSplit]) -> None:
        self._stage = stage
        self._repository = repository
        self._splits = splits
        self._lock = asyncio.Lock()
        self._numbers = count(1)
        self._loaded: list[LoadedVersion] = []
        self._seen: dict[VersionKey, FolderStatus] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load everything; what cannot be loaded is said, and left."""
        await _run_in_thread(remove_stale_snapshots)
        await self.look(settle=False)
        if self._repository.watch_s is not None:
            self._watching = asyncio.get_running_loop().create_task(self._watch(self._repository.watch_s))

    async def close(self) -> None:
        """Look no more, and wait for models that answer their last requests."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching], timeout=CLOSE_TIMEOUT_S)
        if self._retiring:
            await asyncio.wait(self._retiring, timeout=CLOSE_TIMEOUT_S)
        for loaded in self._loaded:
            loaded.held.close()

    async def load(self, name: str, version: str = "") -> list[str]:
        """Load a version of a model, or the latest; where its requests are split, all of its versions or none. Returns
        the versions.

        MissingError for what is not in the repository, CheckError or what opening raised for what cannot be served.
        """
        async with self._lock:
            found = await _run_in_thread(self._repository.scan)
            if name not in found:
                raise missing_model_error(name, found)
            versions = [version] if version else self._wanted(name, found[name])
            for each in versions:
                if each not in found[name]:
                    raise missing_version_error(name, each, found[name])
            return await self._load({(name, each): found[name][each] for each in versions})

    async def unload(self, name: str) -> None:
        """Unload every version of a model. Returns when they have answered and their memory was given back."""
        async with self._lock:
            self._stage.check_loaded(name)
            ours = [loaded for loaded in self._loaded if loaded.name == name]
            if not ours:
                raise MissingError(
                    f"there is no model {name[:100]!r}",
                    expected=", ".join(loaded.name for loaded in self._loaded) or "no model is loaded",
                    fix="GET /v1/models lists them",
                )
            tasks = await self._withdraw(ours)
        await asyncio.wait(tasks)

    async def others(self) -> list[tuple[str, str, str]]:
        """What could be loaded and is not: name, version, and why."""
        found = await _run_in_thread(self._repository.scan)
        listed = []
        for key in [(name, version) for name, versions in found.items() for version in versions]:
            reason = self._seen.get(key, FolderStatus()).reason
            if reason or not any(loaded.key == key for loaded in self._loaded):
                listed.append((*key, reason or "not loaded"))
        return listed

    async def between_changes(self, enter: Callable[[Sequence[LoadedVersion]], None]) -> None:
        """Call `enter` with what is loaded, while nothing changes."""
        async with self._lock:
            enter(tuple(self._loaded))

    async def look(self, *, settle: bool = True) -> None:
        """Load what is new, unload what went away. `settle`: a folder that says nothing of its files has to be the same
        in two looks."""
        found = await _run_in_thread(self._repository.scan)
        for name, versions in found.items():
            for version in self._wanted(name, versions):
                if version in versions:
                    await self._look_at((name, version), versions[version], settle)
        async with self._lock:
            gone = []
            for loaded in self._loaded:
                name, version = loaded.key
                seen = self._seen[loaded.key]
                was_gone = seen.gone
                seen.gone = name not in found or (name in self._splits and version not in found[name])
                if seen.gone and was_gone:
                    gone.append(loaded)
            if gone:
                await self._withdraw(gone)
                for loaded in gone:
                    del self._seen[loaded.key]

    async def _look_at(self, key: VersionKey, folder: Path, settle: bool) -> None:
        seen = self._seen.setdefault(key, FolderStatus())
        before, seen.stamp = seen.stamp, await _run_in_thread(folder_state, folder)
        settled = not settle or seen.stamp == before or (folder / "bundle.json").is_file()
        if seen.tried == seen.stamp or not settled:
            return
        # Whoever waits for an answer is told there; here the event that _load leaves behind is all.
        with suppress(DeepseekError):
            async with self._lock:
                await self._load({key: folder})

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
                    self._stage.say("the repository is left as it is", error=trouble)
            said = trouble

    def _wanted(self, name: str, versions: Mapping[str, Path]) -> list[str]:
        split = self._splits.get(name)
        return [latest_version(versions)] if split is None else [each for each in split.versions if each in versions]

    async def _load(self, folders: Mapping[VersionKey, Path]) -> list[str]:
        """Open models and warm them up, and when all of them can be served let them take their places."""
        opened: list[LoadedVersion] = []
        try:
            for key, folder in folders.items():
                opened.append(await self._open(key, folder))
            self._check_alike(opened)
            await self._stage.place([loaded.number for loaded in opened])
        except BaseException:
            for loaded in opened:
                self._retire(loaded)
            raise
        for loaded in opened:
            for replaced in [each for each in self._loaded if self._replaces(loaded, each)]:
                self._loaded.remove(replaced)
                self._retire(replaced)
            self._loaded.append(loaded)
        return [loaded.version for loaded in opened]

    async def _withdraw(self, models: Sequence[LoadedVersion]) -> list[asyncio.Task[None]]:
        """Let models be asked no more, and close them in time."""
        self._loaded = [loaded for loaded in self._loaded if loaded not in models]
        await self._stage.withdraw([loaded.number for loaded in models])
        return [self._retire(loaded) for loaded in models]

    def _replaces(self, loaded: LoadedVersion, other: LoadedVersion) -> bool:
        return loaded.name == other.name and (loaded.name not in self._splits or loaded.version == other.version)

    async def _open(self, key: VersionKey, folder: Path) -> LoadedVersion:
        name, version = key
        seen = self._seen.setdefault(key, FolderStatus())
        seen.stamp = seen.tried = await _run_in_thread(folder_state, folder)
        held = await _run_in_thread(FolderSnapshot, folder)
        number = next(self._numbers)
        try:
            split = self._splits.get(name)
            if split is not None and version not in split.versions:
                raise _not_in_split_error(name, version, split.versions)
            called, _, form = await self._stage.open(number, name, version, held.path)
        except BaseException as error:
            held.close()
            if isinstance(error, DrainingError):
                seen.tried = None  # nobody has tried it
            elif isinstance(error, DeepseekError):
                self._refuse(key, error)
            raise
        seen.reason = ""
        return LoadedVersion(number, name, called, held, key, form)

    def _check_alike(self, opened: Sequence[LoadedVersion]) -> None:
        """InputError when the versions of a model that there would be do not all answer in one form."""
        for name in {loaded.name for loaded in opened} & self._splits.keys():
            staying = [each for each in self._loaded if not any(self._replaces(loaded, each) for loaded in opened)]
            try:
                check_compatible(name, {each.version: each.form for each in (*staying, *opened) if each.name == name})
            except InputError as error:
                for loaded in opened:
                    self._refuse(loaded.key, error)
                raise

    def _refuse(self, key: VersionKey, error: DeepseekError) -> None:
        """Leave behind why a model is not loaded."""
        self._seen[key].reason = str(error)
        self._stage.say("a model was refused", model=key[0], version=key[1], error=str(error))

    def _retire(self, loaded: LoadedVersion) -> asyncio.Task[None]:
        """Close a model in time, and what is held of its folder after it."""
        task = asyncio.get_running_loop().create_task(self._finish(loaded))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)
        return task

    async def _finish(self, loaded: LoadedVersion) -> None:
        await self._stage.close(loaded.number)
        await _run_in_thread(loaded.held.close)


async def _run_in_thread(work: Callable[..., Result], *args: Any) -> Result:
    return await asyncio.get_running_loop().run_in_executor(None, work, *args)


def _not_in_split_error(name: str, version: str, versions: tuple[str, ...]) -> InputError:
    return InputError(
        f"the requests of {name!r} are not dealt to {version!r}",
        expected=", ".join(versions),
        fix=f"start the server with --route {name}=... that names it",
    )
