"""The last hours of a server: the ring, the alerts that fire by it, and the answer that the console shows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from deepseek.contracts import Event
from deepseek.observe.history.alerts import ALERT_BY_NAME, RULES, SUMMARIES, firing_alerts
from deepseek.observe.history.chinese import CHINESE_RUNBOOKS
from deepseek.observe.history.drawing import MAX_POINTS, AlertSource, draw_history, thin_frame
from deepseek.observe.history.gauges import Gauges
from deepseek.observe.history.history import NAMES, NUM_SLOTS, SHARE_S, SLOT_S, Frame, History
from deepseek.observe.history.pages import HistoryPage
from deepseek.observe.live import GroupState, LiveStats
from deepseek.observe.rules.thresholds import read_thresholds
from support.servers.watching import free_port

THRESHOLDS = read_thresholds([])


class Clock:
    def __init__(self, now_s: float = 1_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def request(duration_s: float = 0.001, status: int = 200, **fields: str) -> Event:
    return Event("request", "cancer", "1", status, 1, duration_s, fields={"method": "POST", **fields})


def make_history(
    clock: Clock, others: Sequence[GroupState] = (), gauges: Gauges | None = None
) -> tuple[LiveStats, History]:
    live = LiveStats(clock)
    return live, History(live, lambda _: gauges or Gauges(), others=lambda: others, clock=clock)


def test_ten_seconds_are_summed_up_when_they_are_over() -> None:
    clock = Clock()
    live, history = make_history(clock, gauges=Gauges(queue_rows=3, memory_bytes=1e9))
    for second, status in enumerate((200, 200, 200, 500, 429, 504, 422)):
        clock.now_s = 1_000 + second
        live.emit(request(0.001, status))
    live.emit(request(9.0, explains="true"))  # its time is none of a prediction
    assert history.frame().num_slots == 0
    clock.now_s = 1_010.0
    frame = history.frame()
    counts = [float(frame[name][0]) for name in ("requests", "errors", "failed", "refused", "late")]
    assert counts == [8, 4, 2, 1, 1]
    assert frame["p99_s"][0] == pytest.approx(0.001, rel=0.05)
    assert (frame["queue_rows"][0], frame["memory_bytes"][0]) == (3, np.float32(1e9))


def test_a_quiet_hour_has_no_requests_and_costs_nothing_until_somebody_looks() -> None:
    clock = Clock()
    live, history = make_history(clock)
    live.emit(request())
    clock.now_s += 3_600
    live.emit(request())
    frame = history.frame()
    assert frame.num_slots == 360
    assert float(np.nansum(frame["requests"])) == 0  # the first is older than what is kept in detail
    clock.now_s += SLOT_S
    assert history.frame()["requests"].tolist()[-2:] == [0, 1]


@pytest.mark.slow
def test_the_ring_is_bounded_and_holds_the_last_six_hours() -> None:
    clock = Clock()
    live, history = make_history(clock)
    for _ in range(NUM_SLOTS + 5):
        clock.now_s += SLOT_S
        live.emit(request())
    frame = history.frame()
    assert frame.num_slots == NUM_SLOTS
    assert frame["requests"].tolist() == [1.0] * NUM_SLOTS
    assert frame.values.nbytes < 300_000
    assert len(thin_frame(frame).minutes) <= MAX_POINTS
    assert thin_frame(frame).minutes[-1] == 0


def sent(state: GroupState) -> GroupState:
    """A state as it comes from another process."""
    return GroupState.read(msgspec.json.decode(msgspec.json.encode(state.to_list())))


def test_front_ends_of_a_group_all_show_all_and_one_that_came_later_shows_what_was_before() -> None:
    clock = Clock()
    of_first: list[GroupState] = []
    of_second: list[GroupState] = []
    first, first_history = make_history(clock, of_first, Gauges(queue_rows=1, disk_free_share=0.5))
    for _ in range(6):
        first.emit(request())
        clock.now_s += SLOT_S
        first_history.state()
    second, second_history = make_history(clock, of_second, Gauges(queue_rows=2, disk_free_share=0.2))
    of_first.append(sent(second_history.state()))
    of_second.append(sent(first_history.state()))
    assert of_second[0].ring
    first.emit(request())
    second.emit(request())
    clock.now_s += 1  # each second they tell each other
    of_first[0], of_second[0] = sent(second_history.state()), sent(first_history.state())
    clock.now_s += 2 * SLOT_S
    frames = first_history.frame(), second_history.frame()
    assert [frame["requests"].tolist() for frame in frames] == [[1.0] * 6 + [2.0]] * 2
    assert [float(frame["queue_rows"][-1]) for frame in frames] == [3, 3]
    assert [float(frame["disk_free_share"][-1]) for frame in frames] == [np.float32(0.2)] * 2
    clock.now_s += SHARE_S
    assert first_history.state().ring == ""  # only for one that has just come


#: What a column does when the rule holds: its values in quiet and in bad slots; counts since the start grow.
BAD: dict[str, dict[str, tuple[float, float]]] = {
    "DeepseekNotReady": {"not_ready": (0, 1)},
    "DeepseekErrors": {"failed": (0, 5)},
    "DeepseekLatency": {"late_p99_s": (0.9, 1.1)},
    "DeepseekRefusals": {"refused": (2, 50)},
    "DeepseekDeadlines": {"late": (0, 50)},
    "DeepseekQueue": {"queue_fill": (0.4, 0.6)},
    "DeepseekWorkerDied": {"deaths": (0, 1)},
    "DeepseekWorkersMissing": {"missing_workers": (0, 1)},
    "DeepseekRestartLoop": {"restarts": (0, 1)},
    "DeepseekMemory": {"memory_share": (0.8, 0.95)},
    "DeepseekOutOfFiles": {"out_of_files": (0, 1)},
    "DeepseekLogLost": {"lost_lines": (0, 10)},
    "DeepseekDiskFull": {"disk_free_share": (0.2, 0.05)},
    "DeepseekCertificate": {"certificate_s": (30 * 86_400, 13 * 86_400)},
    "DeepseekCertificateExpired": {"certificate_s": (30 * 86_400, -60)},
}
GROWING = {"deaths", "restarts", "out_of_files", "lost_lines"}


def frame_of(name: str, num_quiet: int, num_bad: int, num_after: int = 0) -> Frame:
    values = np.zeros((num_quiet + num_bad + num_after, len(NAMES)), np.float32)
    values[:, NAMES.index("requests")] = 100
    for column, value in {"disk_free_share": 0.5, "certificate_s": 1e12, "late_p99_s": 0.01}.items():
        values[:, NAMES.index(column)] = value
    for column, (quiet, bad) in BAD[name].items():
        series = np.array([quiet] * num_quiet + [bad] * num_bad + [quiet] * num_after, np.float32)
        values[:, NAMES.index(column)] = np.cumsum(series) if column in GROWING else series
    return Frame(values)


@pytest.mark.parametrize("name", RULES)
def test_an_alert_fires_within_its_time_not_before_its_wait_and_ends(name: str) -> None:
    alert = ALERT_BY_NAME[name]
    within = alert.fires_within_s // SLOT_S
    for frame, fires in (
        (frame_of(name, 400, 0), False),
        (frame_of(name, 400, max(0, alert.for_s // SLOT_S)), False),
        (frame_of(name, 400, within), True),
        (frame_of(name, 400, within, within), False),
    ):
        assert (name in {each.name for each in firing_alerts(frame, THRESHOLDS)}) == fires


def test_a_process_that_died_in_the_first_seconds_is_told() -> None:
    clock = Clock()
    live, history = make_history(clock)
    live.emit(Event("server", fields={"process": "engine", "change": "died"}))
    clock.now_s += SLOT_S
    assert [alert.name for alert in firing_alerts(history.frame(), THRESHOLDS)] == ["DeepseekWorkerDied"]


def test_rules_here_are_those_of_the_table_and_say_what_they_mean_in_both_languages() -> None:
    assert RULES.keys() == BAD.keys() == SUMMARIES.keys() == CHINESE_RUNBOOKS.keys()
    assert RULES.keys() <= ALERT_BY_NAME.keys()
    for alert in firing_alerts(frame_of("DeepseekErrors", 400, 400), THRESHOLDS):
        page = draw_history(frame_of("DeepseekErrors", 400, 400), [alert], AlertSource())
        assert "回滚" in page
        assert "Roll back where one version is at fault." in page


async def answer(history: History, url: str = "") -> dict[str, Any]:
    response = await HistoryPage(history, THRESHOLDS, prometheus_url=url)(None)  # type: ignore[arg-type]
    document: dict[str, Any] = json.loads(response.body)
    return document


def test_the_answer_says_what_to_do_while_there_is_nothing() -> None:
    document = asyncio.run(answer(make_history(Clock())[1]))
    assert "Send a row with the form below" in document["html"]
    assert (document["alerts"], document["alert_source"]) == ([], "server")


def test_with_a_prometheus_that_is_away_the_server_says_so_and_what_it_knows_itself() -> None:
    clock = Clock()
    live, history = make_history(clock, gauges=replace(Gauges(), disk_free_share=0.01))
    for _ in range(30):
        clock.now_s += SLOT_S
        live.emit(request())
    document = asyncio.run(answer(history, f"http://127.0.0.1:{free_port()}"))
    assert document["alert_source"] == "server"
    assert [alert["name"] for alert in document["alerts"]] == ["DeepseekDiskFull"]
    assert "Prometheus does not answer at" in document["html"]
    assert document["series"]["requests_per_s"][-1] == 0.1
