"""Events become Prometheus metrics under stable names."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from deepseek.contracts import Event
from deepseek.observe.metrics import Metrics

CHANGES = (
    {"process": "engine", "change": "died"}, {"process": "engine", "change": "died"},
    {"process": "engine", "change": "restarted"}, {"process": "front_end", "change": "died"},
    {"change": "out_of_files"}, {},
)  # fmt: skip
MODEL = {"model_name": "cancer", "model_version": "1"}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_request_counts_by_model_and_status() -> None:
    metrics = Metrics()
    for status in (200, 200, 422):
        metrics.emit(Event("request", "cancer", "1", status, num_rows=3, duration_s=0.002, queue_s=0.0001))
    assert value(metrics, "deepseek_requests_total", **MODEL, status="200") == 2
    assert value(metrics, "deepseek_requests_total", **MODEL, status="422") == 1
    assert value(metrics, "deepseek_rows_total", **MODEL) == 6
    assert value(metrics, "deepseek_request_duration_seconds_bucket", **MODEL, le="0.0025") == 3
    assert value(metrics, "deepseek_request_duration_seconds_bucket", **MODEL, le="0.001") == 0
    assert value(metrics, "deepseek_queue_duration_seconds_count", **MODEL) == 2


def test_batches_explanations_flags_and_loading_are_counted() -> None:
    metrics = Metrics()
    metrics.emit(Event("batch", "cancer", "1", num_rows=8, duration_s=0.001))
    metrics.emit(Event("explain", "cancer", "1", num_rows=2, duration_s=0.01))
    metrics.emit(Event("request", "cancer", "1", 200, 1, fields={"flags": {("age", "imputed"): 2}}))
    metrics.emit(Event("model", "cancer", "1", fields={"loaded": True, "digest": "ab"}))
    assert value(metrics, "deepseek_batch_rows_sum", **MODEL) == 8
    assert value(metrics, "deepseek_explained_rows_total", **MODEL) == 2
    assert value(metrics, "deepseek_flagged_values_total", **MODEL, column="age", what="imputed") == 2
    assert value(metrics, "deepseek_model_loaded", **MODEL, digest="ab") == 1


def test_deaths_and_restarts_of_processes_and_files_that_ran_out_are_counted() -> None:
    metrics = Metrics()
    for process in ("engine", "front_end"):
        assert value(metrics, "deepseek_process_deaths_total", process=process) == 0  # a rate needs it before the first
        assert value(metrics, "deepseek_process_restarts_total", process=process) == 0
    for fields in CHANGES:
        metrics.emit(Event("server", fields={"state": "x", **fields}))
    assert value(metrics, "deepseek_process_deaths_total", process="engine") == 2
    assert value(metrics, "deepseek_process_restarts_total", process="engine") == 1
    assert value(metrics, "deepseek_process_deaths_total", process="front_end") == 1
    assert value(metrics, "deepseek_process_restarts_total", process="front_end") == 0
    assert value(metrics, "deepseek_out_of_files_total") == 1


def test_the_exposition_parses_and_speaks_of_the_process() -> None:
    metrics = Metrics()
    metrics.emit(Event("request", 'odd "name"\n', "1", 200, 1))
    names = {family.name for family in text_string_to_metric_families(metrics.exposition().decode())}
    assert {"deepseek_requests", "deepseek_request_duration_seconds", "process_resident_memory_bytes"} <= names


def test_two_servers_in_one_process_do_not_mix() -> None:
    first, second = Metrics(), Metrics()
    first.emit(Event("request", "cancer", "1", 200, 1))
    assert value(second, "deepseek_requests_total", **MODEL, status="200") is None


def test_lines_that_a_log_lost_are_shown() -> None:
    class Log:
        num_lost = 3

    metrics = Metrics()
    metrics.watch_lost("AuditLog", Log())
    assert value(metrics, "deepseek_lost_log_lines", log="AuditLog") == 3
