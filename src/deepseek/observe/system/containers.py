"""Events of containers (`docker events --format '{{json .}}'`) and of Kubernetes (`kubectl get events -o json`).

Sources: Docker Engine API, events; Kubernetes API, Event v1 of core and of events.k8s.io.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from deepseek.observe.system.events import MAX_MESSAGE, MAX_SUBJECT, EventKind, SystemEvent, clean_text
from deepseek.observe.system.messages import SHORT_ID

#: What a container's action means; "die" and "health_status" are looked at closer.
ACTIONS: Mapping[str, EventKind] = {"oom": "oom_kill", "kill": "killed", "restart": "restarted"}
KILLED_CODES = ("137", "139", "134")  # of SIGKILL, SIGSEGV, SIGABRT
#: What the reason of an event of Kubernetes means.
REASONS: Mapping[str, EventKind] = {
    "OOMKilling": "oom_kill", "SystemOOM": "oom_kill", "Evicted": "evicted", "Preempted": "evicted",
    "NodeNotReady": "node_lost", "NodeHasDiskPressure": "disk_full", "FreeDiskSpaceFailed": "disk_full",
    "EvictionThresholdMet": "evicted", "BackOff": "restarted", "CrashLoopBackOff": "restarted",
    "Unhealthy": "unhealthy", "ProbeWarning": "unhealthy", "Killing": "killed", "Rebooted": "restarted",
}  # fmt: skip


def read_container_event(event: Mapping[str, Any]) -> SystemEvent | None:
    """What an event tells of a container, whose id is the host of the requests in it. ValueError, TypeError, KeyError:
    for what is none."""
    action = str(event.get("Action") or event["status"])
    actor = event.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    kind = ACTIONS.get(action)
    if action == "die" and str(attributes.get("exitCode")) in KILLED_CODES:
        kind = "crash" if str(attributes["exitCode"]) == "139" else "killed"
    elif action.startswith("health_status") and "unhealthy" in action:
        kind = "unhealthy"
    if kind is None or event.get("Type", "container") != "container":
        return None
    time_s = int(event["timeNano"]) / 1e9 if "timeNano" in event else float(event["time"])
    id_ = clean_text(str(actor.get("ID") or event.get("id") or ""), SHORT_ID)
    name = clean_text(str(attributes.get("name") or id_), MAX_SUBJECT)
    message = f"{action} {attributes.get('image', '')} exit {attributes.get('exitCode', '')}"
    return SystemEvent(time_s, id_, kind, f"container {name}", clean_text(message, MAX_MESSAGE))


def read_kubernetes_event(event: Mapping[str, Any]) -> SystemEvent | None:
    """What an event tells of a pod or a node. ValueError, TypeError, KeyError: for what is none."""
    kind = REASONS.get(str(event.get("reason")))
    if kind is None:
        return None
    object_ = event.get("involvedObject") or event.get("regarding") or {}
    series = event.get("series") or {}
    text = (
        series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
        or event.get("firstTimestamp") or event["metadata"]["creationTimestamp"]
    )  # fmt: skip
    source = event.get("source") or event.get("deprecatedSource") or {}
    node = clean_text(str(source.get("host") or event.get("reportingInstance") or ""), MAX_SUBJECT)
    object_kind, object_name = str(object_.get("kind", "")), clean_text(str(object_.get("name", "")), MAX_SUBJECT)
    hosts = [
        object_name if object_kind in ("Pod", "Node") else "",
        node,
    ]  # requests in a pod know its name as the host's
    name = f"{object_kind.lower()} {object_name}".strip()
    message = clean_text(f"{event.get('reason')}: {event.get('message') or event.get('note') or ''}", MAX_MESSAGE)
    time_s = datetime.fromisoformat(str(text)).timestamp()
    first, *others = [host for host in hosts if host] or [""]
    return SystemEvent(time_s, first, kind, name, message, other_hosts=tuple(others))
