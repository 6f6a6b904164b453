"""Events of machines: each form is read, what no kernel wrote is none, and `why` names one as the cause."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from deepseek.cli.observe.why import command
from deepseek.errors import InputError, MissingError
from deepseek.observe.reading.tables import ReadLimits, open_logs
from deepseek.observe.system import sources
from deepseek.observe.system.events import MAX_MESSAGE, MAX_SUBJECT, SYSTEM_FIELD, SystemEvent, event_words
from deepseek.observe.system.joining import join_events, merge_events
from deepseek.observe.system.sources import SystemEvents, read_events
from support.servers.serving import until

pytest.importorskip("duckdb")
START_S = 1_767_261_600.0  # 2026-01-01 10:00 UTC
KILL = "Memory cgroup out of memory: Killed process 4242 (python) total-vm:9132kB, anon-rss:8000kB, UID:10001"
ID = "0123456789ab" + "c" * 52


def journal(message: Any, *, transport: str = "kernel", after_s: float = 0.0, **fields: Any) -> dict[str, Any]:
    """An entry as `journalctl -o json` writes it."""
    return {
        "__REALTIME_TIMESTAMP": str(round((START_S + after_s) * 1e6)), "_HOSTNAME": "node-7", "_TRANSPORT": transport,
        "SYSLOG_IDENTIFIER": "kernel", "MESSAGE": message, "PRIORITY": "3", **fields,
    }  # fmt: skip


def container(action: str, **attributes: str) -> dict[str, Any]:
    """An event as `docker events` writes it."""
    return {
        "status": action, "id": ID, "Type": "container", "Action": action,
        "Actor": {"ID": ID, "Attributes": {"name": "model-server", "image": "deepseek/model-server", **attributes}},
        "scope": "local", "time": round(START_S), "timeNano": round(START_S * 1e9),
    }  # fmt: skip


def kubernetes(reason: str, kind: str = "Pod", name: str = "bert-6d4f", **fields: Any) -> dict[str, Any]:
    """An event as `kubectl get events` writes it."""
    return {
        "kind": "Event", "apiVersion": "v1", "reason": reason, "message": "because", "type": "Warning",
        "metadata": {"creationTimestamp": "2026-01-01T10:00:00Z"}, "lastTimestamp": "2026-01-01T10:00:00Z",
        "involvedObject": {"kind": kind, "name": name}, "source": {"component": "kubelet", "host": "node-7"}, **fields,
    }  # fmt: skip


def read(tmp_path: Path, *lines: Any, name: str = "system.log") -> SystemEvents:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path = tmp_path / name
    path.write_text("\n".join(texts) + "\n")
    return read_events([path])


def told(tmp_path: Path, *lines: Any) -> list[tuple[str, str, str]]:
    return [(event.kind, event.host, event.subject) for event in read(tmp_path, *lines).events]


@pytest.mark.parametrize(
    ("message", "kind", "subject"),
    [
        (KILL, "oom_kill", "python (pid 4242)"),
        ("Out of memory: Killed process 9 (a b)", "oom_kill", "a b (pid 9)"),
        ("python[77]: segfault at 0 ip 00007f sp 00007f error 4 in libx.so", "crash", "python (pid 77)"),
        ("NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus.", "gpu_fault", "PCI:0000:3b:00"),
        ("blk_update_request: I/O error, dev sda, sector 0", "disk_error", "sda"),
        ("CPU3: Core temperature above threshold, cpu clock throttled", "throttled", "CPU3"),
    ],
)
def test_the_kernels_messages_are_read_from_the_journal_and_from_syslog(
    tmp_path: Path, message: str, kind: str, subject: str
) -> None:
    assert told(tmp_path, journal(message)) == [(kind, "node-7", subject)]
    iso = f"2026-01-01T10:00:00.250+00:00 node-7 kernel: [12345.678901] {message}"
    assert told(tmp_path, iso, f"<3>Jan  1 10:00:00 node-7 kernel: {message}") == [(kind, "node-7", subject)] * 2


def test_what_a_program_says_that_is_not_the_kernel_is_no_event(tmp_path: Path) -> None:
    """A client may make a server log anything."""
    assert told(tmp_path, f"<11>Jan  1 10:00:00 node-7 kernel: {KILL}") == []  # of facility 1, users
    forged = journal(KILL, transport="stdout", SYSLOG_IDENTIFIER="kernel")
    assert (
        told(
            tmp_path, forged, f"Jan  1 10:00:00 node-7 myapp[3]: {KILL}", f"Jan  1 10:00:00 node-7 app: kernel: {KILL}"
        )
        == []
    )


def test_the_service_manager_and_containers_and_kubernetes_are_read(tmp_path: Path) -> None:
    manager = {"transport": "journal", "SYSLOG_IDENTIFIER": "systemd"}
    lines = [
        journal("deepseek.service: Main process exited, code=killed, status=9/KILL", **manager),
        journal("deepseek.service: Failed with result 'oom-kill'.", **manager),
        journal("System clock was stepped by 3.2 seconds", transport="syslog", SYSLOG_IDENTIFIER="chronyd"),
        container("oom"), container("die", exitCode="137"), container("die", exitCode="0"), container("start"),
        container("health_status: unhealthy"), container("health_status: healthy"),
        kubernetes("Evicted"), kubernetes("Scheduled"), kubernetes("NodeNotReady", "Node", "node-9"),
    ]  # fmt: skip
    assert told(tmp_path, *lines) == [
        ("killed", "node-7", "deepseek.service"), ("oom_kill", "node-7", "deepseek.service"),
        ("clock_step", "node-7", "node-7"), ("oom_kill", ID[:12], "container model-server"),
        ("killed", ID[:12], "container model-server"), ("unhealthy", ID[:12], "container model-server"),
        ("evicted", "bert-6d4f", "pod bert-6d4f"), ("node_lost", "node-9", "node node-9"),
    ]  # fmt: skip


def test_the_journal_is_read_as_filebeat_writes_it_and_a_forged_line_is_none(tmp_path: Path) -> None:
    def line(transport: str | None, program: str, host: Any = "node-7") -> dict[str, Any]:
        more = {} if transport is None else {"systemd": {"transport": transport}}
        return {
            "@timestamp": "2026-01-01T10:00:00.000Z", "message": KILL, "host": {"hostname": host},
            "log": {"syslog": {"appname": program}}, **more,
        }  # fmt: skip

    forged, request = line("stdout", "kernel"), {"@timestamp": "2026-01-01T10:00:00Z", "http": {}}
    odd = [
        {"@timestamp": "never", "message": "x"},
        {**line("kernel", "x"), "systemd": 3},
        {**line("kernel", "x"), "host": []},
    ]
    events = read(tmp_path, line("kernel", "x"), line(None, "kernel"), forged, line(None, "app"), request, *odd)
    assert [(event.kind, event.host) for event in events.events[:2]] == [("oom_kill", "node-7")] * 2
    assert all(event.host == "" for event in events.events[2:])  # of a host that is none
    assert events.num_broken == 2


def test_a_document_of_kubernetes_is_read_whole_and_in_one_line(tmp_path: Path) -> None:
    document = {
        "kind": "List",
        "items": [kubernetes("Evicted"), kubernetes("OOMKilling", "Node", "node-7"), {"reason": "Evicted"}],
    }
    for number, indent in enumerate((2, None)):
        path = tmp_path / f"events{number}.json"
        path.write_text(json.dumps(document, indent=indent))
        events = read_events([path])
        assert [event.kind for event in events.events] == ["evicted", "oom_kill"]
        assert (events.num_lines, events.num_broken) == (3, 1)


def test_a_container_of_the_kernels_is_known_by_its_own_host_name(tmp_path: Path) -> None:
    group = f"/system.slice/docker-{ID}.scope"
    line = f"oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg={group},task=python,pid=4242,uid=10001"
    (event,) = read(tmp_path, journal(line)).events
    assert event.hosts == ("node-7", ID[:12])


def test_a_time_without_a_year_is_the_last_one_before_the_file_was_written(tmp_path: Path) -> None:
    path = tmp_path / "syslog"
    path.write_text(
        f"Dec 31 23:59:59 a kernel: {KILL}\nJan  1 00:00:01 a kernel: {KILL}\nFeb 30 00:00:00 a kernel: {KILL}\n"
    )
    import os

    os.utime(path, (START_S, START_S))
    events = read_events([path])
    assert events.events[1].time_s - events.events[0].time_s == 2
    assert abs(events.events[0].time_s - START_S) < 86_400
    assert events.num_broken == 1


def test_hostile_lines_are_counted_and_harm_nothing(tmp_path: Path) -> None:
    bytes_ = list(b"\xff\xfe" + KILL.encode() + b"\x1b[31m")
    good = journal(bytes_)
    lines = [
        good, "{", "[]", "null", "[" * 100_000, '{"__REALTIME_TIMESTAMP": "never"}', '{"__REALTIME_TIMESTAMP": "9e99"}',
        {"__REALTIME_TIMESTAMP": "1", "MESSAGE": {"a": 1}}, {"status": "oom", "time": "soon"}, {"Action": ["oom"]},
        {"Type": "container", "Action": "die", "Actor": "x", "time": 1}, {"kind": "Event", "reason": "Evicted"},
        {"items": 3}, "no line of syslog at all", "\x00\x00", "a" * 200_000,
    ]  # fmt: skip
    events = read(tmp_path, *lines)
    (event,) = events.events
    assert event.subject == "python (pid 4242)"
    assert event.message.isprintable()
    assert len(event.message) <= MAX_MESSAGE
    assert events.num_broken >= 11
    long_name = journal(f"Out of memory: Killed process 1 ({'x' * 64})", _HOSTNAME="h" * 100_000)
    (event,) = read(tmp_path, long_name).events
    assert len(event.host) <= 120
    assert len(event.subject) <= MAX_SUBJECT


def test_files_that_break_off_or_hold_nothing_known_or_are_not_there(tmp_path: Path) -> None:
    packed = gzip.compress(json.dumps(journal(KILL)).encode() + b"\n" + b"\n".join([b"x" * 50] * 5_000))
    (tmp_path / "journal.ndjson.gz").write_bytes(packed[: len(packed) - 20])
    (tmp_path / "empty").write_text("")
    assert [event.kind for event in read_events([tmp_path]).events] == ["oom_kill"]
    with pytest.raises(InputError, match="form that is known"):
        read(tmp_path, "one", "two", name="other")
    with pytest.raises(MissingError, match="no such file"):
        read_events([tmp_path / "gone"])


def test_memory_is_bounded_whatever_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_EVENTS", 10)
    monkeypatch.setattr(sources, "MAX_LINE_BYTES", 4_096)
    lines = [journal(KILL, after_s=number) for number in range(35)]
    events = read(tmp_path, *lines, "x" * 50_000, journal(KILL, after_s=99))
    assert [event.time_s - START_S for event in events.events] == [*range(26, 35), 99]
    assert events.num_dropped == 26
    monkeypatch.setattr(sources, "MAX_DOCUMENT_BYTES", 1_000)
    path = tmp_path / "events.json"
    path.write_text(json.dumps({"items": [kubernetes("Evicted")] * 9}, indent=1))
    with pytest.raises(InputError, match="field-selector"):
        read_events([path])


def test_what_belongs_together_is_told_once_by_its_worst_part() -> None:
    def event(time_s: float, kind: Any, host: str = "a") -> SystemEvent:
        return SystemEvent(time_s, host, kind, "x", "")

    parts = [event(103, "restarted"), event(100, "killed"), event(101, "oom_kill"), event(101, "killed", "b")]
    later = event(140, "restarted")
    assert [(each.time_s, each.kind, each.host) for each in merge_events([*parts, later])] == [
        (100, "oom_kill", "a"), (101, "killed", "b"), (140, "restarted", "a")
    ]  # fmt: skip


def test_every_sentence_has_what_to_do() -> None:
    from deepseek.observe.system.events import WORDS

    for kind, (_, action) in WORDS.items():
        words = event_words(SystemEvent(START_S, "a", kind, "python (pid 1)", "").sentence)
        assert words is not None
        assert words[1] == action
        assert words[0].zh.startswith("10:00:00 a 上")
        assert "python (pid 1)" in words[0].zh
    for text in ("", "the kernel killed", "x" * 10_000):
        assert event_words(text) is None


@pytest.mark.skipif(
    not (shutil.which("rsyslogd", path="/usr/sbin:/usr/bin") and shutil.which("logger")), reason="rsyslog is missing"
)
def test_files_that_a_real_rsyslog_writes_are_read(tmp_path: Path) -> None:
    socket, formats = tmp_path / "socket", {"TraditionalFileFormat": "messages", "FileFormat": "syslog"}
    actions = "\n".join(
        f'action(type="omfile" file="{tmp_path / "out" / name}" template="RSYSLOG_{form}")'
        for form, name in formats.items()
    )
    (tmp_path / "conf").write_text(
        f'module(load="imuxsock" SysSock.Use="off")\ninput(type="imuxsock" Socket="{socket}")\n{actions}\n'
    )
    command = ["/usr/sbin/rsyslogd", "-n", "-f", str(tmp_path / "conf"), "-i", str(tmp_path / "pid")]
    process = subprocess.Popen(command)
    try:
        until(socket.exists)
        for tag, text in (
            ("kernel", KILL),
            ("systemd", "deepseek.service: Main process exited, code=killed, status=9"),
        ):
            subprocess.run(["logger", "-u", str(socket), "-t", tag, text], check=True)
        written = [tmp_path / "out" / name for name in formats.values()]
        until(lambda: all(path.exists() and path.read_text().count("\n") == 2 for path in written))
        process.terminate()
        process.wait(20)
    finally:
        process.kill()
    before_s = time.time()
    for path in written:
        events = read_events([path])
        assert [event.kind for event in events.events] == ["oom_kill", "killed"]
        assert all(abs(event.time_s - before_s) < 3_600 for event in events.events)
        assert events.num_broken == 0


def log(path: Path, *, hosts: tuple[str, ...] = ("a", "b", "c"), killed_s: float = 6_200.0) -> Path:
    """A log of 110 minutes, in which the requests to host b fail for half a minute after a moment of the window."""
    rng = np.random.default_rng(3)
    num_rows = 14_000
    time = START_S + np.sort(rng.random(num_rows)) * 6_600
    host = rng.choice(np.array(hosts), num_rows)
    status = np.where(rng.random(num_rows) < 0.005, 503, 200)
    status[
        (host == hosts[min(1, len(hosts) - 1)]) & (time >= START_S + killed_s) & (time < START_S + killed_s + 40)
    ] = 503
    columns = {
        "time": time, "request_id": [f"r{number}" for number in range(num_rows)], "status": status, "host": host,
        "client": rng.choice(["t0", "t1", "t2"], num_rows), "worker": np.where(host == hosts[-1], 17, 4242),
    }  # fmt: skip
    pq.write_table(pa.table(columns), path / "log.parquet")
    return path / "log.parquet"


def why(*words: Any) -> dict[str, Any]:
    done = CliRunner().invoke(command, [*map(str, words), "--json"])
    assert done.exit_code == 0, done.output
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_why_names_what_the_kernel_did(tmp_path: Path) -> None:
    entries = [journal(KILL, after_s=6_200.0, _HOSTNAME="b.bank.example"), journal(KILL, after_s=100.0, _HOSTNAME="c")]
    (tmp_path / "journal.ndjson").write_text("\n".join(map(json.dumps, entries)))
    report = why(log(tmp_path), "--system", tmp_path / "journal.ndjson", "--html", tmp_path / "why.html")
    first = report["causes"][0]
    assert first["title"] == "after the kernel killed worker 4242 for want of memory on b.bank.example at 11:43:20"
    assert first["action"].startswith("Raise the memory limit")
    assert first["conditions"][0]["field"] == SYSTEM_FIELD
    page = (tmp_path / "why.html").read_text()
    assert "the kernel killed worker 4242" in page
    assert "11:43:20 b.bank.example 上内核因内存不足终止了 worker 4242之后" in page


def test_an_event_that_did_no_harm_is_no_cause(tmp_path: Path) -> None:
    entries = [journal(KILL, after_s=6_300.0 + number, _HOSTNAME="c") for number in range(3)]
    (tmp_path / "journal.ndjson").write_text("\n".join(map(json.dumps, entries)))
    report = why(log(tmp_path), "--system", tmp_path / "journal.ndjson")
    assert [each["field"] for cause in report["causes"] for each in cause["conditions"]] != []
    assert all(each["field"] != SYSTEM_FIELD for cause in report["causes"] for each in cause["conditions"])


def test_rows_without_a_host_take_the_events_of_one_machine_and_not_of_two(tmp_path: Path) -> None:
    lines = tmp_path / "log.ndjson"
    rows = [{"@timestamp": START_S + number, "http.response.status_code": 200} for number in range(200)]
    lines.write_text("\n".join(map(json.dumps, rows)))

    def marked(*events: SystemEvent) -> tuple[int, int]:
        with open_logs([lines], ReadLimits(threads=1)) as logs:
            join_events(logs, SystemEvents(list(events)))
            has_field = SYSTEM_FIELD in logs.columns
            return logs.count(
                f'SELECT count("{SYSTEM_FIELD}") FROM rows'
            ) if has_field else 0, logs.notes.num_unjoined_system

    one, other = (SystemEvent(START_S + 100, host, "oom_kill", "python", "") for host in "ab")
    assert marked(one) == (63, 0)  # from two seconds before it to sixty after
    assert marked(one, other) == (0, 2)
    assert marked(SystemEvent(START_S + 9_999, "a", "oom_kill", "x", "")) == (0, 0)


def test_a_clock_that_is_apart_is_apart_for_the_events_too(tmp_path: Path) -> None:
    rows = [{"time": START_S + number, "host": host} for host in "abc" for number in range(60)]
    (tmp_path / "log.ndjson").write_text("\n".join(map(json.dumps, rows)))
    with open_logs([tmp_path / "log.ndjson"], ReadLimits(threads=1)) as logs:
        logs.notes.clock_offsets_s["b"] = 600.0  # as set_clocks_right() notes it
        join_events(logs, SystemEvents([SystemEvent(START_S + 630, "b", "oom_kill", "x", "")]))
        assert logs.count(f'SELECT count("{SYSTEM_FIELD}") FROM rows') == 32
