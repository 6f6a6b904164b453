"""The official client asks a server that keeps what it is asked and answers in the documented form: pages by a point
in time and search_after, within bounds, and errors in words. No Elasticsearch has been asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("elasticsearch")
pytest.importorskip("duckdb")
from deepseek.cli import main
from deepseek.cli.observe.why import command
from deepseek.client.errors import UnreachableError
from deepseek.errors import DeepseekError, InputError, MissingError
from deepseek.observe.elastic.fetch import Span, fetch_lines
from deepseek.observe.elastic.source import ElasticSource, parse_utc, read_api_key
from support.servers.recording import ELASTIC_HEADERS, Answer, Asked, Recorder, recording

START_S = 1_767_225_600.0


def sink(answer: Callable[[Asked], Answer]) -> AbstractContextManager[Recorder]:
    return recording(answer, **ELASTIC_HEADERS)


def searches(record: Recorder) -> list[Any]:
    return [request.json for request in record.requests if request.path.startswith("/_search")]


def failure(status: int, kind: str, reason: str) -> Answer:
    """An error as Elasticsearch's reference shows it."""
    error = {"root_cause": [{"type": kind, "reason": reason}], "type": kind, "reason": reason}
    return status, {"error": error, "status": status}


def holding(documents: list[Any], total: int | None = None) -> Callable[[Asked], Answer]:
    """Pages of these documents, whose place is their second sort value."""

    def answer(request: Asked) -> Answer:
        if "/_pit" in request.path:
            return 200, {"id": "first"} if request.method == "POST" else {"succeeded": True, "num_freed": 1}
        body = request.json
        start = body["search_after"][1] + 1 if "search_after" in body else 0
        page = documents[start : start + body["size"]]
        index = {"_index": "logs-deepseek.requests-default", "_score": None}
        hits = [
            {**index, "_id": str(place), "_source": each, "sort": [0, place]} for place, each in enumerate(page, start)
        ]
        counted = {"total": {"value": len(documents) if total is None else total, "relation": "eq"}}
        shards = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}
        return 200, {
            "pit_id": f"after {start}", "took": 1, "timed_out": False, "_shards": shards,
            "hits": {**counted, "max_score": None, "hits": hits},
        }  # fmt: skip

    return answer


def fetched(record: Recorder, tmp_path: Path, **options: Any) -> tuple[list[Any], float]:
    file = tmp_path / "lines.ndjson"
    share = fetch_lines(ElasticSource(record.url, **options), Span(START_S, START_S + 60), file)
    return [json.loads(line) for line in file.read_bytes().split(b"\n") if line], share


def test_pages_are_asked_for_one_after_another_in_one_point_in_time(tmp_path: Path) -> None:
    documents = [{"@timestamp": "2026-01-01T00:00:00Z", "n": number} for number in range(7)]
    with sink(holding(documents)) as record:
        assert fetched(record, tmp_path, page_rows=3) == (documents, 1.0)
    opened, count, *pages, closed = record.requests
    assert (opened.method, opened.path) == ("POST", "/logs-deepseek.*/_pit?keep_alive=2m")
    assert (closed.method, closed.path, closed.json) == ("DELETE", "/_pit", {"id": "after 6"})
    assert (count.json["size"], count.json["track_total_hits"]) == (0, True)
    bodies = [page.json for page in pages]
    assert [body["pit"]["id"] for body in bodies] == ["first", "after 0", "after 3"]
    assert [body.get("search_after") for body in bodies] == [None, [0, 2], [0, 5]]
    for body in bodies:
        span = body["query"]["range"]["@timestamp"]
        assert (span["gte"], span["lte"]) == (round(START_S * 1e3), round((START_S + 60) * 1e3))
        assert body["sort"] == [{"@timestamp": {"order": "asc"}}, {"_shard_doc": "asc"}]
    assert all("allow_partial_search_results=false" in request.path for request in [count, *pages])


