"""Descriptions of the models: GET /v1/models, /v1/models/M and /v1/models/M/example."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from deepseek.contracts import JsonObject
from deepseek.data.features.categories import CategoryEncoder
from deepseek.data.media.image import ImageReader
from deepseek.nn.model import OutputCalibration
from deepseek.serve.core.card import ModelEntry
from deepseek.serve.core.request import Response
from deepseek.serve.models.registry import ModelRegistry
from deepseek.serve.models.served_model import ServedModel

if TYPE_CHECKING:
    from deepseek.serve.openai.writers import WritingModel


DecisionRule = Literal["threshold", "least expected cost", "largest probability"]


class InputDescription(msgspec.Struct, frozen=True):
    """An input column of a model. Of a category `levels` that training knew, the most frequent first; of a picture
    `aspect`, what becomes of one of another shape than the model's: it is squashed, cropped or padded."""

    name: str
    modality: str
    dtype: str
    required: bool
    levels: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    aspect: str | msgspec.UnsetType = msgspec.UNSET


class Notice(msgspec.Struct, frozen=True):
    """What a model does not keep, in both languages of the console."""

    en: str
    zh: str


class ModelDescription(ModelEntry, frozen=True, kw_only=True):
    """GET /v1/models/M. `example`: a body for :predict and :explain."""

    target: str
    labels: tuple[str, ...]
    threshold: float | None
    decision_rule: DecisionRule | None  # of classes
    calibration: OutputCalibration | None  # from the log-odds of an explanation to probabilities, where it is known
    operating_point: JsonObject | None  # of two classes, on test rows (deepseek.operating_point)
    notices: list[Notice]
    explainable: bool
    has_parts: bool  # whether :explain takes "parts", of texts and files
    inputs: list[InputDescription]
    example: JsonObject


def list_models(models: ModelRegistry, generators: Iterable[WritingModel] = ()) -> Response:
    """GET /v1/models"""
    data = [_model_entry(model) for model in models.values()]
    data += [generator.entry for generator in generators]
    return Response.json({"object": "list", "data": data})


def describe_model(model: ServedModel) -> Response:
    """GET /v1/models/M"""
    card, point = model.card, model.promises.operating_point
    description = ModelDescription(
        **msgspec.structs.asdict(_model_entry(model)), target=card.target, labels=card.labels, threshold=card.threshold,
        decision_rule=_decision_rule(model), calibration=model.calibration,
        operating_point=None if point is None else point.to_dict(),
        notices=[Notice(text.en, text.zh) for text in model.promises.warnings()],
        explainable=model.adapter.runtime is not None, has_parts=hasattr(model.adapter, "with_parts"),
        example=example_body(model), inputs=_describe_inputs(model),
    )  # fmt: skip
    return Response.json(description)


def _describe_inputs(model: ServedModel) -> list[InputDescription]:
    """The columns, with what a form needs to offer and to draw them."""
    runtime = model.adapter.runtime
    preparer = getattr(runtime, "preparer", None)
    preprocessor = getattr(runtime, "preprocessor", None) if preparer is None else preparer.table
    columns = () if preprocessor is None else preprocessor.columns
    levels = {column.name: column.coder.levels for column in columns if isinstance(column.coder, CategoryEncoder)}
    media = () if preparer is None else preparer.media
    aspects = {column.name: column.reader.aspect for column in media if isinstance(column.reader, ImageReader)}
    return [
        InputDescription(
            item.name, item.modality, item.dtype, item.required, levels.get(item.name, msgspec.UNSET),
            aspects.get(item.name, msgspec.UNSET),
        )
        for item in model.card.inputs
    ]  # fmt: skip


def _decision_rule(model: ServedModel) -> DecisionRule | None:
    """How a class is answered: as engines.decide.Decision does it."""
    if len(model.card.labels) < 2:
        return None
    decision: Any = getattr(model.adapter.runtime, "decision", None)
    if decision is not None and decision.task == "binary":
        return "threshold"
    return "least expected cost" if decision is not None and decision.costs is not None else "largest probability"


def get_example(model: ServedModel) -> Response:
    """GET /v1/models/M/example: a body that :predict and :explain both take as it is."""
    return Response.json(example_body(model))


def example_body(model: ServedModel) -> JsonObject:
    """The body of an example request: one typical record."""
    return {"instances": [dict(model.adapter.example)]}


def _model_entry(model: ServedModel) -> ModelEntry:
    card = model.card
    return ModelEntry(id=model.name, version=model.version, task=card.task, digest=card.digest, created=card.created)
