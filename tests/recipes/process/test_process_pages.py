"""The pages of a study, as a file and served: what they say, who may ask, and what is refused."""

from __future__ import annotations

import http.client
import json
import os
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scipy")
from scipy.stats import norm

from deepseek.automl.study.press import Press
from deepseek.automl.study.study import Study
from deepseek.errors import InputError
from deepseek.recipes.process.page import render_page
from deepseek.recipes.process.server import StudyServer
from deepseek.recipes.process.verbs import ask_study, init_study, report_study

CHOICES = """
[[parameters]]
name = "a"
low = 0
high = 10

[[parameters]]
name = "tool <b>"
choices = ["x", "y"]

[[objectives]]
name = "yield"

[[objectives]]
name = "cost"
goal = "minimize"
"""


LIMITED = """
[[objectives]]
name = "yield"

[[constraints]]
name = "wear"
most = 40
"""


@pytest.fixture(scope="module")
def press(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of the press with some trials told, one failed and one open."""
    folder = tmp_path_factory.mktemp("studies") / "press"
    source = folder.with_name("press.toml")
    from deepseek.automl.study.press import STUDY

    source.write_text(STUDY, encoding="utf-8")
    init_study(folder, source)
    study = Study.open(folder)
    for _ in range(5):
        [trial] = study.ask()
        study.tell(trial.number, Press().measure(trial.recipe))
    [trial] = study.ask()
    study.tell_failed(trial.number, "the die jammed")
    ask_study(folder)
    return folder


def test_the_page_says_what_to_try_next_what_was_gained_and_at_what_risk(press: Path) -> None:
    report = report_study(press)
    page = render_page(report)
    ET.fromstring(page.split("<main>")[1].join(["<main>", ""]).split("</main>")[0] + "</main>")
    assert report.outlook.gain is not None
    assert "Trial 7" in page
    assert "material_yield by temperature" in page
    assert "1 of 6 trials" in page
    assert "预计" in page
    best = max(trial.values["material_yield"] for trial in report.trials if trial.is_measured)
    assert report.outlook.best is not None
    assert report.outlook.best.values["material_yield"] == best
    assert report.to_dict()["risk"]["num_failed"] == 1
    assert 0.1 < report.outlook.risk.high < 0.7
    low, high = report.outlook.forecasts[7].values["material_yield"][1:]
    assert low < high


def test_the_interval_of_a_limit_and_its_chance_are_of_one_process(tmp_path: Path) -> None:
    source = tmp_path / "study.toml"
    source.write_text(CHOICES.split("[[objectives]]", maxsplit=1)[0] + LIMITED, encoding="utf-8")
    init_study(tmp_path / "line", source)
    study = Study.open(tmp_path / "line")
    rows = [({"a": float(a), "tool <b>": "x"}, {"yield": float(a), "wear": 2.0**a}) for a in (1, 2, 3, 4, 6, 8, 9)]
    study.tell_history(rows, "old.csv")
    study.ask(3)
    for forecast in report_study(tmp_path / "line").outlook.forecasts.values():
        median, low, high = forecast.values["wear"]
        assert forecast.chance == pytest.approx(norm.cdf((40 - median) / ((high - low) / (2 * 1.645))), abs=1e-6)


def test_a_study_without_trials_has_a_page_too(tmp_path: Path) -> None:
    source = tmp_path / "study.toml"
    source.write_text(CHOICES, encoding="utf-8")
    init_study(tmp_path / "line", source)
    page = render_page(report_study(tmp_path / "line"))
    assert "No trial is open" in page
    assert "No trial holds every limit yet" in page


def test_a_study_file_may_come_through_a_pipe_and_a_wrong_one_leaves_nothing(tmp_path: Path) -> None:
    for text, is_right in ((CHOICES, True), ("", False)):
        reader, writer = os.pipe()
        os.write(writer, text.encode())
        os.close(writer)
        folder = tmp_path / str(is_right)
        if is_right:
            assert init_study(folder, Path(f"/dev/fd/{reader}")).definition.quantities == ("yield", "cost")
        else:
            with pytest.raises(InputError, match="parameters is missing"):
                init_study(folder, Path(f"/dev/fd/{reader}"))
            assert not any(folder.iterdir())
        os.close(reader)


def test_several_objectives_have_a_front_and_names_are_no_markup(tmp_path: Path) -> None:
    source = tmp_path / "study.toml"
    source.write_text(CHOICES, encoding="utf-8")
    init_study(tmp_path / "line", source)
    study = Study.open(tmp_path / "line")
    for _ in range(5):
        [trial] = study.ask()
        a = float(trial.recipe["a"])
        study.tell(trial.number, {"yield": a - (trial.recipe["tool <b>"] == "x"), "cost": a * a})
    page = render_page(report_study(tmp_path / "line"))
    assert "The trials of the front" in page
    assert "<b>" not in page
    assert "tool &lt;b&gt;" in page


@pytest.fixture(scope="module")
def server(press: Path) -> Iterator[StudyServer]:
    with StudyServer(press, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def request(
    server: StudyServer, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    data = json.dumps(body) if body is not None else None
    connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, json.loads(text) if answer.headers["Content-Type"] == "application/json" else text


def test_operators_ask_and_tell_over_http(server: StudyServer, press: Path) -> None:
    status, page = request(server, "GET", "/")
    assert status == 200
    assert 'data-trial="7"' in page
    assert 'name="material_yield"' in page
    trial = next(each for each in report_study(press).trials if each.number == 7)
    status, answer = request(server, "POST", "/tell", {"trial": 7, "values": Press().measure(trial.recipe)})
    assert (status, answer["trials"][0]["state"]) == (200, "done")
    status, answer = request(server, "POST", "/ask", {})
    assert (status, answer["trials"][0]["trial"]) == (200, 8)
    status, answer = request(server, "POST", "/tell", {"trial": 8, "failed": True, "reason": "no steam"})
    assert (status, answer["trials"][0]["state"]) == (200, "failed")
    assert request(server, "GET", "/study")[1]["trials"][7]["reason"] == "no steam"
    assert 'class="act quiet undo" data-trial="8" data-state="failed"' in request(server, "GET", "/")[1]
    status, answer = request(server, "POST", "/undo", {"trial": 8, "state": "failed"})
    assert (status, answer["trials"][0]["state"]) == (200, "pending")
    status, answer = request(server, "POST", "/undo", {"trial": 8})
    assert (status, answer["trials"][0]["state"]) == (200, "withdrawn")


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code"),
    [
        ("/tell", {"trial": 99, "values": {}}, {}, 422, "bad_input"),
        ("/tell", {"trial": "7"}, {}, 422, "bad_input"),
        ("/tell", {"trial": 1, "values": {"bond": "NaN"}}, {}, 422, "bad_input"),
        ("/tell", [1], {}, 400, "malformed"),
        ("/ask", {"num": 1000}, {}, 422, "bad_input"),
        ("/undo", {"trial": 1, "state": "pending"}, {}, 422, "bad_input"),
        ("/undo", {"trial": True}, {}, 422, "bad_input"),
        ("/undo", {"trial": 1, "state": "gone"}, {}, 422, "bad_input"),
        ("/ask", {}, {"Content-Type": "text/plain"}, 415, "media_type"),
        ("/ask", {}, {"Origin": "http://evil.com"}, 403, "foreign_origin"),
        ("/ask", {}, {"Host": "evil.com"}, 421, "misdirected"),
        ("/other", {}, {}, 404, "not_found"),
    ],
)
def test_what_is_wrong_is_refused_and_changes_nothing(
    server: StudyServer, press: Path, path: str, body: Any, headers: dict[str, str], status: int, code: str
) -> None:
    before = (press / "log.ndjson").read_bytes()
    answered, document = request(server, "POST", path, body, headers)
    assert (answered, document["error"]["code"]) == (status, code)
    assert (press / "log.ndjson").read_bytes() == before
