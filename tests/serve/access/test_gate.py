"""Pages of other sites: what a browser lets them send is refused, whatever it is; what is no browser goes on."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright

from deepseek.errors import DeepseekError
from deepseek.serve.access.gate import AccessPolicy
from deepseek.serve.core.config import Settings
from deepseek.serve.core.request import Request
from deepseek.serve.core.routes import Route
from support.servers.browser import FLAGS
from support.servers.serving import Server, started

UNLOAD = "/v2/repository/models/loans/unload"
LOAD = "/v2/repository/models/loans/load"
JSON = {"content-type": "application/json"}


def refused(settings: Settings, route: Route | None = None, method: str = "POST", **headers: str) -> str:
    """The code of what stands against a call, "" for nothing."""
    named = {name.replace("_", "-").encode(): text.encode() for name, text in headers.items()}
    try:
        AccessPolicy(settings).check(Request(method, "/", named, settings), route)
    except DeepseekError as error:
        return error.code
    return ""


def route(**more: Any) -> Route:
    return Route("/x", "POST", lambda call: None, **more)


@pytest.mark.parametrize(
    ("origin", "host", "code"),
    [
        ("http://localhost:8000", "localhost:8000", ""),
        ("https://localhost", "localhost", ""),
        ("http://localhost", "localhost:80", ""),
        ("http://LOCALHOST:8000", "localhost:8000", ""),
        ("http://localhost:3000", "localhost:8000", "foreign_origin"),
        ("http://127.0.0.1:8000", "localhost:8000", "foreign_origin"),
        ("https://evil.com", "localhost:8000", "foreign_origin"),
        ("null", "localhost:8000", "foreign_origin"),
        ("file://", "localhost:8000", "foreign_origin"),
        ("", "localhost:8000", "foreign_origin"),
        ("http://rebind.test", "rebind.test", "misdirected"),
    ],
)
def test_a_page_asks_its_own_server_alone(origin: str, host: str, code: str) -> None:
    assert refused(Settings(), route(), origin=origin, host=host) == code
    assert refused(Settings(), None, "GET", origin=origin, host=host) == code


def test_a_page_whose_host_is_named_may_ask() -> None:
    settings = Settings(host="0.0.0.0", allowed_hosts=("console.bank.com", "*.apps.bank.com"))
    for origin in ("https://console.bank.com", "https://a.apps.bank.com:8443"):
        assert refused(settings, route(), origin=origin, host="10.0.0.5:8000") == ""
    assert refused(settings, route(), origin="https://evil.com", host="10.0.0.5") == "foreign_origin"
    assert refused(Settings(allowed_hosts=("*",)), route(), origin="https://evil.com", host="a.com") == "foreign_origin"


def test_what_another_site_sends_without_an_origin_is_refused_unless_it_only_looks() -> None:
    assert refused(Settings(), route(), host="localhost", sec_fetch_site="cross-site") == "foreign_origin"
    assert (
        refused(Settings(), None, "GET", host="localhost", sec_fetch_site="cross-site") == ""
    )  # a link to the console


def test_a_probe_may_ask_for_health_by_any_name() -> None:
    assert refused(Settings(), route(any_host=True), "GET", host="lb.bank.com") == ""
    assert refused(Settings(), route(), "GET", host="lb.bank.com") == "misdirected"


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "x"])
def test_a_change_is_sent_as_json(media: str) -> None:
    assert refused(Settings(), route(changes=True), host="localhost", content_type=media) == "media_type"
    assert refused(Settings(), route(), host="localhost", content_type=media) == ""


def test_a_change_without_a_content_type_is_taken_from_what_is_no_browser() -> None:
    assert refused(Settings(), route(changes=True), host="localhost") == ""
    assert (
        refused(Settings(), route(changes=True), host="localhost", content_type="application/json; charset=utf-8") == ""
    )
    for more in (
        {"origin": "http://localhost"},
        {"referer": "http://x"},
        {"sec_fetch_site": "none"},
        {"cookie": "a=b"},
    ):
        assert refused(Settings(), route(changes=True), host="localhost", **more) == "media_type"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "model.bank.com"])
def test_beyond_this_machine_nothing_is_changed_without_a_key(host: str) -> None:
    headers = {"host": "10.0.0.5", "content_type": "application/json"}
    assert refused(Settings(host=host), route(changes=True), **headers) == "key_needed"
    assert refused(Settings(host=host), route(changes=True)) == "key_needed"  # over gRPC, which has no such headers
    assert refused(Settings(host=host, api_keys_file="keys"), route(changes=True), **headers) == ""


PAGE = b"""<html><body><form id=f method=POST enctype="text/plain" action="%s"><input name='{"a":"' value='"}'></form>
<form id=g method=POST action="%s"></form></body></html>"""


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        rules = "--host-resolver-rules=MAP *.test 127.0.0.1"
        yield playwright.chromium.launch(executable_path=chromium_path, args=[*FLAGS, rules])


@pytest.fixture(scope="module")
def server(loans: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("repository")
    shutil.copytree(loans, folder / "loans")
    with started("--repository", folder, "--workers", "0") as running:
        yield running
        assert running.stop() == 0


@pytest.fixture(scope="module")
def site(server: Server) -> Iterator[str]:
    """A page of somebody else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE % (2 * ((server.url + UNLOAD).encode(),)))

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://evil.test:{running.server_address[1]}/"
        running.shutdown()


