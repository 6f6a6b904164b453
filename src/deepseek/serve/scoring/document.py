"""What :score and :label take and answer, for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Sequence

from deepseek.contracts import JsonObject
from deepseek.serve.core.bodies.stream import NDJSON_TYPES
from deepseek.serve.openapi.parts import NUMBER, TEXT, Schema, array_of, object_of, post_path
from deepseek.serve.scoring.scorer import STATUS_NAMES, EventScorer

CODE: Schema = {"type": ["integer", "string"]}  # of a key or an id
SCALAR: Schema = {"type": ["string", "number", "boolean", "null"]}
EXAMPLE_SECONDS = 1_530_403_200  # 2018-07-01


def scoring_paths(path: str, scorer: EventScorer) -> Schema:
    """The operations below the path of a model, "/v1/models/M"."""
    event, verdict = _event_schema(scorer), _verdict_schema(scorer)
    labels = list(scorer.runtime.labels)
    row = object_of({"id": SCALAR, "status": {"type": "string", "enum": list(STATUS_NAMES)}})
    reasons = {"reasons": {"oneOf": [array_of({"type": "object"}), {"type": "object"}]}}
    answer = row | {
        "properties": {**row["properties"], "chance": NUMBER, "decision": {"type": "string", "enum": labels}}
    }
    answer["properties"] |= reasons  # of alerts alone
    by_column = object_of(
        {
            "ids": array_of(SCALAR),
            "status": array_of(row["properties"]["status"]),
            "chances": array_of({"type": ["number", "null"]}),
            "decisions": array_of({"type": ["string", "null"]}),
            "reasons": {"type": "object"},  # by the place of the row
        }
    )
    return {
        f"{path}:score": describe_operation(
            "Raw events: the chance of each, and the state changes", event, answer, by_column, example_event(scorer)
        ),
        f"{path}:label": describe_operation(
            "Verdicts on events, days later", verdict, row, object_of({"predictions": array_of(row)}),
            _example_verdict(scorer),
        ),
    }  # fmt: skip


def example_event(scorer: EventScorer) -> JsonObject:
    """One event that :score takes."""
    columns, definition = scorer.definition.columns, scorer.definition
    event: JsonObject = {columns.id: 17, columns.time: EXAMPLE_SECONDS * definition.ticks("1s")}
    event |= {key.column: place for place, key in enumerate(definition.keys.values(), 5)}
    event[columns.amount] = 12.34
    example = scorer.runtime.example if scorer.extra_columns else {}
    return event | {name: example.get(name) for name in scorer.extra_columns}


def _example_verdict(scorer: EventScorer) -> JsonObject:
    identity, label = scorer.verdict_reader.names
    return {identity: 17, label: 1}


def _event_schema(scorer: EventScorer) -> Schema:
    columns = scorer.definition.columns
    time: Schema = {
        "type": ["integer", "string"],
        "description": f"A whole number in {scorer.definition.time_unit} since 1970, or ISO 8601.",
    }
    amount: Schema = {"type": "number", "minimum": 0}
    properties: Schema = dict.fromkeys(scorer.reader.key_names, CODE)
    properties |= {columns.id: CODE, columns.time: time, columns.amount: amount}
    required = list(properties)
    return {
        "type": "object", "properties": properties | dict.fromkeys(scorer.extra_columns, SCALAR), "required": required,
    }  # fmt: skip


def _verdict_schema(scorer: EventScorer) -> Schema:
    identity, label = scorer.verdict_reader.names
    return object_of({identity: CODE, label: {"type": "integer", "enum": [0, 1]}})


def describe_operation(summary: str, record: Schema, row: Schema, by_column: Schema, example: JsonObject) -> Schema:
    """An operation whose body is answered in its own form."""
    rows = {"columns": array_of(TEXT), "rows": array_of(array_of(SCALAR)) | {"minItems": 1}}
    records = array_of(record) | {"minItems": 1}
    forms: Sequence[Schema] = (record, records, object_of({"instances": records}), object_of(rows))
    answers: Sequence[Schema] = (row, array_of(row), object_of({"predictions": array_of(row)}), by_column)
    path = post_path(summary, {"anyOf": list(forms)}, {"anyOf": list(answers)}, example)
    lines = {kind.decode(): {"schema": TEXT} for kind in sorted(NDJSON_TYPES)}  # a record a line
    path["post"]["requestBody"]["content"] |= lines
    path["post"]["responses"]["200"]["content"] |= {"application/x-ndjson": {"schema": TEXT}}
    error = path["post"]["responses"]["422"]["content"]
    path["post"]["responses"]["507"] = {"description": "The disk takes no more: nothing was changed.", "content": error}
    return path
