"""The table of fields that log lines have: the server's own, and those that a shipper adds.

Source: Elastic Common Schema 8 and 9, generated/ecs/ecs_flat.yml; what stands under "deepseek" is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FieldType = Literal["date", "keyword", "long", "match_only_text", "wildcard", "flattened", "boolean", "double"]
#: Data streams: logs-DATASET-default.
DATASETS = {
    "deepseek.server": "lines of the server, from a file",
    "deepseek.container": "what containers write, the server's lines among them",
    "deepseek.journal": "the kernel and the service manager, from the journal",
    "deepseek.syslog": "the same from syslog files",
}
INDEX_PATTERN, NAMESPACE = "logs-deepseek.*", "default"
NAME = "deepseek-logs"  # of template, policy, pipeline and data view
MAX_KEYWORD = 1_024  # characters that are indexed; ECS says so


@dataclass(frozen=True, slots=True)
class LogField:
    name: str
    kind: FieldType
    meaning: str
    is_ecs: bool = True


def data_stream(dataset: str) -> str:
    """
    >>> data_stream("deepseek.server")
    'logs-deepseek.server-default'
    """
    return f"logs-{dataset}-{NAMESPACE}"


_SERVER = (
    LogField("@timestamp", "date", "when the request was answered"),
    LogField("log.level", "keyword", "debug, info, warning, error"),
    LogField("event.action", "keyword", "the route, or the kind of another event"),
    LogField("event.outcome", "keyword", "success, failure"),
    LogField("event.duration", "long", "ns from headers to answer"),
    LogField("http.request.id", "keyword", "of the request; predictions and exemplars have it, too"),
    LogField("http.request.method", "keyword", "GET, POST"),
    LogField("http.response.status_code", "long", "HTTP status"),
    LogField("service.name", "keyword", "deepseek"),
    LogField("user.name", "keyword", "the holder of the API key"),
    LogField("trace.id", "keyword", "of the client's trace"),
    LogField("span.id", "keyword", "of the client's span"),
    LogField("error.code", "keyword", "why a request was refused or failed"),
    LogField("error.stack_trace", "wildcard", "of a bug of ours"),
    LogField("deepseek.model.name", "keyword", "the model that answered", is_ecs=False),
    LogField("deepseek.model.version", "keyword", "its version", is_ecs=False),
    LogField("deepseek.model.digest", "keyword", "of its bundle", is_ecs=False),
    LogField("deepseek.rows", "long", "rows of the request", is_ecs=False),
    LogField("deepseek.queue.duration", "long", "ns that its rows waited", is_ecs=False),
    LogField("deepseek.flagged", "flattened", "values imputed, unseen or outlying, by column", is_ecs=False),
    LogField("deepseek.state", "keyword", "what the server did", is_ecs=False),
    LogField("deepseek.warning", "match_only_text", "what needs repair", is_ecs=False),
    LogField("deepseek.error", "match_only_text", "what a log or a process failed with", is_ecs=False),
    LogField("deepseek.change", "keyword", "died, restarted, out_of_files", is_ecs=False),
    LogField("deepseek.process", "keyword", "engine, front_end", is_ecs=False),
    LogField("deepseek.engine_pid", "long", "the process that died", is_ecs=False),
    LogField("deepseek.loaded", "boolean", "whether a model is loaded", is_ecs=False),
)
_SHIPPER = (
    LogField("message", "match_only_text", "a line that is no JSON"),
    LogField("host.name", "keyword", "the machine"),
    LogField("container.id", "keyword", "the container"),
    LogField("container.name", "keyword", "its name"),
    LogField("process.name", "keyword", "what wrote to the journal"),
    LogField("process.pid", "long", "its process"),
    LogField("log.file.path", "keyword", "the file"),
    LogField("log.offset", "long", "the place in it", is_ecs=False),
    LogField("log.syslog.priority", "long", "of syslog"),
    LogField("log.syslog.appname", "keyword", "the program"),
    LogField("event.dataset", "keyword", "which of the data streams"),
    LogField("event.ingested", "date", "when it was stored"),
    LogField("error.message", "match_only_text", "why a line could not be read"),
    LogField("ecs.version", "keyword", "of the schema"),
)
LOG_FIELDS: tuple[LogField, ...] = (*_SERVER, *_SHIPPER)
FIELD_NAMES = frozenset(each.name for each in LOG_FIELDS)
