"""Solutions of the lab net_of_keras."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from learn.solutions.tools import deepseek_verb, replace_text

WRONG = {
    "not_cut_off": "other_extremes", "bare_operations": "other_gaps", "whole_rows": "rows_lack",
    "edited_answers": "other_answers", "guessed_reason": "wrong_reason",
}  # fmt: skip

BUILD = """
import os
os.environ["KERAS_BACKEND"] = "torch"
import sys
sys.path.insert(0, ".")
import contrast, keras, numpy as np

net = keras.saving.load_model("net.keras")
settings = net.get_layer("contrast").get_config()
low, width = settings["low"], settings["high"] - settings["low"]
lines = keras.Input((8, 8), name="lines")
seen = keras.layers.Masking(-1.0)(lines)
bright = keras.layers.Rescaling(1 / width, offset=-low / width)(seen)
bright = keras.layers.ReLU(max_value=1.0)(bright)
state = keras.layers.SimpleRNN(net.get_layer("reader").units)(bright)
own = keras.Model(lines, keras.layers.Dense(10, "softmax", name="digit")(state))
own.load_weights("net.keras")
own.save("own.keras")
new = np.load("new.npz")["lines"]
np.save("net_chances.npy", net.predict(new, verbose=0))
"""
ROWS = """
import numpy as np
whole = np.load("new.npz")["lines"].copy()
whole = np.clip(np.abs(whole) * 1.5, 0, 16)[3:]
broken = whole.copy()
broken[:, 2] = -1
broken[0] = -1
np.savez("rows.npz", lines=np.concatenate([whole, broken]))
"""
#: Asks the bundle behind a server, and writes what is asked for.
ASK = """
import csv, json, subprocess, sys, urllib.request
import numpy as np

new = np.load("new.npz")["lines"]
def body(pictures):
    return json.dumps({"instances": [{"lines": each.tolist()} for each in pictures]})
open("request.json", "w").write(body(new[:3]))
command = [sys.executable, "-m", "deepseek", "serve", "model", "--port", "0", "--workers", "1", "--log-level", "off"]
server = subprocess.Popen(command, stdout=subprocess.PIPE)
try:
    url = json.loads(server.stdout.readline())["url"]
    request = urllib.request.Request(
        url + "/v1/models/model:predict", body(new).encode(), {"Content-Type": "application/json"})
    answer = json.load(urllib.request.urlopen(request))
finally:
    server.terminate()
    server.wait()
bundle = np.array([each["digit"] for each in answer["predictions"]])
net = np.load("net_chances.npy")
with open("answers.csv", "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["net_digit", "net_chance", "bundle_digit", "bundle_chance"])
    for a, b in zip(net, bundle):
        writer.writerow([a.argmax(), round(float(a.max()), 4), b.argmax(), round(float(b.max()), 4)])
"""


def reference(folder: Path) -> None:
    run(folder, BUILD)
    run(folder, ROWS)
    convert(folder)
    run(folder, ASK)
    (folder / "refused.json").write_text(json.dumps({net: why_refused(folder, net) for net in "abcd"}))


def run(folder: Path, script: str) -> None:
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def convert(folder: Path) -> None:
    shutil.rmtree(folder / "model", ignore_errors=True)
    deepseek_verb(folder, "convert", "own.keras", "--data", "rows.npz", "--out", "model")


def why_refused(folder: Path, net: str) -> dict[str, str | None]:
    """By the first line that `deepseek convert` says."""
    out = folder.parent / f"{folder.name}-{net}"
    words = ("convert", f"shelf/{net}.keras", "--data", "new.npz", "--out", str(out))
    done = subprocess.run(
        [sys.executable, "-m", "deepseek", *words], cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"NO_COLOR": "1"},
    )  # fmt: skip
    if done.returncode == 0:
        return {"layer": None, "why": "nothing"}
    said = next(line for line in done.stderr.splitlines() if line.startswith("error: "))
    if "Python code" in said:
        return {"layer": said.split("Lambda '")[1].split("'")[0], "why": "code"}
    if "custom object" in said:
        return {"layer": said.split("('")[1].split("'")[0], "why": "custom"}
    return {"layer": said.split("in '")[1].split("'")[0], "why": "backend"}


def not_cut_off(folder: Path) -> None:
    """Scales the brightness, and leaves it above 1."""
    run(folder, BUILD.replace("ReLU(max_value=1.0)", "ReLU()"))
    convert(folder)


def bare_operations(folder: Path) -> None:
    """Computes the same by operations, which drop the mask; the bundle agrees with that net."""
    own = "bright = keras.ops.clip((seen - low) / width, 0.0, 1.0)"
    script = BUILD.replace("bright = keras.layers.Rescaling(1 / width, offset=-low / width)(seen)", own)
    run(folder, script.replace("bright = keras.layers.ReLU(max_value=1.0)(bright)\n", ""))
    convert(folder)


def whole_rows(folder: Path) -> None:
    """Compares on what trains best: pictures without a gap."""
    run(folder, ROWS.replace("broken[:, 2] = -1\nbroken[0] = -1\n", ""))


def edited_answers(folder: Path) -> None:
    """One digit of the bundle is another one."""
    path = folder / "answers.csv"
    head, *rows = path.read_text().splitlines()
    net_digit, net_chance, digit, chance = rows[5].split(",")
    rows[5] = ",".join([net_digit, net_chance, str((int(digit) + 5) % 10), chance])
    path.write_text("\n".join([head, *rows]) + "\n")


def guessed_reason(folder: Path) -> None:
    """Takes one kind of refusal for another."""
    replace_text(folder / "refused.json", '"why": "custom"', '"why": "code"')
