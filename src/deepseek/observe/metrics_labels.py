"""The labels of metrics, and what bounds the number of their values: no client can make a series."""

from __future__ import annotations

#: Labels of answers that are shown one by one; a class behind these counts as OTHER_LABEL.
MAX_ANSWER_LABELS = 50
OTHER_LABEL = "other"
#: Each label, and what bounds how many values it takes.
LABELS: dict[str, str] = {
    "model_name": "models that are loaded; a request for any other counts under an empty name",
    "model_version": "versions that are loaded",
    "status": "HTTP statuses that the server answers with",
    "code": "codes of the error classes of this package, and names of Python's exceptions",
    "stage": "decode, prepare, wait, compute, encode",
    "column": "columns of the bundle",
    "what": "imputed, unseen, truncated, unreadable, outside, far",
    "digest": "one for each loaded version",
    "same": "yes, no",
    "process": "front_end, engine, explainer, generator",
    "index": "as many as there are processes of a kind",
    "log": "AccessLog, AuditLog",
    "label": f"the first {MAX_ANSWER_LABELS} labels of the bundle, and {OTHER_LABEL}",
    "engines": "one for each loaded version",
    "signature": "good, none, not checked",
    "volume": "tmp, log, predictions, state",
    "gpu": "GPUs of the machine",
    "kind": "prompt, written; or log, snapshot",
    "event_status": "accepted, duplicate, late and so on: what the feature store says of an event",
    "bundle": "documents of drift that the command line names",
    "end": "value, low, high",
    "run": "run folders that the command line names",
    "run_status": "running, stopped, finished",
    "study": "studies that the command line names",
}
