"""What Elasticsearch is told once: how long lines are kept, what their fields are, what is done to a line that comes.

Source: Elasticsearch's reference 8.x: index life cycle, composable index templates, ingest pipelines, data streams.
"""

from __future__ import annotations

from deepseek.contracts import JsonObject
from deepseek.observe.shipping.fields import INDEX_PATTERN, LOG_FIELDS, MAX_KEYWORD, NAME, NAMESPACE, LogField

RETENTION_DAYS, SHARD_GB = 14, 10
PRIORITY = 300  # above the templates that Elasticsearch brings for logs-*-*
ECS_VERSION = "8.17.0"
#: What Filebeat adds and nobody looks at.
NOISE = ("agent", "input", "log.flags", "host.architecture", "host.os", "host.mac", "host.ip", "host.id")


def life_cycle_policy() -> JsonObject:
    """The body of PUT _ilm/policy/NAME."""
    rollover = {"max_age": "1d", "max_primary_shard_size": f"{SHARD_GB}gb"}
    return {
        "policy": {
            "phases": {
                "hot": {"min_age": "0ms", "actions": {"rollover": rollover}},
                "delete": {"min_age": f"{RETENTION_DAYS}d", "actions": {"delete": {}}},
            }
        }
    }


def index_template() -> JsonObject:
    """The body of PUT _index_template/NAME. Fields that the table does not have are kept and not indexed: no line can
    make a mapping grow."""
    settings = {
        "index": {
            "lifecycle": {"name": NAME}, "default_pipeline": NAME, "codec": "best_compression",
            "auto_expand_replicas": "0-1", "mapping": {"ignore_malformed": True, "total_fields": {"limit": 200}},
        }
    }  # fmt: skip
    mappings = {"dynamic": "false", "date_detection": False, "properties": _properties()}
    return {
        "index_patterns": [f"{INDEX_PATTERN}-{NAMESPACE}"], "data_stream": {}, "priority": PRIORITY,
        "template": {"settings": settings, "mappings": mappings},
        "_meta": {"description": "Lines of deepseek and of the machines that it runs on"},
    }  # fmt: skip


def _properties() -> JsonObject:
    """Names with dots as objects in objects."""
    root: JsonObject = {}
    for field in LOG_FIELDS:
        *parents, last = field.name.split(".")
        branch = root
        for parent in parents:
            branch = branch.setdefault(parent, {"properties": {}})["properties"]
        branch[last] = _mapping(field)
    return root


def _mapping(field: LogField) -> JsonObject:
    mapping: JsonObject = {"type": field.kind}
    if field.kind in ("keyword", "flattened", "wildcard"):
        mapping["ignore_above"] = MAX_KEYWORD if field.kind != "wildcard" else 32_000
    if field.kind == "flattened":
        mapping["depth_limit"] = 2
    return mapping


def ingest_pipeline() -> JsonObject:
    """The body of PUT _ingest/pipeline/NAME. A line that was shipped twice is stored once: its time and place in its
    file are its id (a file that was rotated has the same places again). A line that fails a step is kept, with why."""
    place = ["@timestamp", "host.name", "log.file.path", "log.offset"]
    return {
        "description": "Lines of deepseek and of the machines that it runs on",
        "processors": [
            {"dot_expander": {"field": "*", "override": True, "ignore_failure": True}},
            {"dot_expander": {"field": "*", "path": "deepseek", "override": True, "ignore_failure": True}},
            {"set": {"field": "@timestamp", "value": "{{{_ingest.timestamp}}}", "override": False}},
            {"set": {"field": "event.ingested", "value": "{{{_ingest.timestamp}}}"}},
            {"set": {"field": "ecs.version", "value": ECS_VERSION}},
            {
                "fingerprint": {
                    "fields": place, "target_field": "_id", "method": "SHA-256",
                    "if": "ctx.log?.offset != null && ctx.host?.name != null",
                }
            },
            {"remove": {"field": list(NOISE), "ignore_missing": True}},
        ],
        "on_failure": [
            {"set": {"field": "error.message", "value": "{{{_ingest.on_failure_message}}}"}},
            {"set": {"field": "log.level", "value": "error", "override": False}},
        ],
    }  # fmt: skip
