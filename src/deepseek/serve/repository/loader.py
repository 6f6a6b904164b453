"""Loads and unloads models while the server serves: by request, or because their folder is watched.

    loader = RepositoryLoader(deployment, repository, splits); await loader.start()     # everything in it, the latest
    version of each
    await loader.load("loans")                                 # or a version; await loader.unload("loans")

A loader decides, one change at a time; a deployment carries it out: in this process (deployment.py), or in every front
end of a group (group_sync.py). A new version is opened, checked and warmed up beside the old one wherever it is to be
served, and only then replaces it; the old one answers its queue, and then its memory is freed. A version that cannot be
opened is refused, and everything stays as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

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
CLOSE_TIMEOUT_S = 5.0  # that replaced models have to answer their last requests when the server ends


class UnloadedVersion(NamedTuple):
    """A version in the repository that is not loaded. `code`: that of the error that refused it, empty where none
    did."""

    name: str
    version: str
    reason: str
    code: str


class ModelLifecycle(Protocol):
    """Loads and unloads models while a server runs: RepositoryLoader, or GroupFollower in a group."""

    async def start(self) -> None: ...
    async def close(self) -> None: ...
    async def load(self, name: str, version: str = "") -> list[str]: ...
    async def unload(self, name: str) -> None: ...
    async def list_unloaded(self) -> list[UnloadedVersion]: ...


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """A model that is open. `number`: its name in the deployment."""

    number: int
    name: str
    version: str  # its name as a version
    snapshot: FolderSnapshot
    key: VersionKey
    signature: OutputSignature


@dataclass(slots=True)
class FolderStatus:
    """The state of a model folder at the last scan. `reason`: why it was refused."""

    stamp: FolderState = ()
    reason: str = ""
    code: str = ""  # of the error that refused it
    loaded_stamp: FolderState | None = None  # its state when it was loaded or refused
    is_missing: bool = False  # at the last scan; it may be in the middle of a replacement


class RepositoryLoader:
    """Loads and unloads the models of a repository, one change at a time."""

    def __init__(self, deployment: Deployment, repository: Repository, splits: Mapping[str, TrafficSplit]) -> None:
        self._deployment = deployment
        self._repository = repository
        self._splits = splits
        self._lock = asyncio.Lock()
        self._numbers = count(1)
        self._loaded: list[LoadedVersion] = []
        self._status: dict[VersionKey, FolderStatus] = {}
        self._retire_tasks: set[asyncio.Task[None]] = set()
        self._watch_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load all models of the repository. Those that cannot be loaded are reported and skipped."""
        await _run_in_thread(remove_stale_snapshots)
        await self.refresh(settle=False)
        if self._repository.watch_s is not None:
            self._watch_task = asyncio.get_running_loop().create_task(self._watch(self._repository.watch_s))

    async def close(self) -> None:
        """Stop watching, and wait for models that answer their last requests."""
        if self._watch_task is not None:
            self._watch_task.cancel()
            await asyncio.wait([self._watch_task], timeout=CLOSE_TIMEOUT_S)
        if self._retire_tasks:
            await asyncio.wait(self._retire_tasks, timeout=CLOSE_TIMEOUT_S)
        for loaded in self._loaded:
            loaded.snapshot.close()

    async def load(self, name: str, version: str = "") -> list[str]:
        """Load a version of a model, or the latest; where its requests are split, all of its versions or none. Returns
        the versions.

        MissingError for what is not in the repository, CheckError or what opening raised for what cannot be served.
        """
        async with self._lock:
            folders = await _run_in_thread(self._repository.scan)
            if name not in folders:
                raise missing_model_error(name, folders)
            versions = [version] if version else self._select_versions(name, folders[name])
            for chosen in versions:
                if chosen not in folders[name]:
                    raise missing_version_error(name, chosen, folders[name])
            return await self._load({(name, chosen): folders[name][chosen] for chosen in versions})

    async def unload(self, name: str) -> None:
        """Unload every version of a model. Returns when they have answered and their memory was given back."""
        async with self._lock:
            self._deployment.check_loaded(name)
            ours = [loaded for loaded in self._loaded if loaded.name == name]
            if not ours:
                raise MissingError(
                    f"there is no model {name[:100]!r}",
                    expected=", ".join(loaded.name for loaded in self._loaded) or "no model is loaded",
                    fix="GET /v1/models lists them",
                )
            tasks = await self._withdraw(ours)
        await asyncio.wait(tasks)

    async def list_unloaded(self) -> list[UnloadedVersion]:
        """Versions in the repository that are not loaded, and why."""
        folders = await _run_in_thread(self._repository.scan)
        listed = []
        for key in [(name, version) for name, versions in folders.items() for version in versions]:
            status = self._status.get(key, FolderStatus())
            if status.reason or not any(loaded.key == key for loaded in self._loaded):
                listed.append(UnloadedVersion(*key, status.reason or "not loaded", status.code))
        return listed

    async def between_changes(self, enter: Callable[[Sequence[LoadedVersion]], None]) -> None:
        """Call `enter` with what is loaded, while nothing changes."""
        async with self._lock:
            enter(tuple(self._loaded))

    async def refresh(self, *, settle: bool = True) -> None:
        """Load new models and unload missing ones. `settle`: a folder without a manifest of its files must be unchanged
        since the last scan."""
        folders = await _run_in_thread(self._repository.scan)
        for name, versions in folders.items():
            for version in self._select_versions(name, versions):
                if version in versions:
                    await self._refresh_folder((name, version), versions[version], settle)
        async with self._lock:
            missing = []
            for loaded in self._loaded:
                name, version = loaded.key
                status = self._status[loaded.key]
                was_gone = status.is_missing
                status.is_missing = name not in folders or (name in self._splits and version not in folders[name])
                if status.is_missing and was_gone:
                    missing.append(loaded)
            if missing:
                await self._withdraw(missing)
                for loaded in missing:
                    del self._status[loaded.key]

    async def _refresh_folder(self, key: VersionKey, folder: Path, settle: bool) -> None:
        status = self._status.setdefault(key, FolderStatus())
        before, status.stamp = status.stamp, await _run_in_thread(folder_state, folder)
        settled = not settle or status.stamp == before or (folder / "bundle.json").is_file()
        if status.loaded_stamp == status.stamp or not settled:
            return
        # Nobody waits for a response here; _load() has emitted the error.
        with suppress(DeepseekError):
            async with self._lock:
                await self._load({key: folder})

    async def _watch(self, watch_s: float) -> None:
        reported = ""
        while True:
            await asyncio.sleep(watch_s)
            trouble = ""
            try:
                await self.refresh()
            except CheckError as error:
                trouble = str(error)
                if trouble != reported:
                    self._deployment.emit_state("the repository is left as it is", error=trouble)
            reported = trouble

    def _select_versions(self, name: str, versions: Mapping[str, Path]) -> list[str]:
        split = self._splits.get(name)
        return (
            [latest_version(versions)]
            if split is None
            else [version for version in split.versions if version in versions]
        )

    async def _load(self, folders: Mapping[VersionKey, Path]) -> list[str]:
        """Open models and warm them up; when all of them can be served, send requests to them. Returns the versions."""
        opened: list[LoadedVersion] = []
        try:
            for key, folder in folders.items():
                opened.append(await self._open(key, folder))
            self._check_compatible(opened)
            await self._deployment.place([loaded.number for loaded in opened])
        except BaseException:
            for loaded in opened:
                self._retire(loaded)
            raise
        for loaded in opened:
            for replaced in [other for other in self._loaded if self._replaces(loaded, other)]:
                self._loaded.remove(replaced)
                self._retire(replaced)
            self._loaded.append(loaded)
        return [loaded.version for loaded in opened]

    async def _withdraw(self, models: Sequence[LoadedVersion]) -> list[asyncio.Task[None]]:
        """Send no more requests to these models, and close them in the background."""
        self._loaded = [loaded for loaded in self._loaded if loaded not in models]
        await self._deployment.withdraw([loaded.number for loaded in models])
        return [self._retire(loaded) for loaded in models]

    def _replaces(self, loaded: LoadedVersion, other: LoadedVersion) -> bool:
        return loaded.name == other.name and (loaded.name not in self._splits or loaded.version == other.version)

    async def _open(self, key: VersionKey, folder: Path) -> LoadedVersion:
        name, version = key
        status = self._status.setdefault(key, FolderStatus())
        status.stamp = status.loaded_stamp = await _run_in_thread(folder_state, folder)
        snapshot = await _run_in_thread(FolderSnapshot, folder)
        number = next(self._numbers)
        try:
            split = self._splits.get(name)
            if split is not None and version not in split.versions:
                raise _not_in_split_error(name, version, split.versions)
            opened = await self._deployment.open(number, name, version, snapshot.path)
        except BaseException as error:
            snapshot.close()
            if isinstance(error, DrainingError):
                status.loaded_stamp = None  # it was not tried
            elif isinstance(error, DeepseekError):
                self._refuse(key, error)
            raise
        status.reason = status.code = ""
        return LoadedVersion(number, name, opened.version, snapshot, key, opened.signature)

    def _check_compatible(self, opened: Sequence[LoadedVersion]) -> None:
        """InputError when the versions of a model would not all have compatible outputs."""
        for name in {loaded.name for loaded in opened} & self._splits.keys():
            staying = [other for other in self._loaded if not any(self._replaces(loaded, other) for loaded in opened)]
            try:
                check_compatible(
                    name, {loaded.version: loaded.signature for loaded in (*staying, *opened) if loaded.name == name}
                )
            except InputError as error:
                for loaded in opened:
                    self._refuse(loaded.key, error)
                raise

    def _refuse(self, key: VersionKey, error: DeepseekError) -> None:
        """Record and emit why a model is not loaded."""
        self._status[key].reason, self._status[key].code = str(error), error.code
        self._deployment.emit_state("a model was refused", model=key[0], version=key[1], error=str(error))

    def _retire(self, loaded: LoadedVersion) -> asyncio.Task[None]:
        """Close a model in the background, and then its snapshot."""
        task = asyncio.get_running_loop().create_task(self._finish(loaded))
        self._retire_tasks.add(task)
        task.add_done_callback(self._retire_tasks.discard)
        return task

    async def _finish(self, loaded: LoadedVersion) -> None:
        await self._deployment.close(loaded.number)
        await _run_in_thread(loaded.snapshot.close)


async def _run_in_thread(work: Callable[..., Result], *args: Any) -> Result:
    return await asyncio.get_running_loop().run_in_executor(None, work, *args)


def _not_in_split_error(name: str, version: str, versions: tuple[str, ...]) -> InputError:
    return InputError(
        f"the requests of {name!r} are not dealt to {version!r}",
        expected=", ".join(versions),
        fix=f"start the server with --route {name}=... that names it",
    )
