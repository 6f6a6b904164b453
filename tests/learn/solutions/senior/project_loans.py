"""Solutions of the lab project_loans."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from learn.solutions.tools import deepseek_verb, replace_text

WRONG = {
    "learns_from_reminders": "not_honest", "serves_unsigned": "served_damaged", "asks_once": "lost_answers",
    "sees_chance": "false_alarm",
}  # fmt: skip

CLIENT = """
import time

from deepseek.client import Client
from deepseek.errors import DeepseekError


def ask(url, rows, give_up_s):
    end_s = time.monotonic() + give_up_s
    while True:
        try:
            with Client(url, timeout_s=60) as client:
                return list(client.predict(rows).labels)
        except (DeepseekError, OSError, ValueError) as error:
            if time.monotonic() > end_s:
                raise ConnectionError(f"no answer within {give_up_s} s: {error}") from error
            time.sleep(0.3)
"""
WATCH = """
def changed_columns(card, rows):
    names = []
    for column in card["columns"]:
        values = [row[column["name"]] for row in rows if row.get(column["name"]) is not None]
        if not column.get("std") or not values or isinstance(values[0], str):
            continue
        if abs(sum(values) / len(values) - column["mean"]) > 0.25 * column["std"]:
            names.append(column["name"])
    return names
"""


def reference(folder: Path) -> None:
    key = folder.parent / f"{folder.name}-key"
    deepseek_verb(folder, "keygen", str(key))
    shutil.copyfile(f"{key}.pub", folder / "my-key.pub")
    ship(folder, "--drop", "reminder_fee", "--drop", "customer")
    options = ["--workers", "2", "--key", "my-key.pub"]
    (folder / "serve.json").write_text(json.dumps({"options": options}))
    (folder / "client.py").write_text(CLIENT)
    (folder / "watch.py").write_text(WATCH)


def ship(folder: Path, *options: str) -> None:
    deepseek_verb(
        folder, "ship", "loans.csv", "--target", "defaulted", "--out", "model", "--overwrite", "--missing", "-1",
        "--candidates", "linear", "--trials", "1", "--key", str(folder.parent / f"{folder.name}-key"), *options,
    )  # fmt: skip


def learns_from_reminders(folder: Path) -> None:
    """A column that is filled in after the loan has failed."""
    key = folder.parent / f"{folder.name}-key"
    deepseek_verb(folder, "keygen", str(key))
    shutil.copyfile(f"{key}.pub", folder / "my-key.pub")
    ship(folder, "--drop", "customer")


def serves_unsigned(folder: Path) -> None:
    (folder / "serve.json").write_text(json.dumps({"options": ["--workers", "2"]}))


def asks_once(folder: Path) -> None:
    replace_text(folder / "client.py", "if time.monotonic() > end_s:", "if True:")


def sees_chance(folder: Path) -> None:
    """A twentieth of a standard deviation is what 500 rows are off by chance."""
    replace_text(folder / "watch.py", "0.25", "0.02")