SENT = {
    "nothing": 'fetch(url, {method: "POST", mode: "no-cors"})',
    "text": 'fetch(url, {method: "POST", mode: "no-cors", body: "{}"})',
    "bytes without a type": 'fetch(url, {method: "POST", mode: "no-cors", body: new Blob(["{}"])})',
    "JSON": 'fetch(url, {method: "POST", headers: {"content-type": "application/json"}, body: "{}"})',
    "a beacon": "Promise.resolve(navigator.sendBeacon(url, new Blob(['{}'])))",
}


@pytest.mark.parametrize("sent", SENT.values(), ids=SENT.keys())
def test_another_site_unloads_nothing(server: Server, site: str, browser: Browser, sent: str) -> None:
    page = browser.new_page()
    page.goto(site)
    page.evaluate(f"async (url) => {{ try {{ await {sent} }} catch (error) {{}} }}", server.url + UNLOAD)
    page.wait_for_timeout(200)
    page.close()
    assert is_loaded(server)


@pytest.mark.parametrize("form", ["f", "g"])
def test_a_form_of_another_site_unloads_nothing(server: Server, site: str, browser: Browser, form: str) -> None:
    page = browser.new_page()
    page.goto(site)
    with page.expect_navigation():
        page.evaluate(f'document.getElementById("{form}").submit()')
    assert '"foreign_origin"' in page.content()
    page.close()
    assert is_loaded(server)


def test_a_name_that_is_rebound_reads_nothing(server: Server, browser: Browser) -> None:
    page = browser.new_page()
    answer = page.goto(server.url.replace("127.0.0.1", "rebind.test") + "/v1/models")
    assert answer is not None
    assert answer.status == 421
    assert "loans" not in page.content()
    page.close()


def test_the_console_asks_its_own_server(server: Server, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(server.url.replace("127.0.0.1", "localhost"))
    ask = """async () => {
      const row = await (await fetch("/v1/models/loans/example")).text();
      const sent = {method: "POST", headers: {"content-type": "application/json"}, body: row};
      return (await fetch("/v1/models/loans:predict", sent)).status;
    }"""
    assert page.evaluate(ask) == 200
    page.close()


def test_clients_that_are_no_browsers_change_what_is_served(server: Server) -> None:
    triton = pytest.importorskip("tritonclient.http")
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
        client.unload_model("loans")
        assert not is_loaded(server)
        client.load_model("loans")
        assert is_loaded(server)
    assert httpx.post(server.url + UNLOAD).status_code == 200
    assert httpx.post(server.url + LOAD, json={}).status_code == 200
    answer = httpx.post(server.url + UNLOAD, data={"a": "b"})
    assert (answer.status_code, json.loads(answer.content)["error"]["code"]) == (415, "media_type")


def is_loaded(server: Server) -> bool:
    return "loans" in [model["id"] for model in httpx.get(server.url + "/v1/models").json()["data"]]
