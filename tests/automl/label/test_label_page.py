"""The page where people label, over HTTP and in a real browser: keys, undo, a lost connection, two tabs, languages."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import APIResponse, Page, Route, expect

from automl.label.conftest import MakeProject
from automl.label.test_project import PIXEL
from deepseek.automl.label.page.server import LabelServer
from deepseek.automl.label.project.people import add_person
from deepseek.automl.label.project.project import Project, ProjectOptions
from deepseek.automl.label.project.records import QueuedItem, Suggestion
from deepseek.automl.label.verbs import new_project
from deepseek.errors import InputError
from support.servers.browser import OpenPage, browser, open_page, overflow_px
from support.servers.serving import until

__all__ = ["browser", "open_page"]


@contextmanager
def serving(folder: Path) -> Iterator[LabelServer]:
    """A server until the block ends. Pages are to be left before it stops: what a page still asks for would fail."""
    with LabelServer(folder, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server(make_project: MakeProject) -> Iterator[LabelServer]:
    make_project().close()
    with make_project("served") as project:
        folder = project.folder
    with serving(folder) as server:
        yield server


def post(server: LabelServer, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    names = {"Content-Type": "application/json", "Deepseek-Person": "ann"}
    names |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", path, json.dumps(body), names)
    answer = connection.getresponse()
    document = json.loads(answer.read())
    connection.close()
    return answer.status, document


def labels_of(server: LabelServer) -> list[tuple[str, str, Any]]:
    return labels_of_folder(server.folder)


def labels_of_folder(folder: Path) -> list[tuple[str, str, Any]]:
    with Project.open(folder) as project:
        return [(label.person, label.state, label.value) for label in project.store.labels()]


def test_programs_label_over_http_and_one_bad_change_holds_up_no_other(server: LabelServer) -> None:
    status, answer = post(server, "/next", {"num": 3})
    assert (status, len(answer["items"])) == (200, 3)
    assert "is_test" not in answer["items"][0]
    numbers = [item["number"] for item in answer["items"]]
    changes = [
        {"id": "1", "item": numbers[0], "action": "label", "value": "fire"},
        {"id": "2", "item": numbers[1], "action": "label", "value": "fier"},
        {"id": "3", "item": numbers[2], "action": "unsure", "comment": "too dark"},
        {"id": "4", "item": "x", "action": "label"},
        {"id": "5", "item": numbers[0], "action": "import", "value": "fire"},
        7,
    ]
    _, answer = post(server, "/label", {"changes": changes})
    codes = [result.get("error", {}).get("code") for result in answer["results"]]
    assert codes == [None, "bad_input", None, "bad_input", "bad_input", "bad_input"]
    assert (answer["counts"]["num_labeled"], answer["counts"]["num_unsure"]) == (1, 1)
    _, again = post(server, "/label", {"changes": changes[:1]})
    assert again["results"] == answer["results"][:1]
    _, answer = post(server, "/undo", {"id": "u"})
    assert answer["item"]["number"] == numbers[2]


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/label", {}, {}, 422),
        ("/next", {"num": 10**6}, {}, 422),
        ("/next", {"exclude": "all"}, {}, 422),
        ("/next", {}, {"Deepseek_Person": ""}, 422),
        ("/next", {}, {"Origin": "http://elsewhere"}, 403),
        ("/next", {}, {"Host": "elsewhere:80"}, 421),
        ("/next", {}, {"Content_Type": "text/plain"}, 415),
        ("/nowhere", {}, {}, 404),
    ],
)
def test_what_cannot_be_answered_is_refused(
    server: LabelServer, path: str, body: Any, headers: dict[str, str], status: int
) -> None:
    got, answer = post(server, path, body, **headers)
    assert (got, set(answer["error"])) == (status, {"code", "message", "expected", "fix"})


def test_beyond_this_machine_people_need_keys(make_project: MakeProject) -> None:
    with make_project() as project:
        with pytest.raises(InputError, match="could label under any name"):
            LabelServer(project.folder, "0.0.0.0", 0)
        keys = {role: add_person(project.store, role, role) for role in ("labeler", "reviewer")}  # type: ignore[arg-type]
    with serving(project.folder) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
        connection.request("GET", "/")
        assert 'id="key"' in connection.getresponse().read().decode()
        connection.close()
        assert post(server, "/next", {})[0] == 401
        named = {role: {"Authorization": f"Bearer {key}"} for role, key in keys.items()}
        change = {"id": "1", "item": 1, "action": "label", "value": "fire"}
        assert post(server, "/label", {"changes": [change]}, **named["labeler"])[0] == 200
        others = {role: post(server, "/item", {"item": 1}, **head)[1]["item"]["others"] for role, head in named.items()}
        assert others == {"labeler": [], "reviewer": [{"person": "labeler", "state": "label", "value": "fire"}]}


def begin(page: Page, name: str = "ann") -> None:
    page.locator("#person").fill(name)
    page.keyboard.press("Enter")
    # A key that is pressed before there is an example says nothing. A picture is no text: its card is "empty".
    expect(page.locator("#card > *").first).to_be_attached()


def test_a_person_labels_by_keys_alone(server: LabelServer, open_page: OpenPage) -> None:
    with Project.open(server.folder) as project:
        item = next(item for item in project.store.items() if not item.is_test)
        project.store.set_queue(
            [QueuedItem(item.number, 1.0, "uncertain")], [Suggestion(item.number, "water", 0.75, (("pipe", 1.5),))]
        )
    page = open_page(server.url, allow=server.url)
    begin(page)
    expect(page.locator("#card .text")).to_have_text(str(item.content["story"]))
    page.keyboard.press("h")
    expect(page.locator("#hint")).to_contain_text("The model says water (75 %).")
    assert page.locator("#labels button").all_inner_texts() == ["1fire", "2water"]  # where the keys have them
    page.keyboard.press("Space")
    expect(page.locator("#progress")).to_contain_text("1 of 39 labeled")
    page.keyboard.press("1")
    page.keyboard.press("s")
    page.keyboard.press("n")
    expect(page.locator("#sync")).to_contain_text("everything is kept")
    assert sorted((state, value) for _, state, value in labels_of(server)) == [
        ("label", "fire"), ("label", "water"), ("skip", None), ("unsure", None),
    ]  # fmt: skip
    page.keyboard.press("z")
    expect(page.locator("#problem")).to_contain_text("Taken back")
    assert len(labels_of(server)) == 3
    with Project.open(server.folder) as project:
        shown = [row[0] for row in project.store.connection.execute("SELECT suggestion FROM changes ORDER BY number")]
        assert shown[:2] == ["shown", "hidden"]


def test_a_lost_connection_loses_no_label(server: LabelServer, open_page: OpenPage) -> None:
    page = open_page(server.url, allow=server.url, expected="ERR_INTERNET_DISCONNECTED")
    begin(page)
    page.context.set_offline(True)
    for _ in range(5):
        page.keyboard.press("2")
    expect(page.locator("#sync")).to_contain_text("5 kept here and sent later")
    assert labels_of(server) == []
    page.context.set_offline(False)
    expect(page.locator("#progress")).to_contain_text("5 of 39 labeled")
    assert labels_of(server) == [("ann", "label", "water")] * 5


def test_what_could_not_be_sent_outlives_the_tab(server: LabelServer, open_page: OpenPage) -> None:
    page = open_page(server.url, allow=server.url, expected="Failed to load")
    page.route("**/label", lambda route: route.abort())  # before the rest: a browser takes its time to hold requests
    begin(page)
    page.keyboard.press("1")
    expect(page.locator("#sync")).to_contain_text("1 kept here")
    page.unroute("**/label")
    page.reload()
    expect(page.locator("#progress")).to_contain_text("1 of 39 labeled")
    assert labels_of(server) == [("ann", "label", "fire")]


def test_figures_that_another_answer_has_overtaken_are_passed_over(server: LabelServer, open_page: OpenPage) -> None:
    page = open_page(server.url, allow=server.url)
    late: list[tuple[Route, APIResponse]] = []
    page.route("**/next", lambda route: late.append((route, route.fetch())) if is_held else route.continue_())
    is_held = False
    begin(page)
    is_held = True
    for key in "12121212121":  # so many that the page asks for more examples
        page.keyboard.press(key)
    until(lambda: page.evaluate("state.isFilling") and bool(late))  # answered, and not handed over
    page.keyboard.press("2")
    expect(page.locator("#progress")).to_contain_text("12 of 39 labeled")
    num_held = page.evaluate("state.held.length")
    route, response = late[0]
    assert response.json()["counts"]["num_labeled"] < 12
    route.fulfill(response=response)
    # asked from here: what a page asks itself again needs eval, which its policy refuses
    until(lambda: page.evaluate("state.held.length") > num_held)
    assert page.locator("#progress .en").inner_text().startswith("12 of 39 labeled")


def test_no_example_is_asked_twice_however_late_the_answers_come(server: LabelServer, open_page: OpenPage) -> None:
    page = open_page(server.url, allow=server.url)
    is_held, held = False, list[Route]()
    page.route("**/next", lambda route: held.append(route) if is_held else route.continue_())
    begin(page)
    is_held = True
    for key in "12" * 8:  # below ten examples, each answer asks for more
        page.keyboard.press(key)
    expect(page.locator("#progress")).to_contain_text("16 of 39 labeled")
    is_held = False
    for route in held:
        route.continue_()
    for _ in range(23):
        expect(page.locator("#work")).to_be_visible()
        page.keyboard.press("1")
    expect(page.locator("#end")).to_contain_text("Nothing is left to label")
    expect(page.locator("#conflicts")).to_be_empty()
    assert len(labels_of(server)) == 39


def test_two_tabs_with_one_example_ask_before_anything_is_overwritten(server: LabelServer, open_page: OpenPage) -> None:
    page = open_page(server.url, allow=server.url)
    begin(page)
    other = page.context.new_page()
    other.goto(server.url)
    expect(other.locator("#work")).to_be_visible()
    key = page.locator("#key-of-item").inner_text()
    assert other.locator("#key-of-item").inner_text() == key
    page.keyboard.press("1")
    expect(page.locator("#progress")).to_contain_text("1 of 39")
    other.keyboard.press("2")
    expect(other.locator("#conflicts")).to_contain_text(
        f"{key} was changed in another tab: it is fire; here it was water."
    )
    assert labels_of(server) == [("ann", "label", "fire")]
    other.get_by_role("button", name="Use this one").click()
    expect(other.locator("#sync")).to_contain_text("everything is kept")
    assert labels_of(server) == [("ann", "label", "water")]


def picture_project(folder: Path) -> Path:
    pictures = folder / "pictures"
    pictures.mkdir()
    for number in range(4):
        (pictures / f"{number}.png").write_bytes(PIXEL + bytes([number]))
    new_project(pictures, folder / "project", ProjectOptions("boxes", ("dent", "scratch")))
    return folder / "project"


def test_a_page_never_says_that_all_is_kept_while_an_answer_is_on_its_way(tmp_path: Path, open_page: OpenPage) -> None:
    with serving(picture_project(tmp_path)) as server, open_page(server.url, allow=server.url) as page:
        held: list[Route] = []
        page.route("**/label", lambda route: route.continue_() if held else held.append(route))
        begin(page)
        for num_given in range(1, 5):
            expect(page.locator("svg.boxes")).to_be_visible()
            page.keyboard.press("Enter")
            assert page.locator("#sync .en").inner_text() == f"{num_given} being sent"
        expect(page.locator("#end")).to_contain_text("The last answers are being sent")
        assert labels_of(server) == []
        held[0].continue_()
        expect(page.locator("#end")).to_contain_text("Nothing is left to label")
        expect(page.locator("#sync")).to_contain_text("everything is kept")
        assert labels_of(server) == [("ann", "label", [])] * 4


def test_a_file_that_vanished_is_told_on_the_page(tmp_path: Path, open_page: OpenPage) -> None:
    folder = picture_project(tmp_path)
    (tmp_path / "pictures" / "2.png").unlink()
    with serving(folder) as server, open_page(server.url, allow=server.url, expected="404") as page:
        begin(page)
        for _ in range(4):
            if page.locator("#key-of-item").inner_text() == "2.png":
                expect(page.locator("#card")).to_contain_text("2.png cannot be read")
                page.keyboard.press("s")
            else:
                expect(page.locator("svg.boxes")).to_be_visible()
                page.keyboard.press("Enter")
        expect(page.locator("#end")).to_contain_text("Nothing is left to label")
        assert sorted(labels_of(server), key=str) == [("ann", "label", [])] * 3 + [("ann", "skip", None)]


def draw_spans(page: Page) -> None:
    page.locator("body").press("1")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("2")
    page.keyboard.press("Enter")


def test_spans_are_marked_by_keys(tmp_path: Path, open_page: OpenPage) -> None:
    (tmp_path / "notes.csv").write_text(
        "note\n" + "\n".join(f"Ann saw 😀 {n} 北京 today and left again" for n in range(12))
    )
    options = ProjectOptions("spans", ("who", "what"))
    new_project(tmp_path / "notes.csv", tmp_path / "project", options, kinds={"note": "text"})
    with serving(tmp_path / "project") as server, open_page(server.url, allow=server.url) as page:
        begin(page)
        draw_spans(page)
        expect(page.locator("#progress")).to_contain_text("1 of 12 labeled")
        [(_, _, spans)] = labels_of(server)
        # characters as Python counts them: the picture of a face is one
        assert spans == [{"label": "who", "start": 0, "end": 3}, {"label": "what", "start": 4, "end": 9}]


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_its_window_in_both_languages(server: LabelServer, open_page: OpenPage, width: int) -> None:
    page = open_page(server.url, allow=server.url, width=width, dark=width == 390)
    begin(page)
    page.keyboard.press("?")
    assert overflow_px(page) <= 0
    page.get_by_role("button", name="中文").click()
    expect(page.locator("#skip")).to_contain_text("跳过")
    expect(page.locator("#progress")).to_contain_text("已标注 0 / 39")
    assert overflow_px(page) <= 0


def start_server(folder: Path, port: int) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-m", "deepseek", "label", "serve", str(folder), "--port", str(port), "--no-choose"]
    process = subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    address = json.loads(process.stdout.readline())["url"]
    return process, int(address.rpartition(":")[2])


@pytest.mark.slow
def test_two_browsers_lose_nothing_while_the_server_is_killed(make_project: MakeProject, open_page: OpenPage) -> None:
    num_kills, num_each = 6, 4
    with make_project(num_rows=120) as project:
        folder = project.folder
    process, port = start_server(folder, 0)
    url = f"http://127.0.0.1:{port}"
    pages = {name: open_page(url, allow=url, expected="ERR_") for name in ("ann", "bo")}
    for name, page in pages.items():
        begin(page, name)
    given = dict.fromkeys(pages, 0)
    for kill in range(num_kills):
        for name, page in pages.items():
            for _ in range(num_each):
                expect(page.locator("#work")).to_be_visible()
                page.keyboard.press("1")
                given[name] += 1
            if (kill + (name == "bo")) % 2:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                process, _ = start_server(folder, port)
    for page in pages.values():
        page.evaluate("send()")
        expect(page.locator("#sync")).to_contain_text("everything is kept")
    process.terminate()
    assert process.wait() in (0, 130)
    labels = labels_of_folder(folder)
    # two may answer one item where a lease was given back while a page held it: each answer is kept
    assert {name: sum(person == name for person, _, _ in labels) for name in pages} == given
    with Project.open(folder) as project:
        assert project.verify() == sum(given.values())
