"""A model that an engine process has opened, behind one call: arrays in, arrays out.

open_model({"path": "loans", "digest": "sha256:..."}).run({"features": features})["output"]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NotRequired, Protocol, TypedDict

from deepseek.contracts import Arrays, JsonObject
from deepseek.engines.execution_mode import available_modes, limit_torch_threads
from deepseek.engines.first_run import use_limits_of
from deepseek.engines.tabular.runtime import Runtime
from deepseek.errors import IntegrityError

if TYPE_CHECKING:
    from deepseek.engines.detector.runtime import DetectorRuntime
    from deepseek.engines.multimodal.runtime import MultimodalRuntime
    from deepseek.engines.text import TextEngine
    from deepseek.engines.text.serve.engine import TextEngineOptions


MAX_WARM_UP_ROWS = 4_096  # calls of more rows are rare, and warming up with them would take long


class ModelSpec(TypedDict):
    """A model for an engine process to open, as the message of a front end holds it."""

    kind: str  # one of _OPENERS
    path: str
    digest: str
    first_run: NotRequired[Mapping[str, float]]  # FirstRunLimits.to_dict()
    lossy: NotRequired[JsonObject]  # of a table: LossyEngines.to_dict()
    options: NotRequired[TextEngineOptions]  # of a text model


class ServedModel(Protocol):
    """What an engine process needs of a model."""

    def run(self, arrays: Arrays) -> Arrays: ...
    def close(self) -> None: ...


class ServedTable:
    """A bundle of a table: prepared features (N, F) to "output", probabilities (N, C) or values (N, 1)."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @classmethod
    def open(cls, spec: ModelSpec) -> ServedTable:
        """IntegrityError when the folder no longer holds the bundle that the front end has opened."""
        runtime = Runtime.from_spec(spec["path"], spec.get("lossy"))
        check_digest(runtime, spec["path"], spec["digest"])
        if any(kind.startswith("torch") for kind in runtime.kinds) and available_modes():
            limit_torch_threads()
        # No request shall wait until an engine for many rows is opened, too.
        for num_rows in runtime.sizes:
            if num_rows <= MAX_WARM_UP_ROWS:
                runtime.score(runtime.prepare([runtime.example] * num_rows).features)
        return cls(runtime)

    def run(self, arrays: Arrays) -> Arrays:
        return {"output": self._runtime.score(arrays["features"]).output}

    def close(self) -> None:
        self._runtime.close()


class ServedSamples:
    """A bundle of several modalities: packed rows (data/samples/requests.py), decoded here, to "output" (N, C) and the
    "faults" (N,) of those that have none."""

    def __init__(self, runtime: MultimodalRuntime) -> None:
        self.run = runtime.score_packed
        self.close = runtime.close

    @classmethod
    def open(cls, spec: ModelSpec) -> ServedSamples:
        """IntegrityError as for a table's bundle."""
        from deepseek.engines.multimodal.runtime import MultimodalRuntime

        runtime = MultimodalRuntime.open(spec["path"])
        check_digest(runtime, spec["path"], spec["digest"])
        return cls(runtime)


def check_digest(runtime: Runtime | MultimodalRuntime | DetectorRuntime, path: str, digest: str) -> None:
    """IntegrityError when it is not the bundle that the front end has opened."""
    if runtime.manifest.digest != digest:
        raise IntegrityError(
            f"{path} now holds another bundle than the one that is served",
            expected=digest,
            fix="load the model again, so that the new bundle takes the place of the old one",
        )


class ServedText:
    """A text model: padded token ids to embeddings (N, D) or logits."""

    def __init__(self, engine: TextEngine) -> None:
        self.run = engine.run
        self.close = engine.close

    @classmethod
    def open(cls, spec: ModelSpec) -> ServedText:
        """Open the folder as it stands; the front end has checked it before."""
        from deepseek.engines.text import TextEngine

        return cls(TextEngine.from_options(spec["path"], spec["options"]))


def open_onnx(spec: Any) -> ServedModel:
    """Open the graph of an ONNX file, which computes named tensors from named tensors."""
    from deepseek.engines.onnx_file import GraphEngines

    return GraphEngines.open(spec)


def open_detector(spec: ModelSpec) -> ServedModel:
    """Open a bundle that looks at pictures. IntegrityError as for a table's bundle."""
    from deepseek.engines.detector.runtime import DetectorRuntime
    from deepseek.engines.detector.served import ServedDetector

    runtime = DetectorRuntime.open(spec["path"])
    check_digest(runtime, spec["path"], spec["digest"])
    return ServedDetector(runtime)


_OPENERS: Mapping[str, Callable[[ModelSpec], ServedModel]] = {
    "bundle": ServedTable.open,
    "samples": ServedSamples.open,
    "text": ServedText.open,
    "onnx": open_onnx,
    "detector": open_detector,
}


def open_model(spec: ModelSpec) -> ServedModel:
    """Open the model that a front end describes. Errors are those of opening it."""
    with use_limits_of(spec.get("first_run")):
        return _OPENERS[spec["kind"]](spec)
