"""What ships log lines: files that agree with the lines of a server and with each other, put in place by curl, and
lines that a real rsyslog ships. Neither Filebeat nor Elasticsearch nor Kibana has run."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deepseek.contracts import Event
from deepseek.observe.logs import AccessLog
from deepseek.observe.shipping.elasticsearch import index_template, ingest_pipeline, life_cycle_policy
from deepseek.observe.shipping.fields import DATASETS, FIELD_NAMES, LOG_FIELDS, NAME, data_stream
from deepseek.observe.shipping.files import BODIES, OBJECTS, SETUP, log_files
from deepseek.observe.shipping.kibana import PICTURES, SEARCHES
from deepseek.observe.shipping.shippers import filebeat_config, rsyslog_config
from support.servers.recording import ELASTIC_HEADERS, Answer, Asked, Recorder, recording
from support.servers.serving import until

pytest.importorskip("yaml")
#: Types of the fields of ECS (generated/ecs/ecs_flat.yml of its release 9), as far as lines here have them.
ECS_TYPES = {
    "@timestamp": "date", "log.level": "keyword", "event.action": "keyword", "event.outcome": "keyword",
    "event.duration": "long", "http.request.id": "keyword", "http.request.method": "keyword",
    "http.response.status_code": "long", "service.name": "keyword", "user.name": "keyword", "trace.id": "keyword",
    "span.id": "keyword", "error.code": "keyword", "error.stack_trace": "wildcard", "message": "match_only_text",
    "host.name": "keyword", "container.id": "keyword", "container.name": "keyword", "process.name": "keyword",
    "process.pid": "long", "log.file.path": "keyword", "log.syslog.priority": "long", "log.syslog.appname": "keyword",
    "event.dataset": "keyword", "event.ingested": "date", "error.message": "match_only_text", "ecs.version": "keyword",
}  # fmt: skip
FIELDS = {
    "route": "/v1/models/M:predict", "method": "POST", "request_id": "order-17", "digest": "abc", "client": "bank",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "flags": {("age", "imputed"): 1},
    "error": "input", "traceback": "Traceback ...",
}  # fmt: skip
EVENTS = (
    Event("request", "loans", "1", 500, num_rows=2, duration_s=0.0015, queue_s=0.0005, fields=FIELDS),
    Event("model", "loans", "1", fields={"loaded": True, "digest": "ab"}),
    Event("server", fields={"state": "an engine process died", "engine_pid": 7, "process": "engine", "change": "died"}),
    Event("server", fields={"warning": "the certificate expires", "state": "x", "error": "why"}),
)


def server_lines() -> bytes:
    stream = io.BytesIO()
    log = AccessLog("debug", stream)
    for event in EVENTS:
        log.emit(event)
    log.close()
    return stream.getvalue()


def leaves(document: dict[str, Any], above: str = "") -> Iterator[str]:
    for key, value in document.items():
        name = f"{above}.{key}" if above else key
        if isinstance(value, dict) and name != "deepseek.flagged":
            yield from leaves(value, name)
        else:
            yield name


def test_every_field_of_a_servers_lines_is_in_the_table_and_has_the_schemas_type() -> None:
    logged_names = {name for line in server_lines().splitlines() for name in leaves(json.loads(line))}
    assert logged_names - FIELD_NAMES == {
        "deepseek.digest"
    }  # of the model's own event, where its request has model.digest
    assert {each.name: each.kind for each in LOG_FIELDS if each.is_ecs} == ECS_TYPES
    assert len(FIELD_NAMES) == len(LOG_FIELDS)


def test_the_template_maps_every_field_and_lets_no_line_add_one() -> None:
    template = index_template()
    mappings = template["template"]["mappings"]
    assert mappings["dynamic"] == "false"

    def mapped(properties: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
        for key, value in properties.items():
            if "properties" in value:
                yield from mapped(value["properties"], f"{above}{key}.")
            else:
                yield f"{above}{key}", value["type"]

    assert dict(mapped(mappings["properties"])) == {each.name: each.kind for each in LOG_FIELDS}
    patterns = [re.compile(pattern.replace(".", r"\.").replace("*", ".*")) for pattern in template["index_patterns"]]
    assert all(any(pattern.fullmatch(data_stream(dataset)) for pattern in patterns) for dataset in DATASETS)
    index = template["template"]["settings"]["index"]
    assert (index["default_pipeline"], index["lifecycle"]["name"]) == (NAME, NAME)
    assert {path.rpartition("/")[2] for path in BODIES.values()} == {NAME}
    assert life_cycle_policy()["policy"]["phases"].keys() == {"hot", "delete"}


def test_the_pipeline_keeps_a_line_that_fails_and_stores_a_place_in_a_file_once() -> None:
    pipeline = ingest_pipeline()
    steps = {name: step for processor in pipeline["processors"] for name, step in processor.items()}
    assert steps["fingerprint"]["target_field"] == "_id"
    assert "@timestamp" in steps["fingerprint"]["fields"]  # a rotated file has the same places again
    assert pipeline["on_failure"][0]["set"]["field"] == "error.message"


def test_kibanas_objects_refer_to_each_other_and_read_fields_of_the_table() -> None:
    objects = [json.loads(line) for line in log_files()[OBJECTS].splitlines()]
    seen: set[tuple[str, str]] = set()
    for each in objects:
        assert all((reference["type"], reference["id"]) in seen for reference in each["references"]), each["id"]
        seen.add((each["type"], each["id"]))
        source = each["attributes"].get("kibanaSavedObjectMeta")
        if source and each["type"] != "dashboard":
            (name,) = (reference["name"] for reference in each["references"])
            assert json.loads(source["searchSourceJSON"])["indexRefName"] == name
    assert len(seen) == len(objects) == 2 + len(SEARCHES) + len(PICTURES)
    read = {column for search in SEARCHES for column in search.columns} | {picture.split for picture in PICTURES} - {""}
    for query in [each.query for each in (*SEARCHES, *PICTURES)]:
        read |= set(re.findall(r"([a-z@][\w.]*) *(?::|>=|<)", query))
    assert read <= FIELD_NAMES


def test_the_dashboards_panels_are_beside_each_other_and_each_is_an_object() -> None:
    dashboard = json.loads(log_files()[OBJECTS].splitlines()[-1])
    panels = json.loads(dashboard["attributes"]["panelsJSON"])
    names = {reference["name"] for reference in dashboard["references"]}
    assert {f"{panel['panelIndex']}:{panel['panelRefName']}" for panel in panels} == names
    cells = [
        (x, panel["gridData"]["y"]) for panel in panels
        for x in range(panel["gridData"]["x"], panel["gridData"]["x"] + panel["gridData"]["w"])
    ]  # fmt: skip
    assert len(cells) == len(set(cells))
    assert all(0 <= x < 48 for x, _ in cells)


def test_filebeat_writes_into_streams_that_the_template_is_for() -> None:
    config = filebeat_config()
    inputs = config["filebeat.inputs"]
    assert len({each["id"] for each in inputs}) == len(inputs)
    assert {each["index"] for each in inputs} == {data_stream(dataset) for dataset in DATASETS}
    assert config["setup.template.enabled"] is config["setup.ilm.enabled"] is False  # the template is ours
    assert "queue.disk.max_size" in config


@contextmanager
def setting_up(
    folder: Path, answer: Answer, **environ: str
) -> Iterator[tuple[Recorder, subprocess.CompletedProcess[str]]]:
    for name, text in log_files().items():
        (folder / name).write_text(text)
    with recording(lambda _: answer) as record:
        urls = {"ELASTIC_URL": record.url, "KIBANA_URL": f"{record.url}/kibana", "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            ["sh", str(folder / SETUP)], env=urls | environ, capture_output=True, text=True, check=False, timeout=60
        )
        yield record, done


needs_curl = pytest.mark.skipif(shutil.which("curl", path="/usr/bin:/bin") is None, reason="curl is missing")


@needs_curl
def test_the_script_puts_all_of_it_in_place(tmp_path: Path) -> None:
    with setting_up(tmp_path, (200, {"acknowledged": True}), ELASTIC_API_KEY="a2V5") as (record, done):
        assert done.returncode == 0, done.stderr
        *puts, imported = record.requests
        assert [(request.method, request.path) for request in puts] == [("PUT", f"/{path}") for path in BODIES.values()]
        assert [request.json for request in puts] == [life_cycle_policy(), ingest_pipeline(), index_template()]
        assert {request.headers["authorization"] for request in record.requests} == {"ApiKey a2V5"}
        assert imported.path == "/kibana/api/saved_objects/_import?overwrite=true"
        assert imported.headers["kbn-xsrf"] == "true"
        assert log_files()[OBJECTS].encode() in imported.body


@needs_curl
def test_the_script_ends_where_something_is_refused_and_says_what(tmp_path: Path) -> None:
    refusal = {"error": {"type": "security_exception", "reason": "missing authentication credentials"}, "status": 401}
    with setting_up(tmp_path, (401, refusal)) as (record, done):
        assert done.returncode == 3
        assert "security_exception" in done.stdout
        assert "refused" in done.stderr
        assert len(record.requests) == 1


def test_the_official_client_sends_the_same_bodies(tmp_path: Path) -> None:
    elasticsearch = pytest.importorskip("elasticsearch")
    with recording(lambda _: (200, {"acknowledged": True}), **ELASTIC_HEADERS) as record:
        client = elasticsearch.Elasticsearch(record.url)
        client.ilm.put_lifecycle(name=NAME, **life_cycle_policy())
        client.ingest.put_pipeline(id=NAME, **ingest_pipeline())
        template = {"meta" if key == "_meta" else key: value for key, value in index_template().items()}
        client.indices.put_index_template(name=NAME, **template)
        client.close()
        assert [request.path for request in record.requests] == [f"/{path}" for path in BODIES.values()]
        assert [request.json for request in record.requests] == [
            life_cycle_policy(),
            ingest_pipeline(),
            index_template(),
        ]


def bulk_answer(request: Asked) -> Answer:
    """As Elasticsearch's reference shows it: an item for each line."""
    items = [{"create": {"_index": "x", "_id": "1", "status": 201, "result": "created"}}] * (len(request.lines) // 2)
    return 200, {"took": 1, "errors": False, "items": items}


def has_rsyslog() -> bool:
    modules = Path("/usr/lib").glob("*/rsyslog/omelasticsearch.so")
    return shutil.which("rsyslogd", path="/usr/sbin:/usr/bin") is not None and any(modules)


@contextmanager
def shipping(folder: Path, port: int) -> Iterator[Path]:
    """A real rsyslog with the exported configuration, which ships the file that is given."""
    log, work = folder / "server.ndjson", folder / "work"
    work.mkdir(exist_ok=True)
    (folder / "rsyslog.conf").write_text(rsyslog_config(str(log), "127.0.0.1", port, str(work)))
    command = ["/usr/sbin/rsyslogd", "-n", "-f", str(folder / "rsyslog.conf"), "-i", str(folder / "pid")]
    with (folder / "rsyslog.log").open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        yield log
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


needs_rsyslog = pytest.mark.skipif(not has_rsyslog(), reason="rsyslog-elasticsearch is missing: make setup brings it")


def shipped_documents(record: Recorder) -> list[dict[str, Any]]:
    bulks = [request.lines for request in record.requests if request.path == "/_bulk"]
    return [document for bulk in bulks for document in bulk[1::2]]


@needs_rsyslog
def test_a_real_rsyslog_ships_every_line_once_and_as_it_is(tmp_path: Path) -> None:
    hostile = [
        '{"metadata": {"filename": "/etc/passwd"}}',
        '{"a":"\\u2028 \\" \\\\ %msg%"}',
        'Traceback (most recent "call"):',
        '{"broken": ',
    ]
    text = server_lines() + "\n".join([*hostile, '{"long":"' + "x" * 100_000 + '"}']).encode() + b"\n"
    with recording(bulk_answer) as record, shipping(tmp_path, record.port) as log:
        log.write_bytes(text)
        lines = text.decode().splitlines()
        until(lambda: len(shipped_documents(record)) >= len(lines), limit_s=40)
        heads = [
            head["create"] for request in record.requests if request.path == "/_bulk" for head in request.lines[::2]
        ]
        assert {head["_index"] for head in heads} == {data_stream("deepseek.server")}
        assert len({head["_id"] for head in heads}) == len(lines)
        shipped = shipped_documents(record)
        assert len({document["host.name"] for document in shipped}) == 1
        whole = [
            {key: value for key, value in each.items() if key != "host.name"}
            for each in shipped
            if "message" not in each
        ]
        texts = {each["message"] for each in shipped if "message" in each}
        assert texts == set(hostile[2:])  # what is no object of JSON is shipped as a message
        for line in lines:
            assert line in texts or json.loads(line) in whole


@pytest.mark.slow
@needs_rsyslog
def test_lines_wait_for_a_server_that_is_away(tmp_path: Path) -> None:
    with recording(bulk_answer) as before:
        port = before.port
    with shipping(tmp_path, port) as log:
        log.write_bytes(server_lines())
        until(lambda: "omelasticsearch" in (tmp_path / "rsyslog.log").read_text(), limit_s=30)  # it was refused
        with recording(bulk_answer, port=port) as record:
            until(lambda: len(shipped_documents(record)) >= len(EVENTS), limit_s=60)
            assert {document["event.action"] for document in shipped_documents(record)} >= {"server", "model"}
