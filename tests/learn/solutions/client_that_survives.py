"""Solutions of the lab client_that_survives."""

from __future__ import annotations

import json
from pathlib import Path

from learn.solutions.tools import edit_json, replace_text

WRONG = {
    "all_at_once": "solution_raised", "no_patience": "too_early", "all_again": "asked_again",
    "everything_again": "wrong_retries", "lost_is_lost": "gave_up",
}  # fmt: skip

CLIENT = """
import http.client
import json
import time
import urllib.error
import urllib.request

AGAIN = (429, 503)


def predict(url, model, rows):
    answers = []
    for start in range(0, len(rows), 100):
        answers += ask(f"{url}/v1/models/{model}:predict", {"instances": rows[start : start + 100]})
    return answers


def ask(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    for attempt in range(6):
        pause = 0.1
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["predictions"]
        except urllib.error.HTTPError as error:
            if error.code not in AGAIN:
                raise ValueError(json.load(error)["error"]["message"]) from error
            pause = float(error.headers.get("Retry-After", pause))
        except (ConnectionError, http.client.HTTPException, urllib.error.URLError):
            pass
        time.sleep(pause)
    raise ConnectionError(f"{url} does not answer")
"""


def reference(folder: Path) -> None:
    (folder / "client.py").write_text(CLIENT)
    record = json.loads((folder / "record.json").read_text())
    again = [each for each in record if each["status"] in (0, 429, 503)]
    answers = {
        "num_again": len(again), "wait_s": sum(each["retry_after"] or 1 for each in again),
        "num_wrong": sum(each["status"] in (400, 404, 422) for each in record),
    }  # fmt: skip
    (folder / "answers.json").write_text(json.dumps(answers))


def all_at_once(folder: Path) -> None:
    replace_text(folder / "client.py", "100", "100000")


def no_patience(folder: Path) -> None:
    replace_text(folder / "client.py", 'float(error.headers.get("Retry-After", pause))', "0.1")


def all_again(folder: Path) -> None:
    replace_text(folder / "client.py", "AGAIN = (429, 503)", "AGAIN = range(400, 600)")


def everything_again(folder: Path) -> None:
    record = json.loads((folder / "record.json").read_text())
    num = sum(each["status"] != 200 for each in record)
    edit_json(folder / "answers.json", lambda answers: answers.update(num_again=num))


def lost_is_lost(folder: Path) -> None:
    replace_text(
        folder / "client.py", "(ConnectionError, http.client.HTTPException, urllib.error.URLError)", "KeyError"
    )
