"""The table of metrics is what a real server tells, and everything that reads metrics reads those of the table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from cryptography import x509
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from deepseek.contracts import Event
from deepseek.features import FeatureStore
from deepseek.observe.dashboards.panels import DASHBOARDS
from deepseek.observe.metrics import Metrics
from deepseek.observe.metrics_labels import LABELS, MAX_ANSWER_LABELS
from deepseek.observe.metrics_models import AnswerCounts
from deepseek.observe.metrics_status import CertificateCollector, DiskCollector, MemoryCollector, StateCollector
from deepseek.observe.metrics_table import METRICS, find_metric, metrics_in
from deepseek.observe.rules.rule_file import ALERTS
from deepseek.observe.rules.thresholds import THRESHOLDS, read_thresholds
from support.servers.cards import columns_of, definition, payments
from support.servers.certificates import make_certificate
from support.servers.serving import Server

MODEL = {"model_name": "loans", "model_version": "1"}
CREATED = "_created"  # beside counters: when the library made them


def families_of(text: str) -> Mapping[str, Family]:
    return {family.name: family for family in text_string_to_metric_families(text) if not family.name.endswith(CREATED)}


def check_against_table(families: Mapping[str, Family]) -> None:
    table = {metric.family: metric for metric in METRICS}
    assert families.keys() <= table.keys(), families.keys() - table.keys()
    for name, family in families.items():
        assert (family.type, family.documentation) == (table[name].kind, table[name].meaning) or name.startswith(
            "process_"
        )
        assert {frozenset(sample.labels.keys() - {"le"}) for sample in family.samples} <= {
            frozenset(table[name].labels)
        }


def test_a_server_tells_what_the_table_says(server: Server, loan: dict[str, Any]) -> None:
    url = server.url
    body = {"instances": [loan]}
    for _ in range(3):
        assert httpx.post(f"{url}/v1/models/loans:predict", json=body).status_code == 200
    assert httpx.post(f"{url}/v1/models/loans:explain", json=body).status_code == 200
    assert httpx.post(f"{url}/v1/models/loans:predict", json={"instances": [{}, 1]}).status_code >= 400
    families = families_of(httpx.get(f"{url}/metrics").text)
    check_against_table(families)
    silent = [m.name for m in METRICS if not m.needs and not (m.family in families and families[m.family].samples)]
    assert silent == []
    values = {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families.values() for s in f.samples}

    def value(name: str, **labels: str) -> float:
        return values[name, tuple(sorted((MODEL | labels).items()))]

    answered = sum(value("deepseek_answers_total", label=label) for label in ("no", "yes"))
    assert answered == value("deepseek_answer_confidence_count") >= 3
    assert value("deepseek_explain_requests_total", status="200") >= 1
    counts = {value("deepseek_stage_duration_seconds_count", stage=stage) for stage in ("decode", "wait", "encode")}
    assert len(counts) == 1
    assert counts.pop() >= 3
    assert value("deepseek_model_engines_info", engines="onnxruntime") == 1
    assert value("deepseek_model_created_timestamp_seconds") == 1767225600  # 2026-01-01, as the bundle says


def test_parts_of_a_request_add_up_to_it() -> None:
    metrics = Metrics()
    marks = (10.0, 10.001, 10.003, 10.006, 10.010)
    metrics.emit(Event("request", "loans", "1", 200, 1, duration_s=0.015, fields={}, marks=marks))
    took = {
        stage: metrics.registry.get_sample_value("deepseek_stage_duration_seconds_sum", MODEL | {"stage": stage})
        for stage in ("decode", "prepare", "wait", "compute", "encode")
    }
    assert np.allclose(list(took.values()), [0.001, 0.002, 0.003, 0.004, 0.005])


def test_answers_are_counted_by_the_models_own_decision_and_bounded() -> None:
    labels = tuple(f"class {number}" for number in range(MAX_ANSWER_LABELS + 5))
    counts = AnswerCounts(labels, lambda output: output.argmax(axis=1))
    chances = np.full((len(labels) + 1, len(labels)), 0.0, np.float32)
    chances[np.arange(len(labels)), np.arange(len(labels))] = 0.75
    chances[-1, 0] = np.nan  # refused, not answered
    counts.add(chances)
    counts.count()
    by_label = dict(counts.by_label())
    assert len(by_label) == MAX_ANSWER_LABELS + 1
    assert by_label["other"] == 5
    assert counts.confidence.total == 0.75 * len(labels)


def test_a_stream_a_certificate_and_the_machine_are_told(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    (tmp_path / "cert.pem").write_bytes(make_certificate(0, 30)[0])
    records = payments(20)
    with FeatureStore.open(tmp_path / "state", definition()) as store:
        store.score(columns_of(records))
        store.flush()
        for collector in (
            CertificateCollector(tmp_path / "cert.pem"), DiskCollector({"state": tmp_path, "log": tmp_path / "gone"}),
            MemoryCollector(), StateCollector(store),
        ):  # fmt: skip
            registry.register(collector)
        families = families_of(generate_latest(registry).decode())
    check_against_table(families)

    def value(name: str, **labels: str) -> float:
        return next(sample.value for sample in families[name].samples if sample.labels == labels)

    accepted = next(
        s.value for s in families["deepseek_state_events"].samples if s.labels["event_status"] == "accepted"
    )
    assert accepted == 20
    assert value("deepseek_state_latest_event_timestamp_seconds") == records[-1]["time"]
    assert value("deepseek_state_disk_bytes", kind="log") > 0
    assert [s.labels["volume"] for s in families["deepseek_disk_free_bytes"].samples] == [
        "state"
    ]  # not the one that is gone
    assert 0 < value("deepseek_disk_free_bytes", volume="state") <= value("deepseek_disk_size_bytes", volume="state")
    assert 0 < value("deepseek_memory_bytes") <= value("deepseek_memory_limit_bytes")
    expiry = x509.load_pem_x509_certificate((tmp_path / "cert.pem").read_bytes()).not_valid_after_utc.timestamp()
    assert value("deepseek_certificate_expiry_timestamp_seconds") == expiry


def test_memory_of_a_container_is_told_without_what_the_kernel_would_give_back(tmp_path: Path) -> None:
    for name, text in (
        ("memory.max", "1000\n"),
        ("memory.current", "700\n"),
        ("memory.stat", "anon 5\ninactive_file 200\n"),
    ):
        (tmp_path / name).write_text(text)
    families = {family.name: family.samples[0].value for family in MemoryCollector(cgroup=tmp_path).collect()}
    assert families == {"deepseek_memory_bytes": 500, "deepseek_memory_limit_bytes": 1000}


def test_every_label_says_what_bounds_it() -> None:
    assert {label for metric in METRICS for label in metric.labels} == LABELS.keys()
    assert len(METRICS) == len({metric.name for metric in METRICS}) >= 40


def test_every_metric_is_shown_or_alarmed_and_nothing_else_is_read() -> None:
    thresholds = read_thresholds([])
    shown = {metric for dashboard in DASHBOARDS.values() for panel in dashboard.panels for metric in panel.metrics}
    alarmed = {metric for alert in ALERTS for metric in metrics_in(alert.expression(thresholds))}
    of_python = {metric for metric in METRICS if metric.name.startswith("process_")}
    assert set(METRICS) - shown - alarmed - of_python == {find_metric("deepseek_front_ends")}
    assert {name for alert in ALERTS for name in alert.thresholds} == THRESHOLDS.keys()
    with pytest.raises(KeyError):
        metrics_in("rate(deepseek_no_such_total[5m])")


def test_every_name_in_the_expressions_of_an_alert_is_set_by_its_tests() -> None:
    for alert in ALERTS:
        read = {metric.name for metric in metrics_in(alert.expression(read_thresholds([])))}
        tested = {metric.name for signal in alert.signals for metric in metrics_in(signal.series)}
        assert read == tested, alert.name
