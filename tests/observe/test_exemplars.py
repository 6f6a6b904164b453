"""Exemplars: which request stands beside a bucket, who is told of it, and a real Prometheus that answers for it."""

from __future__ import annotations

import json
import urllib.parse
from pathlib import Path
from time import perf_counter, time

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from deepseek.contracts import Event
from deepseek.observe.check import fetch_text
from deepseek.observe.merge import merge_openmetrics
from deepseek.observe.metrics import Metrics
from deepseek.observe.rules.rule_file import rule_file
from deepseek.observe.rules.thresholds import read_thresholds
from deepseek.serve.core.accept import prefers
from support.servers.serving import Server, until
from support.servers.watching import needs_prometheus, prometheus

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"


def answered(request_id: str, duration_s: float, **fields: str) -> Event:
    started_s = perf_counter() - duration_s
    marks = tuple(started_s + duration_s * part / 5 for part in range(5))
    fields = {"request_id": request_id} | fields
    return Event("request", "loans", "1", 200, 1, duration_s=duration_s, fields=fields, marks=marks)


def exemplars(text: bytes, name: str) -> dict[str, dict[str, str]]:
    """Of each bucket by its bound: the labels of its exemplar."""
    families = {family.name: family for family in text_string_to_metric_families(text.decode())}
    return {
        sample.labels["le"]: dict(sample.exemplar.labels)
        for sample in families[name].samples
        if sample.name.endswith("_bucket") and sample.exemplar is not None
    }


def test_a_bucket_names_the_last_request_that_fell_into_it_and_a_traced_one_before_others() -> None:
    metrics = Metrics()
    metrics.emit(answered("slow", 0.3))
    metrics.emit(answered("traced", 0.002, traceparent=TRACEPARENT))
    metrics.emit(answered("untraced", 0.002))
    kept = exemplars(metrics.openmetrics(), "deepseek_predict_duration_seconds")
    assert kept == {"0.5": {"request_id": "slow"}, "0.0025": {"trace_id": TRACE, "request_id": "traced"}}


def test_an_exemplar_has_the_time_and_the_length_of_its_request() -> None:
    metrics = Metrics()
    before_s = time()
    metrics.emit(answered("a", 0.3))
    families = {family.name: family for family in text_string_to_metric_families(metrics.openmetrics().decode())}
    (exemplar,) = (s.exemplar for s in families["deepseek_request_duration_seconds"].samples if s.exemplar)
    assert exemplar.value == 0.3
    assert before_s - 0.01 <= float(exemplar.timestamp) <= time() + 0.01


@pytest.mark.parametrize("request_id", ["x" * 65, ""])
def test_a_request_with_nothing_to_look_it_up_by_is_no_exemplar(request_id: str) -> None:
    metrics = Metrics()
    metrics.emit(answered(request_id, 0.3))
    assert exemplars(metrics.openmetrics(), "deepseek_request_duration_seconds") == {}


def test_the_older_form_is_told_without_exemplars() -> None:
    metrics = Metrics()
    metrics.emit(answered("a", 0.3))
    assert b" # {" not in metrics.exposition()
    names = {family.name for family in text_families(metrics.exposition().decode())}
    assert {family.name for family in text_string_to_metric_families(metrics.openmetrics().decode())} <= names


def test_of_several_front_ends_the_sums_are_told_with_the_exemplars_of_the_one_that_answers() -> None:
    own, other = Metrics(), Metrics()
    own.emit(answered("own", 0.3))
    other.emit(answered("other", 0.3))
    text = merge_openmetrics(own.registry, [other.exposition()])
    assert exemplars(text, "deepseek_request_duration_seconds") == {"0.5": {"request_id": "own"}}
    samples = [sample for family in text_string_to_metric_families(text.decode()) for sample in family.samples]
    assert [s.value for s in samples if s.name == "deepseek_request_duration_seconds_count"] == [2]


@pytest.mark.parametrize(
    ("accept", "is_preferred"),
    [
        (OPENMETRICS, True), ("text/plain", False), ("", False), ("*/*", False),
        ("application/openmetrics-text;q=0", False), ("application/openmetrics-text;q=nan", False),
        ("text/plain;q=0.9,application/openmetrics-text;q=0.2", False), (f"{'a/b,' * 2_000}{OPENMETRICS}", False),
    ],
)  # fmt: skip
def test_a_scraper_gets_the_form_that_it_likes_best(accept: str, is_preferred: bool) -> None:
    assert prefers(accept.encode(), b"application/openmetrics-text", b"text/plain") is is_preferred


def test_a_server_answers_in_both_forms(server: Server, loan: dict[str, object]) -> None:
    headers = {"traceparent": TRACEPARENT}
    predicted = httpx.post(f"{server.url}/v1/models/loans:predict", json={"instances": [loan]}, headers=headers)
    assert predicted.headers["traceparent"] == TRACEPARENT
    plain = httpx.get(f"{server.url}/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert plain.headers["vary"] == "accept"
    newer = httpx.get(f"{server.url}/metrics", headers={"accept": OPENMETRICS})
    assert newer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    kept = exemplars(newer.content, "deepseek_predict_duration_seconds").values()
    assert TRACE in {labels.get("trace_id") for labels in kept}


@pytest.mark.slow
@needs_prometheus
def test_a_real_prometheus_answers_for_the_exemplars_of_a_real_server(
    server: Server, loan: dict[str, object], tmp_path: Path
) -> None:
    with prometheus(tmp_path, [server.url], rule_file(read_thresholds([])), feature="exemplar-storage") as base:

        def found() -> set[str]:
            headers = {"traceparent": TRACEPARENT}
            httpx.post(f"{server.url}/v1/models/loans:predict", json={"instances": [loan]}, headers=headers)
            query = {
                "query": "histogram_quantile(0.99, sum by (le) (rate(deepseek_predict_duration_seconds_bucket[1m])))",
                "start": str(time() - 60), "end": str(time() + 1),
            }  # fmt: skip
            answer = json.loads(fetch_text(f"{base}/api/v1/query_exemplars?{urllib.parse.urlencode(query)}"))
            return {
                exemplar["labels"].get("trace_id", "") for series in answer["data"] for exemplar in series["exemplars"]
            }

        until(lambda: TRACE in found(), limit_s=60)
