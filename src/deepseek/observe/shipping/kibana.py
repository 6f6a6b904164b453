"""Kibana's saved objects, as its import takes them: a data view, searches, pictures, and one dashboard of these.

Source: Kibana's saved objects of 8.x as its own export writes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deepseek.contracts import JsonObject
from deepseek.observe.shipping.fields import INDEX_PATTERN, NAME

CORE_VERSION = "8.8.0"  # of the form of objects; later releases read it
TYPE_VERSIONS = {"index-pattern": "8.0.0", "search": "8.0.0", "visualization": "8.5.0", "dashboard": "8.9.0"}
DASHBOARD_ID = "deepseek-requests"
INDEX_REFERENCE = "kibanaSavedObjectMeta.searchSourceJSON.index"
NUM_COLUMNS, PANEL_HEIGHT = 48, 12  # of Kibana's grid
MS = 1e-6  # of event.duration, which is ns


@dataclass(frozen=True, slots=True)
class LogSearch:
    """A saved search: KQL, and the columns that it shows."""

    id: str
    title: str
    meaning: str
    query: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LogPicture:
    """A curve over time, or a table of the most frequent values. `split`: the field of the lines or rows; `quantiles`:
    of the duration instead of counts."""

    id: str
    title: str
    kind: str  # histogram, line, table
    query: str = ""
    split: str = ""
    quantiles: tuple[int, ...] = ()


_REQUEST = ("deepseek.model.name", "http.response.status_code", "error.code", "event.duration", "http.request.id")
SEARCHES = (
    LogSearch(
        "deepseek-failures", "Requests that failed", "5xx, and bugs of ours with their stack trace",
        "http.response.status_code >= 500", ("host.name", *_REQUEST, "error.stack_trace"),
    ),
    LogSearch(
        "deepseek-refusals", "Requests that were refused", "4xx, by why and by whom",
        "http.response.status_code >= 400 and http.response.status_code < 500", ("user.name", *_REQUEST),
    ),
    LogSearch(
        "deepseek-slow", "Requests that took a second", "write the id of one into the next search",
        "event.duration >= 1000000000", (*_REQUEST, "deepseek.rows", "deepseek.queue.duration", "trace.id"),
    ),
    LogSearch(
        "deepseek-one", "One request or trace", "an id of an exemplar, of a prediction or of a client",
        'http.request.id : "" or trace.id : ""', ("host.name", "event.action", *_REQUEST),
    ),
    LogSearch(
        "deepseek-server", "What the server did", "models, processes, warnings, lost lines",
        "deepseek.state : * or deepseek.warning : * or deepseek.change : *",
        ("host.name", "deepseek.model.name", "deepseek.state", "deepseek.warning", "deepseek.error"),
    ),
    LogSearch(
        "deepseek-machine", "What the kernel killed", "out of memory, crashes, disks, GPUs",
        'message : ("Out of memory" or "oom-kill" or "segfault" or "I/O error" or "NVRM: Xid" or "No space left")',
        ("host.name", "process.name", "message"),
    ),
)  # fmt: skip
PICTURES = (
    LogPicture("deepseek-outcomes", "Requests by status", "histogram", split="http.response.status_code"),
    LogPicture("deepseek-durations", "Duration, ns: 50 %, 99 %", "line", quantiles=(50, 99)),
    LogPicture("deepseek-errors", "Why requests were refused or failed", "table", "error.code : *", "error.code"),
    LogPicture("deepseek-hosts", "Failures by machine", "table", "http.response.status_code >= 500", "host.name"),
)


def saved_objects() -> str:
    """The NDJSON of all objects; those that others refer to come first."""
    objects = [_data_view(), *map(_search, SEARCHES), *map(_picture, PICTURES), _dashboard()]
    return "".join(json.dumps(each, ensure_ascii=False, sort_keys=True) + "\n" for each in objects)


def _object(kind: str, id_: str, attributes: JsonObject, references: Sequence[Mapping[str, str]] = ()) -> JsonObject:
    return {
        "type": kind, "id": id_, "attributes": attributes, "references": list(references), "managed": False,
        "coreMigrationVersion": CORE_VERSION, "typeMigrationVersion": TYPE_VERSIONS[kind],
    }  # fmt: skip


def _data_view() -> JsonObject:
    attributes = {"title": INDEX_PATTERN, "name": "deepseek", "timeFieldName": "@timestamp", "allowNoIndex": True}
    return _object("index-pattern", NAME, attributes)


def _source(query: str) -> JsonObject:
    """The search source of an object: what it asks of the data view."""
    source = {"query": {"query": query, "language": "kuery"}, "filter": [], "indexRefName": INDEX_REFERENCE}
    return {"kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(source)}}


_INDEX = ({"name": INDEX_REFERENCE, "type": "index-pattern", "id": NAME},)


def _search(search: LogSearch) -> JsonObject:
    attributes = {
        "title": search.title, "description": search.meaning, "columns": list(search.columns),
        "sort": [["@timestamp", "desc"]], "grid": {}, "hideChart": False, **_source(search.query),
    }  # fmt: skip
    return _object("search", search.id, attributes, _INDEX)


def _picture(picture: LogPicture) -> JsonObject:
    metric: JsonObject = {"id": "1", "enabled": True, "type": "count", "schema": "metric", "params": {}}
    if picture.quantiles:
        metric |= {"type": "percentiles", "params": {"field": "event.duration", "percents": list(picture.quantiles)}}
    aggregations = [metric]
    if picture.kind != "table":
        params = {"field": "@timestamp", "interval": "auto", "min_doc_count": 0, "useNormalizedEsInterval": True}
        aggregations.append(
            {"id": "2", "enabled": True, "type": "date_histogram", "schema": "segment", "params": params}
        )
    if picture.split:
        params = {"field": picture.split, "size": 10, "order": "desc", "orderBy": "1"}
        schema = "bucket" if picture.kind == "table" else "group"
        aggregations.append({"id": "3", "enabled": True, "type": "terms", "schema": schema, "params": params})
    state = {"title": picture.title, "type": picture.kind, "aggs": aggregations, "params": _picture_params(picture)}
    attributes = {
        "title": picture.title, "description": "", "version": 1, "uiStateJSON": "{}", "visState": json.dumps(state),
        **_source(picture.query),
    }  # fmt: skip
    return _object("visualization", picture.id, attributes, _INDEX)


def _picture_params(picture: LogPicture) -> JsonObject:
    if picture.kind == "table":
        return {"perPage": 10, "showPartialRows": False, "showMetricsAtAllLevels": False, "showTotal": False}
    series = {
        "show": True, "type": picture.kind, "mode": "stacked" if picture.kind == "histogram" else "normal",
        "data": {"id": "1", "label": picture.title}, "valueAxis": "ValueAxis-1", "drawLinesBetweenPoints": True,
        "lineWidth": 2, "showCircles": False,
    }  # fmt: skip
    axis = {"show": True, "scale": {"type": "linear"}, "labels": {"show": True}, "style": {}, "title": {}}
    return {
        "type": picture.kind, "addTooltip": True, "addLegend": True, "legendPosition": "right", "grid": {},
        "categoryAxes": [{**axis, "id": "CategoryAxis-1", "type": "category", "position": "bottom"}],
        "valueAxes": [{**axis, "id": "ValueAxis-1", "name": "LeftAxis-1", "type": "value", "position": "left"}],
        "seriesParams": [series],
    }  # fmt: skip


def _dashboard() -> JsonObject:
    """Pictures two in a row, then the searches."""
    tiles = [*(("visualization", each.id, NUM_COLUMNS // 2) for each in PICTURES)]
    tiles += [("search", each.id, NUM_COLUMNS) for each in SEARCHES if each.id != "deepseek-one"]
    panels, references, x, y = [], [], 0, 0
    for number, (kind, id_, width) in enumerate(tiles):
        if x + width > NUM_COLUMNS:
            x, y = 0, y + PANEL_HEIGHT
        index = f"panel-{number}"
        grid = {"x": x, "y": y, "w": width, "h": PANEL_HEIGHT, "i": index}
        panels.append(
            {
                "panelIndex": index, "gridData": grid, "type": kind, "embeddableConfig": {"enhancements": {}},
                "panelRefName": f"panel_{index}", "version": CORE_VERSION,
            }
        )  # fmt: skip
        references.append({"name": f"{index}:panel_{index}", "type": kind, "id": id_})
        x += width
    source = {"query": {"query": "", "language": "kuery"}, "filter": []}
    attributes = {
        "title": "deepseek: requests and machines", "description": "What was answered, refused and lost, and why",
        "panelsJSON": json.dumps(panels), "optionsJSON": json.dumps({"useMargins": True, "hidePanelTitles": False}),
        "timeRestore": True, "timeFrom": "now-1h", "timeTo": "now", "version": 1,
        "refreshInterval": {"pause": False, "value": 30_000},
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(source)},
    }  # fmt: skip
    return _object("dashboard", DASHBOARD_ID, attributes, references)
