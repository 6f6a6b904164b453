"""Routing among the versions of a model: shares of its requests, and shadow versions.

    name, split = parse_split("loans=v1:0.9,v2:0.1,v3:shadow")
    slot = ModelVersions(name, split); slot.put(model)
    slot.pick(request)                    # by the hash of its id, so that a retry goes to the same version

A model without a split has one version; another that is put replaces it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from math import isclose
from typing import Any, Generic, Protocol, TypeVar

from deepseek.bundle import check_name
from deepseek.errors import InputError
from deepseek.serve.core.request import Request

SHADOW = "shadow"
#: Added to the age of shadow jobs: every other queue goes first, unless its oldest job is younger by this.
SHADOW_DELAY_S = 3_600.0
_FIX = "--route M=v1:0.9,v2:0.1 or --route M=v1,v2:shadow"


@dataclass(frozen=True, slots=True)
class TrafficSplit:
    """The share of a model's requests that each version answers; they add up to 1. `shadows`: see shadows.py."""

    shares: Mapping[str, float]
    shadows: tuple[str, ...] = ()

    @property
    def versions(self) -> tuple[str, ...]:
        return (*self.shares, *self.shadows)


def parse_split(text: str) -> tuple[str, TrafficSplit]:
    """The model's name and its split. InputError for what is none.

    >>> parse_split("loans=v1:0.9,v2:0.1")
    ('loans', TrafficSplit(shares={'v1': 0.9, 'v2': 0.1}, shadows=()))
    >>> parse_split("loans=v1,v2:shadow")[1]
    TrafficSplit(shares={'v1': 1.0}, shadows=('v2',))
    """
    name, _, rest = text.partition("=")
    shares: dict[str, float] = {}
    shadows = []
    for part in rest.split(","):
        version, _, share = part.partition(":")
        for part_name in (name, version):
            _check_split_name(part_name, text)
        if version in shares or version in shadows:
            raise _split_error(text, f"{version!r} stands there twice")
        if share == SHADOW:
            shadows.append(version)
        else:
            shares[version] = _parse_share(share or "1", text)
    if not isclose(sum(shares.values()), 1, abs_tol=1e-6):
        raise _split_error(text, f"the shares add up to {sum(shares.values()):g}")
    return name, TrafficSplit(shares, tuple(shadows))


def _check_split_name(name: str, text: str) -> None:
    try:
        check_name(name)
    except InputError as error:
        raise _split_error(text, f"{name!r} is no name") from error


def _parse_share(text: str, route: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise _split_error(route, f"{route!r} is no share")
    return share


def _split_error(text: str, problem: str) -> InputError:
    return InputError(
        f"the route {text[:200]!r} cannot be taken: {problem}",
        expected="MODEL=VERSION:SHARE,..., shares above 0 that add up to 1, or VERSION:shadow",
        fix=_FIX,
    )


class DelayableQueue(Protocol):
    """A queue that can be served later than others."""

    delay_s: float


class VersionedModel(Protocol):
    """A loaded model, as far as routing needs it."""

    version: str

    @property
    def scheduler(self) -> DelayableQueue: ...


Loaded = TypeVar("Loaded", bound=VersionedModel)


class ModelVersions(Generic[Loaded]):
    """The loaded versions of one model."""

    def __init__(self, name: str, split: TrafficSplit | None = None) -> None:
        self.name = name
        self.split = split
        self.versions: dict[str, Loaded] = {}
        self.main: Loaded | None = None  # the one with the largest share
        self.shadows: tuple[Loaded, ...] = ()

    def put(self, model: Loaded) -> Loaded | None:
        """Add a version. Returns the one that it replaces, which gets no more requests."""
        replaced = self.main if self.split is None else self.versions.get(model.version)
        if self.split is None:
            self.versions.clear()
        elif model.version in self.split.shadows:
            model.scheduler.delay_s = SHADOW_DELAY_S
        self.versions[model.version] = model
        self._update_main()
        return replaced

    def drop(self, version: str) -> Loaded:
        """Remove a version."""
        dropped = self.versions.pop(version)
        self._update_main()
        return dropped

    def pick(self, request: Request) -> Loaded | None:
        """The version that answers a request; the main version where the chosen one is not loaded."""
        if self.split is None or len(self.split.shares) == 1:
            return self.main
        point = int.from_bytes(blake2b(request.request_id.encode(), digest_size=8).digest()) / 2**64
        for version, share in self.split.shares.items():
            point -= share
            if point < 0:
                return self.versions.get(version, self.main)
        return self.main  # the rest of 1 that rounding leaves

    def _update_main(self) -> None:
        if self.split is None:
            self.main = next(iter(self.versions.values()), None)
            return
        by_share = sorted(self.split.shares.items(), key=lambda item: -item[1])
        self.main = next((self.versions[version] for version, _ in by_share if version in self.versions), None)
        self.shadows = tuple(self.versions[version] for version in self.split.shadows if version in self.versions)


def check_splits_loaded(
    splits: Mapping[str, TrafficSplit], slots: Mapping[str, ModelVersions[Any]], *, more_may_come: bool
) -> None:
    """InputError unless there is a version to answer every model that is split; all, where none comes later. A version
    that the split does not name would never be asked."""
    for name, split in splits.items():
        if name not in slots or slots[name].main is None:
            raise InputError(
                f"no version of {name!r} is loaded",
                expected=f"at least one of {', '.join(split.shares)}",
                fix=f"give {next(iter(split.shares))}=BUNDLE, too, or put it into the repository's {name}",
            )
        loaded = slots[name].versions
        absent = next((version for version in split.versions if version not in loaded), None)
        if absent is not None and not more_may_come:
            raise InputError(
                f"the route of {name!r} names {absent!r}, which is not there",
                expected=f"each of {', '.join(split.versions)}",
                fix=f"give {absent}=BUNDLE, too, or leave it out of --route",
            )
        if any(version not in split.versions for version in loaded):
            raise InputError(
                f"{name!r} is the name of a model and of a route",
                expected="a route under a name of its own, with models for its versions",
                fix=f"name the model otherwise and give it a part: --route {name}=v1:0.9,v2:0.1",
            )
