"""POST /v1/models/M:score for bundles of machines: raw sensor rows in, remaining lives and alarms out.

app = create_app({"engines": runtime}, more_routes=[FleetRoutes("engines", scorer, max_rows)])

A body is a row, an array of rows, {"instances": [...]}, lines of rows, or one block of vibration
(application/octet-stream), and is answered in its form. Lines in chunks are answered while they come. What is answered
is on the disk, where the state has a folder.
"""

from __future__ import annotations

from urllib.parse import quote

from deepseek.contracts import JsonObject
from deepseek.serve.core.request import Request, Response
from deepseek.serve.core.routes import Route, Router, model_paths
from deepseek.serve.fleet.scorer import FleetScorer
from deepseek.serve.openapi.parts import NUMBER, TEXT, array_of, object_of
from deepseek.serve.scoring.document import CODE, describe_operation
from deepseek.serve.scoring.queue import ScoringQueue
from deepseek.serve.scoring.reading import BodyForm, RawRows
from deepseek.serve.scoring.routes import FindModel, LineRoutes
from deepseek.serve.scoring.writing import join_rows

BLOCK_TYPE = b"application/octet-stream"
STATUSES = ("accepted", "duplicate", "late", "ahead", "bad_input", "reset", "unknown_unit")


class FleetRoutes(LineRoutes):
    """The handler of one model."""

    def __init__(self, name: str, scorer: FleetScorer, max_rows: int) -> None:
        """`max_rows`: rows that may wait; further ones are refused."""
        super().__init__(name, ScoringQueue(scorer, max_rows, messages=scorer))
        self._scorer = scorer

    def add_to(self, router: Router, find_model: FindModel) -> None:
        """Add the route. `find_model`: the loaded model of a name."""
        self._find_model = find_model
        path, _ = model_paths(self._name, None)
        router.routes[f"{path}:score"] = Route("/v1/models/M:score", "POST", self.score, streams_body=True)

    def describe(self) -> JsonObject:
        """The route, for the OpenAPI document."""
        definition = self._scorer.definition
        sensor = {"type": ["number", "null"]}
        row = object_of({definition.unit: CODE, definition.time: TEXT if definition.is_dated else NUMBER})
        row["properties"] |= dict.fromkeys(definition.sensor_names, sensor)
        answer = object_of({"status": {"type": "string", "enum": list(STATUSES)}})
        answer["properties"] |= {
            "unit": TEXT, "time": {"type": ["number", "string"]}, "rul": sensor, "low": sensor, "high": sensor,
            "alarm": {"type": ["object", "null"]}, "sensors": {"type": "object"}, "silent_units": array_of(TEXT),
        }  # fmt: skip
        by_column = object_of({"predictions": array_of(answer)})
        example: JsonObject = {definition.unit: "M01", definition.time: self._scorer.reader.show_time(0.0)}
        example |= {sensor.name: sensor.centre for sensor in definition.sensors}
        path = f"/v1/models/{quote(self._name)}:score"
        summary = "Raw sensor rows of machines: what each has left, and the state changes"
        return {path: describe_operation(summary, row, answer, by_column, example)}

    def score(self, request: Request) -> None:
        """POST /v1/models/M:score"""
        if request.body_stream is not None:
            self._respond_lines(request, request.body_stream)
        elif request.headers.get(b"content-type") == BLOCK_TYPE:
            request.check_encoding()
            request.model = self._find_model(self._name)
            request.take_rows(1)
            self._queue.answer([request.body], lambda lines: _respond(request, "record", lines))
        else:
            self._read(request, self._scorer.reader.rows, self._score)

    def _score(self, request: Request, raw: RawRows) -> None:
        request.take_rows(len(raw))
        self._queue.answer_rows(raw, lambda lines: _respond(request, raw.form, lines))


def _respond(request: Request, form: BodyForm, lines: list[bytes] | Exception) -> None:
    if isinstance(lines, Exception):
        request.respond(lines)
        return
    body, media_type = join_rows(lines, form)
    request.respond(Response(body, media_type=media_type))
