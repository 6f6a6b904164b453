"""Solutions of the lab replace_without_loss."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

from learn.solutions.tools import edit_json, replace_text

WRONG = {
    "unloads_first": "lost_requests", "tries_in_place": "seen_too_early", "key_with_line_end": "key_refused",
    "leaves_the_trial": "left_behind", "fastest_of_all": "wrong_own",
}  # fmt: skip

ROLLOUT = """
import json
import os
import shutil
import urllib.request
from pathlib import Path
from urllib.error import HTTPError


def post(url, document):
    request = urllib.request.Request(url, json.dumps(document).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def scores(url, model, rows):
    answer = post(f"{url}/v1/models/{model}:predict", {"instances": [{"x": row} for row in rows]})
    return [each["scores"] for each in answer["predictions"]]


def rollout(url, repository, file, rows, limit):
    repository = Path(repository)
    waiting, trial, parts = repository.parent / "waiting", repository / "trial", repository / "parts"
    waiting.mkdir()
    shutil.copyfile(file, waiting / "model.onnx")
    os.rename(waiting, trial)
    try:
        post(f"{url}/v2/repository/models/trial/load", {})
    except HTTPError:
        shutil.rmtree(trial)
        return "damaged"
    pairs = zip(scores(url, "parts", rows), scores(url, "trial", rows))
    worst = max(abs(a - b) for old, new in pairs for a, b in zip(old, new))
    if worst <= limit:
        old_folder = repository.parent / "old"
        os.rename(parts, old_folder)
        shutil.copytree(trial, waiting)
        os.rename(waiting, parts)
        post(f"{url}/v2/repository/models/parts/load", {})
        shutil.rmtree(old_folder)
    post(f"{url}/v2/repository/models/trial/unload", {})
    shutil.rmtree(trial)
    return "replaced" if worst <= limit else "differs"
"""
IN_PLACE = """
    before = scores(url, "parts", rows)
    shutil.copyfile(parts / "model.onnx", "old.onnx")
    shutil.copyfile(file, parts / "model.onnx")
    try:
        post(f"{url}/v2/repository/models/parts/load", {})
    except HTTPError:
        shutil.copyfile("old.onnx", parts / "model.onnx")
        return "damaged"
    worst = max(abs(a - b) for old, new in zip(before, scores(url, "parts", rows)) for a, b in zip(old, new))
    if worst > limit:
        for _ in range(50):
            scores(url, "parts", rows)
        shutil.copyfile("old.onnx", parts / "model.onnx")
        post(f"{url}/v2/repository/models/parts/load", {})
        return "differs"
    return "replaced"
"""


def reference(folder: Path) -> None:
    (folder / "rollout.py").write_text(ROLLOUT)
    rows = list(csv.DictReader((folder / "measured.csv").open()))
    best = max((row for row in rows if float(row["p99_ms"]) <= 50), key=lambda row: float(row["rows_per_s"]))
    cost = max(float(row["rows_per_s"]) for row in rows) / float(best["rows_per_s"])
    (folder / "answers.json").write_text(json.dumps({"batch_size": int(best["batch_size"]), "cost": cost}))
    write_keys(folder, (folder / "secret.txt").read_text().strip())


def write_keys(folder: Path, secret: str) -> None:
    digest = hashlib.sha256(secret.encode()).hexdigest()
    (folder / "keys.txt").write_text(f"{digest} name=shop requests=5/s\n")


def unloads_first(folder: Path) -> None:
    """First the old one goes, then the new one comes."""
    replace_text(
        folder / "rollout.py", '        post(f"{url}/v2/repository/models/parts/load", {})',
        '        post(f"{url}/v2/repository/models/parts/unload", {})\n        import time\n'
        '        time.sleep(1)\n        post(f"{url}/v2/repository/models/parts/load", {})',
    )  # fmt: skip


def tries_in_place(folder: Path) -> None:
    """The new version is compared after it has taken over."""
    path = folder / "rollout.py"
    head, _, _ = path.read_text().partition("    waiting.mkdir()")
    path.write_text(head + IN_PLACE.lstrip("\n"))


def key_with_line_end(folder: Path) -> None:
    """As `sha256sum secret.txt` of a file with a line end, or echo without -n, has it."""
    write_keys(folder, (folder / "secret.txt").read_text().strip() + "\n")


def leaves_the_trial(folder: Path) -> None:
    replace_text(folder / "rollout.py", '    post(f"{url}/v2/repository/models/trial/unload", {})\n', "")


def fastest_of_all(folder: Path) -> None:
    rows = list(csv.DictReader((folder / "measured.csv").open()))
    best = max(rows, key=lambda row: float(row["rows_per_s"]))
    edit_json(folder / "answers.json", lambda answers: answers.update(batch_size=int(best["batch_size"])))
