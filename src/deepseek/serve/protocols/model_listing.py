"""Descriptions of the models: GET /v1/models, /v1/models/M and /v1/models/M/example."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from deepseek.contracts import JsonObject
from deepseek.serve.core.card import ModelEntry
from deepseek.serve.core.request import Response
from deepseek.serve.models.registry import ModelRegistry
from deepseek.serve.models.served_model import ServedModel

if TYPE_CHECKING:
    from deepseek.serve.openai.generation import GenerativeModel


class InputDescription(msgspec.Struct, frozen=True):
    """An input column of a model."""

    name: str
    modality: str
    dtype: str
    required: bool


class Notice(msgspec.Struct, frozen=True):
    """What a model does not keep, in both languages of the console."""

    en: str
    zh: str


class ModelDescription(ModelEntry, frozen=True, kw_only=True):
    """GET /v1/models/M. `example`: a body for :predict and :explain."""

    target: str
    labels: tuple[str, ...]
    threshold: float | None
    operating_point: JsonObject | None  # of two classes, on test rows (deepseek.operating_point)
    notices: list[Notice]
    explainable: bool
    inputs: list[InputDescription]
    example: JsonObject


def list_models(models: ModelRegistry, generators: Iterable[GenerativeModel] = ()) -> Response:
    """GET /v1/models"""
    data = [_model_entry(model) for model in models.values()]
    data += [generator.entry for generator in generators]
    return Response.json({"object": "list", "data": data})


def describe_model(model: ServedModel) -> Response:
    """GET /v1/models/M"""
    card, point = model.card, model.promises.operating_point
    description = ModelDescription(
        **msgspec.structs.asdict(_model_entry(model)), target=card.target, labels=card.labels, threshold=card.threshold,
        operating_point=None if point is None else point.to_dict(),
        notices=[Notice(text.en, text.zh) for text in model.promises.warnings()],
        explainable=model.adapter.runtime is not None, example=example_body(model),
        inputs=[InputDescription(item.name, item.modality, item.dtype, item.required) for item in card.inputs],
    )  # fmt: skip
    return Response.json(description)


def get_example(model: ServedModel) -> Response:
    """GET /v1/models/M/example: a body that :predict and :explain both take as it is."""
    return Response.json(example_body(model))


def example_body(model: ServedModel) -> JsonObject:
    """The body of an example request: one typical record."""
    return {"instances": [dict(model.adapter.example)]}


def _model_entry(model: ServedModel) -> ModelEntry:
    card = model.card
    return ModelEntry(id=model.name, version=model.version, task=card.task, digest=card.digest, created=card.created)
