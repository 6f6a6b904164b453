"""The loaded models by name, with all their versions.

registry.put(registry.make("loans", runtime))      # returns the version that it replaces
registry.pick("loans", request)                    # the version that answers
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deepseek.errors import MissingError
from deepseek.plugins import did_you_mean
from deepseek.serve.batching.workers import WorkerPool
from deepseek.serve.core.config import Settings
from deepseek.serve.core.request import Request
from deepseek.serve.models.adapter import ServableModel, adapt_model
from deepseek.serve.models.explanations import ExplainerPool
from deepseek.serve.models.names import check_name
from deepseek.serve.models.routing import ModelVersions, TrafficSplit
from deepseek.serve.models.served_model import EmitEvent, ServedModel


class ModelRegistry(Mapping[str, ServedModel]):
    """The loaded models by name: for each its main version. `slots` hold all versions."""

    def __init__(
        self,
        settings: Settings,
        explainers: ExplainerPool,
        emit: EmitEvent,
        pool: WorkerPool,
        splits: Mapping[str, TrafficSplit],
    ) -> None:
        self.slots: dict[str, ModelVersions[ServedModel]] = {}
        self._shared = settings, explainers, emit, pool
        self.splits = splits

    def make(self, name: str, model: ServableModel, version: str = "") -> ServedModel:
        """A model that is not loaded yet. InputError for a name that no route can hold."""
        check_name(name)
        return ServedModel(name, adapt_model(model), *self._shared, version=version)

    def put(self, model: ServedModel) -> ServedModel | None:
        """Add a loaded model. Returns the one that it replaces."""
        if model.name not in self.slots:
            self.slots[model.name] = ModelVersions(model.name, self.splits.get(model.name))
        return self.slots[model.name].put(model)

    def pick(self, name: str, request: Request, version: str = "") -> ServedModel:
        """The version that answers a request to a model. MissingError."""
        slot = self.slots.get(name)
        model = None if slot is None else slot.versions.get(version) or slot.pick(request)
        if model is None:
            raise self.missing_error(name)
        return model

    def all(self) -> list[ServedModel]:
        """Every version of every model."""
        return [model for slot in self.slots.values() for model in slot.versions.values()]

    def __getitem__(self, name: str) -> ServedModel:
        model = self.slots[name].main
        if model is None:
            raise KeyError(name)
        return model

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, slot in self.slots.items() if slot.main is not None])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def missing_error(self, name: str) -> MissingError:
        """The error for a name that is not loaded."""
        return MissingError(
            f"there is no model {name[:100]!r}.{did_you_mean(name[:100], self)}",
            expected=", ".join(self) or "no model is loaded",
            fix="GET /v1/models lists them",
        )

    def missing_version_error(self, name: str, version: str) -> MissingError:
        """The error for a version of a model that is not loaded."""
        return MissingError(
            f"the model {name!r} has no version {version[:40]!r}",
            expected=", ".join(self.slots[name].versions),
            fix="name one of these, or leave the version out for the one that is served",
        )