def test_of_very_many_lines_a_share_is_asked_for(tmp_path: Path) -> None:
    with sink(holding([{"n": 1}], total=2_500)) as record:
        assert fetched(record, tmp_path, max_rows=1_000)[1] == pytest.approx(1 / 3)
    assert searches(record)[1]["slice"] == {"id": 0, "max": 3, "field": "@timestamp"}


def test_more_bytes_than_are_allowed_end_the_reading_and_free_the_point_in_time(tmp_path: Path) -> None:
    with sink(holding([{"message": "x" * 1_000}] * 50)) as record, pytest.raises(InputError, match="shorter"):
        fetched(record, tmp_path, max_bytes=10_000, page_rows=5)
    assert record.requests[-1].method == "DELETE"
    assert len(searches(record)) <= 4


def test_a_key_is_sent_and_a_password_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("bXk6a2V5\n")
    with sink(holding([{"n": 1}])) as record:
        fetched(record, tmp_path, api_key=read_api_key(tmp_path / "key"))
        assert {request.headers["authorization"] for request in record.requests} == {"ApiKey bXk6a2V5"}
    assert ElasticSource("https://me:secret@logs:9200").shown_url == "https://logs:9200"


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (failure(401, "security_exception", "missing authentication credentials"), InputError, "--elastic-key-file"),
        (failure(403, "security_exception", "action is unauthorized"), InputError, "refuses"),
        (failure(404, "index_not_found_exception", "no such index [logs-deepseek.*]"), MissingError, "--elastic-index"),
        (failure(429, "circuit_breaking_exception", "Data too large"), UnreachableError, "answers 429"),
        (failure(503, "search_phase_execution_exception", "all shards failed"), UnreachableError, "answers 503"),
        ((200, b"<html>a proxy</html>"), UnreachableError, "does not answer as Elasticsearch"),
        ((200, {"nothing": 1}), UnreachableError, "does not answer as Elasticsearch"),
    ],
)
def test_what_is_refused_is_said_in_words(
    tmp_path: Path, answer: Answer, kind: type[DeepseekError], words: str
) -> None:
    with sink(lambda *_: answer) as record, pytest.raises(kind) as failed:
        fetched(record, tmp_path)
    assert words in f"{failed.value.message} {failed.value.fix}"


def test_another_product_and_nobody_at_all(tmp_path: Path) -> None:
    with sink(holding([{"n": 1}])) as record:
        record.headers["x-elastic-product"] = "OpenSomething"
        with pytest.raises(UnreachableError, match="no Elasticsearch"):
            fetched(record, tmp_path)
    with pytest.raises(UnreachableError, match="does not answer"):
        fetched(record, tmp_path, timeout_s=2.0)


def test_strange_documents_are_passed_over_and_none_is_an_error(tmp_path: Path) -> None:
    strange = [None, 3, "text", [], {"a": {"b": "\ud800\u2028\x00"}}]
    with sink(holding(strange)) as record:
        assert len(fetched(record, tmp_path)[0]) == 1
    with sink(holding([])) as record, pytest.raises(InputError, match="no lines"):
        fetched(record, tmp_path)


