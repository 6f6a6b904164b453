"""Checks of the lab "The device of a few kilobytes"."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

FILE, WEIGHTS, PROBE = "device.py", "weights.bin", Path(__file__).with_name("probe.py")
NUM_HIDDEN, NUM_ROWS, NUM_FRESH = 96, 200, 400
ALLOWED = {"array", "math", "pathlib", "struct", "zlib", "__future__"}
LIMITS = {WEIGHTS: 9_000, FILE: 6_000}
MIN_SAME, MAX_OFF, MAX_MEMORY = 0.99, 1 / 20, 96 << 10
NAMES = ("hidden", "hidden_bias", "output", "output_bias")


def make(data: DataFolder) -> object:
    """A net of the learner's own: hidden units by chance, the output by ridge regression, each unit with a size of its
    own, which max(0, .) does not mind."""
    rng = data.rng
    pixels, digits = scans(rng, 1_500)
    hidden = rng.normal(0, 1, (NUM_HIDDEN, 64)) / 8
    hidden_bias = -hidden @ pixels[:NUM_HIDDEN].mean(0) + rng.normal(0, 0.5, NUM_HIDDEN)
    units = np.column_stack([np.maximum(0, pixels @ hidden.T + hidden_bias), np.ones(len(pixels))])
    wanted = np.eye(10)[digits]
    solved = np.linalg.solve(units.T @ units + 3.0 * np.eye(NUM_HIDDEN + 1), units.T @ wanted)
    sizes = 10 ** rng.uniform(-1.5, 1.5, NUM_HIDDEN)
    parts = (hidden * sizes[:, None], hidden_bias * sizes, solved[:-1].T / sizes, solved[-1])
    for name, part in zip(NAMES, parts, strict=True):
        np.save(data.path(f"{name}.npy"), part.astype(np.float32))
    rows = np.round(pixels[:NUM_ROWS])
    data.write_csv("rows.csv", {f"p{place}": rows[:, place].astype(int) for place in range(64)})
    return None


def scans(rng: np.random.Generator, num: int) -> tuple[Any, Any]:
    """Pixels (num, 64) and digits, through the noise of a scanner."""
    from sklearn.datasets import load_digits

    source = load_digits()
    rows = rng.choice(len(source.target), num, replace=False)
    return np.clip(source.data[rows] + rng.normal(0, 1, (num, 64)), 0, 16), source.target[rows]


def check_same(work: Work) -> None:
    rows, wanted = truth_of(work)
    said = answers_of(work, rows)
    differs = np.argmax(said, 1) != np.argmax(wanted, 1)
    if differs.mean() <= 1 - MIN_SAME:
        return
    raise Mistake("other_digits", num=int(differs.sum()), total=len(rows))


def check_scores(work: Work) -> None:
    rows, wanted = truth_of(work)
    off = float(np.abs(answers_of(work, rows) - wanted).max())
    spread = float(wanted.max() - wanted.min())
    if not off <= MAX_OFF * spread:
        raise Mistake("other_scores", said=f"{off:.3g}", spread=f"{spread:.3g}")


def check_size(work: Work) -> None:
    for name, limit in LIMITS.items():
        size = work.path(name).stat().st_size
        if size > limit:
            raise Mistake("too_large", name=name, size=size, limit=limit)


def check_alone(work: Work) -> None:
    try:
        tree = ast.parse(work.path(FILE).read_bytes())
    except (SyntaxError, ValueError) as error:
        raise Mistake("solution_raised", file=FILE, line=getattr(error, "lineno", 1), error=error) from error
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "."]
        if isinstance(node, ast.Name) and node.id in ("__import__", "importlib"):
            names = [node.id]
        for name in names:
            if name.partition(".")[0] not in ALLOWED:
                raise Mistake("imports", name=name)


def check_memory(work: Work) -> None:
    rows, _ = truth_of(work)
    (size,) = work.probe(PROBE, FILE, "memory", [rows[0].tolist()])
    if size > MAX_MEMORY:
        raise Mistake("too_much_memory", size=size, limit=MAX_MEMORY)


def check_refuses(work: Work) -> None:
    row = truth_of(work)[0][0].tolist()
    bad = {
        Text("63 pixels", "63 个像素"): row[:-1], Text("65 pixels", "65 个像素"): [*row, 0],
        Text("a pixel of 17", "像素 17"): [17.0, *row[1:]], Text("a pixel below 0", "负像素"): [*row[:-1], -0.5],
        Text("a pixel that is no number (NaN)", "非数像素 (NaN)"): [*row[:5], math.nan, *row[6:]],
    }  # fmt: skip
    (kinds,) = work.probe(PROBE, FILE, "refusals", [list(bad.values())])
    for what, kind in zip(bad, kinds, strict=True):
        if kind != "ValueError":
            raise Mistake("answers_anything", what=what, said=kind or Text("a digit", "一个数字"))


def check_damaged(work: Work) -> None:
    """In the copy that code runs in, which is mended afterwards."""
    row = truth_of(work)[0][0].tolist()
    path = work.place.folder / WEIGHTS
    content = work.path(WEIGHTS).read_bytes()
    for place in work.rng("damage").choice(len(content), 3, replace=False).tolist():
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        try:
            ((kind,),) = work.probe(PROBE, FILE, "refusals", [[row]])
        finally:
            path.write_bytes(content)
        if kind != "ValueError":
            raise Mistake("damage_unnoticed", said=kind or Text("a digit", "一个数字"))


def truth_of(work: Work) -> tuple[Any, Any]:
    """Fresh scans, and the scores of the float32 net for them."""
    hidden, hidden_bias, output, output_bias = (read_array(work.path(f"{name}.npy")) for name in NAMES)
    rows = np.round(scans(work.rng("scans"), NUM_FRESH)[0])
    return rows, np.maximum(0, rows @ hidden.T + hidden_bias) @ output.T + output_bias


def read_array(path: Path) -> Any:
    with path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False).astype(float)


def answers_of(work: Work, rows: Any) -> Any:
    """The scores that the device gives, (N, 10)."""
    work.path(WEIGHTS)
    (answers,) = work.probe(PROBE, FILE, "answers", [rows.tolist()])
    scores = np.full((len(rows), 10), np.nan)
    for place, said in enumerate(answers):
        try:
            scores[place] = np.asarray(said["scores"], float)
            right = bool(np.isfinite(scores[place]).all()) and int(said["digit"]) == int(np.argmax(scores[place]))
        except (KeyError, TypeError, ValueError):
            right = False
        if not right:
            raise Mistake("no_answer", said=str(said)[:60])
    return scores
