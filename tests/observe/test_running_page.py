"""The console's part of what else runs on the machine: a link to each, and what to do where there is nothing."""

from __future__ import annotations

import json
import os

from deepseek.observe.running_page import COMMANDS, NAMES, RunningPage, draw_running
from deepseek.running import KINDS, Running
from deepseek.serve import Settings
from deepseek.serve.core.request import Request

LABELS = Running("label", "claims <1>", "http://127.0.0.1:8050", os.getpid() + 100_000, 1_000.0, 0)


def test_every_kind_has_a_name_in_both_languages_and_a_command() -> None:
    assert set(NAMES) == set(COMMANDS) == set(KINDS)
    assert all(name.zh != name.en for name in NAMES.values())


def test_each_has_a_link_and_the_time_that_it_has_run() -> None:
    html = str(draw_running([LABELS], 1_000.0 + 7_200))
    assert '<a href="http://127.0.0.1:8050">' in html
    assert "claims &lt;1&gt;" in html
    assert "2 h" in html
    assert "deepseek learn serve" in html
    assert "deepseek label serve" not in html


def test_where_nothing_runs_it_says_how_each_is_started() -> None:
    html = str(draw_running([], 0.0))
    assert "Nothing else of yours runs" in html
    assert [kind for kind, command in COMMANDS.items() if command not in html] == ["serve"]


def test_the_server_itself_is_left_out() -> None:
    own = Running("serve", "cancer", "http://127.0.0.1:8000", os.getpid(), 1.0, 0)
    answer = RunningPage(lambda: (own, LABELS))(Request("GET", "/v1/running", {}, Settings()))
    document = json.loads(answer.body)
    assert [entry["kind"] for entry in document["running"]] == ["label"]
    assert "cancer" not in document["html"]