@pytest.mark.parametrize("url", ["", "logs:9200", "ftp://logs", "http://", "http://[::", "http://a:99999999"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(InputError, match="no address"):
        ElasticSource(url)


@pytest.mark.parametrize("index", ["", "UPPER", "a b", "../_all", "a/_doc", "a?x=1", "_all", "x" * 300])
def test_an_index_that_is_none(index: str) -> None:
    with pytest.raises(InputError, match="--elastic-index"):
        ElasticSource("http://a:9200", index)


def test_moments_and_keys_that_are_none(tmp_path: Path) -> None:
    assert parse_utc("2026-01-01T00:00:00Z") == parse_utc("2026-01-01T01:00:00+01:00") == START_S
    for text in ("", "yesterday", "9" * 500):
        with pytest.raises(InputError, match="no moment"):
            parse_utc(text)
    for data in (b"", b"a b", b"\xff\xfe", b"x" * 9_000, b"a\nb"):
        (tmp_path / "key").write_bytes(data)
        with pytest.raises(InputError, match="no API key"):
            read_api_key(tmp_path / "key")


def documents_with_a_bad_tenant() -> list[Any]:
    """Lines as Filebeat stores them, of 110 minutes: tenant t4 fails in the last ten."""
    rng = np.random.default_rng(0)
    lines = []
    for second in np.sort(rng.random(2_000)) * 6_600:
        tenant = f"t{rng.integers(8)}"
        is_bad = rng.random() < (0.6 if tenant == "t4" and second > 6_000 else 0.005)
        lines.append(
            {
                "@timestamp": f"{np.datetime64(round((START_S + second) * 1e3), 'ms')}Z", "host": {"name": "node-7"},
                "http": {"response": {"status_code": 503 if is_bad else 200}, "request": {"id": f"r{len(lines)}"}},
                "event": {"duration": 2_000_000}, "user": {"name": tenant}, "service": {"name": "deepseek"},
            }
        )  # fmt: skip
    return lines


def test_why_asks_it_for_the_window_and_its_past(tmp_path: Path) -> None:
    with sink(holding(documents_with_a_bad_tenant())) as record:
        words = ["--elastic", record.url, "--until", "2026-01-01T01:50:00Z", "--past", "100m", "--json"]
        done = CliRunner().invoke(command, words)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["causes"][0]["conditions"] == [{"field": "client", "kind": "is", "value": "t4"}]
    within, exists = searches(record)[0]["query"]["bool"]["filter"]
    span = within["range"]["@timestamp"]
    assert (span["gte"], span["lte"]) == (round(START_S * 1e3), round((START_S + 6_600) * 1e3))
    assert exists == {"exists": {"field": "http.response.status_code"}}  # lines of machines are no requests


def test_what_machines_said_is_asked_for_too(tmp_path: Path) -> None:
    requests = [
        {
            "@timestamp": f"{np.datetime64(round((START_S + 3.3 * number) * 1e3), 'ms')}Z", "host": {"name": "node-7"},
            "http": {"response": {"status_code": 503 if 6_300 < 3.3 * number < 6_350 else 200}},
        }
        for number in range(2_000)
    ]  # fmt: skip
    killed = {
        "@timestamp": "2026-01-01T01:45:00.000Z", "host": {"hostname": "node-7"}, "systemd": {"transport": "kernel"},
        "message": "Out of memory: Killed process 4242 (python) total-vm:9132kB", "syslog": {"identifier": "kernel"},
    }  # fmt: skip
    pits: dict[str, list[Any]] = {}

    def answer(search_request: Asked) -> Answer:
        if search_request.path.endswith("/_pit?keep_alive=2m"):
            pits[search_request.path] = requests if "/logs-deepseek.*/" in search_request.path else [killed]
            return 200, {"id": search_request.path}
        if search_request.path == "/_pit":
            return 200, {"succeeded": True, "num_freed": 1}
        status, document = holding(pits[search_request.json["pit"]["id"]])(search_request)
        return status, {**document, "pit_id": search_request.json["pit"]["id"]}

    with sink(answer) as record:
        words = ["--elastic", record.url, "--until", "2026-01-01T01:50:00Z", "--past", "100m", "--json"]
        done = CliRunner().invoke(command, words)
    assert done.exit_code == 0, done.output
    first = json.loads(done.stdout)["causes"][0]["title"]
    assert first == "after the kernel killed python (pid 4242) for want of memory on node-7 at 01:45:00"
    assert {path.split("/")[1] for path in pits} == {
        "logs-deepseek.*",
        "logs-deepseek.journal-*,logs-deepseek.syslog-*",
    }


def test_why_says_that_nobody_answers_with_exit_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["observe", "why", "--elastic", "http://127.0.0.1:9"]) == 3
    assert "does not answer" in capsys.readouterr().err
