"""Labels that 95 % of the accuracy with all labels takes: `label next` against other strategies.

    python benchmarks/labelling.py [--quick] [--only CLAIM]

Each strategy asks for batches of labels; the same linear model on the same numbers of the items is fitted to them and
measured on test rows that nobody asks for. Margin, BADGE and TypiClust are written here after their papers, on the
same model; Clue, Falcun and DropQuery are scikit-activeml's, ranked batches modAL's (up to 3,000 items), contrastive
learning small-text's (texts), where they are installed (labelling_rivals.py says how). What reads a model begins with a
batch at random, as published.

banking77 has 10,003 questions of 77 intents (test: 3,080), sst2 6,920 sentences of two kinds (1,821), cifar10-jpeg
5,000 pictures of 10 kinds (2,000), neu-det 1,230 pictures of 6 defects (300), fsdd 2,700 sounds of 10 digits (300),
cancer two thirds of 569 rows (a third). The batches were set before anything was run; what `label next` does was
chosen on other sets (docs/log.md names them): sentences with ratings, clauses, reports, spans of contracts, lines of
plays, intents, digits, tiles. Bars: at most .40 of random's labels as the geometric mean, and no more than the best
rival on each set.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import sys
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from fraud_features import cache_folder
from labelling_rivals import PACKAGES, Pool, Turn, at_random, installed_strategies
from result import RESULTS, claim, finish, options
from run_cache import Line, Runs, source_digest
from sklearn.datasets import load_breast_cancer

from deepseek.automl.label.choose.features import describe_rows
from deepseek.automl.label.choose.learner import Learner, fit_learner
from deepseek.automl.label.choose.strategy import choose_batch, choose_typical

NUM_SEEDS = 5
GOAL, MEAN_BAR, EACH_BAR = 0.95, 0.40, 1.0
BUDGETS = {
    "banking77": (100, 200, 350, 500, 700, 950, 1250, 1600, 2000, 2500, 3100, 3800, 4700, 5800),
    "cancer": (6, 10, 14, 20, 28, 40, 60, 90, 130, 200),
    "neu-det": (12, 18, 24, 36, 48, 66, 90, 120, 170, 240, 340, 480, 700),
    "fsdd": (20, 30, 40, 60, 80, 110, 150, 200, 280, 400, 560, 800, 1_200),
    "sst2": (20, 40, 80, 120, 180, 260, 360, 500, 700, 950, 1_250, 1_600, 2_000, 2_600, 3_400, 4_400, 5_600),
    "cifar10-jpeg": (60, 100, 160, 240, 340, 460, 600, 800, 1_050, 1_350, 1_700, 2_200, 2_800, 3_500, 4_300),
}
FILES = {"neu-det": ("images.zip", "image"), "fsdd": ("recordings.zip", "audio")}
NUM_PHOTOS, NUM_TEST_PHOTOS = 5_000, 2_000  # of cifar10-jpeg, the first ones
DATA = Path(os.environ.get("DEEPSEEK_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def load_texts(name: str) -> Pool:
    parts = []
    for part in ("train", "test"):
        if name == "sst2":
            rows = pq.read_table(DATA / "sst2" / "sst2.parquet").to_pylist()
            parts.append([(row["text"], str(row["label"])) for row in rows if row["split"] == part])
            continue
        with (DATA / name / f"{part}.csv").open(encoding="utf-8", newline="") as file:
            parts.append([(row["text"], row["category"]) for row in csv.DictReader(file)])
    texts = [text for text, _ in (*parts[0], *parts[1])]
    dense = describe_rows(range(len(texts)), {"text": texts}, {"text": "text"}, None, 0).dense
    return _split(dense, [label for _, label in (*parts[0], *parts[1])], len(parts[0]))


def _split(dense: Any, labels: Sequence[str], size: int) -> Pool:
    _, codes = np.unique(labels, return_inverse=True)
    return Pool(dense[:size], codes[:size], dense[size:], codes[size:], int(codes.max()) + 1)


def load_photos() -> Pool:
    """cifar10-jpeg."""
    rows = []
    for part, num in (("train-0", NUM_PHOTOS), ("test", NUM_TEST_PHOTOS)):
        rows += pq.read_table(DATA / "cifar10-jpeg" / f"{part}.parquet").slice(0, num).to_pylist()
    names = [f"{number}.jpg" for number in range(len(rows))]
    with TemporaryDirectory() as folder:
        for name, row in zip(names, rows, strict=True):
            (Path(folder) / name).write_bytes(row["jpeg"])
        dense = describe_rows(range(len(rows)), {"file": names}, {"file": "image"}, Path(folder), 0).dense
    return _split(dense, [str(row["label"]) for row in rows], NUM_PHOTOS)


def load_files(name: str) -> Pool:
    """Pictures of six defects (neu-det: 1,230 to ask, 300 to measure on) or spoken digits (fsdd: 2,700 and 300)."""
    archive, kind = FILES[name]
    with (DATA / name / ("index.csv" if name == "fsdd" else "boxes.csv")).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if name == "fsdd":
        split, label = ({row["file"]: row[key] for row in rows} for key in ("split", "digit"))
    else:
        split = {row["image"]: row["split"] for row in rows}
        label = {each: each.rpartition("_")[0] for each in split}
    order = sorted(split, key=lambda each: (split[each] != "train", each))
    with TemporaryDirectory() as folder:
        with zipfile.ZipFile(DATA / name / archive) as content:
            paths = {Path(each).name: each for each in content.namelist()}
            for each in order:
                (Path(folder) / each).write_bytes(content.read(paths[each]))
        dense = describe_rows(range(len(order)), {"file": order}, {"file": kind}, Path(folder), 0).dense
    return _split(dense, [label[each] for each in order], sum(part == "train" for part in split.values()))


def load_cancer(seed: int) -> Pool:
    data = load_breast_cancer()
    order = np.random.default_rng(1_000 + seed).permutation(len(data.target))
    columns = {f"c{place}": data.data[order, place].tolist() for place in range(data.data.shape[1])}
    dense = describe_rows(range(len(order)), columns, dict.fromkeys(columns, "numeric"), None, 0).dense
    return _split(dense, data.target[order].astype(str).tolist(), 2 * len(order) // 3)


def load(name: str) -> Pool:
    if name == "cifar10-jpeg":
        return load_photos()
    return load_files(name) if name in FILES else load_texts(name)


def ask_margin(turn: Turn) -> Any:
    if turn.learner is None:
        return at_random(turn)
    top = np.sort(turn.learner.probabilities(turn.pool.train[turn.left]), axis=1)[:, -2:]
    return turn.left[np.argsort(top[:, 1] - top[:, 0], kind="stable")[: turn.num]]


def draw_spread(error: Any, points: Any, num: int, draw: np.random.Generator) -> list[int]:
    """k-means++ on the products of `error` (N, C) and `points` (N, D), which are never made: the inner product of two
    of them is the product of both inner products. The first is the longest."""
    length = np.square(error).sum(axis=1) * np.square(points).sum(axis=1)
    chosen = [int(np.argmax(length))]
    distance = np.full(len(error), np.inf)
    while len(chosen) < num:
        last = chosen[-1]
        inner = (error @ error[last]) * (points @ points[last])
        distance = np.minimum(distance, np.maximum(length + length[last] - 2 * inner, 0))
        distance[chosen] = 0
        total = distance.sum()
        if total <= 0:  # all that is left is equal to something that was chosen
            rest = np.setdiff1d(np.arange(len(error)), chosen)
            return [*chosen, *map(int, rest[: num - len(chosen)])]
        chosen.append(int(draw.choice(len(error), p=distance / total)))
    return chosen


def ask_badge(turn: Turn) -> Any:
    """Ash et al. 2020: k-means++ on the gradients of all that is left."""
    if turn.learner is None:
        return at_random(turn)
    error = -turn.learner.probabilities(turn.pool.train[turn.left])
    error[np.arange(len(turn.left)), error.argmin(axis=1)] += 1
    points = np.hstack([turn.pool.train[turn.left], np.ones((len(turn.left), 1))])
    return turn.left[draw_spread(error, points, turn.num, np.random.default_rng(turn.seed))]


def ask_typical(turn: Turn) -> Any:
    """Hacohen et al. 2022, at every budget."""
    choices = choose_typical(turn.pool.train, turn.labeled, turn.left, turn.num, turn.seed)
    return np.array([each.row for each in choices])


def ask_ours(turn: Turn) -> Any:
    answers = turn.pool.answers[turn.labeled]
    choices = choose_batch(
        turn.pool.train, turn.labeled, answers, turn.left, turn.num, turn.pool.num_classes, turn.seed
    )
    return np.array([each.row for each in choices])


STRATEGIES: dict[str, Callable[[Turn], Any]] = {
    "ours": ask_ours, "random": at_random, "margin": ask_margin, "BADGE": ask_badge, "TypiClust": ask_typical,
}  # fmt: skip


def accuracy(pool: Pool, learner: Learner) -> float:
    return float((learner.probabilities(pool.test).argmax(axis=1) == pool.truth).mean())


def needed_labels(pool: Pool, budgets: tuple[int, ...], ask: Callable[[Turn], Any], goal: float, seed: int) -> float:
    """Labels until the accuracy is `goal`, between two budgets by a line; the last budget where it is not reached."""
    labeled: Any = np.zeros(0, np.int64)
    learner, before = None, (0, 0.0)
    for budget in budgets:
        left = np.setdiff1d(np.arange(len(pool.train)), labeled)
        more = ask(Turn(pool, labeled, left, budget - len(labeled), learner, 100_000 * seed + budget))
        labeled = np.concatenate([labeled, more])
        learner = fit_learner(pool.train[labeled], pool.answers[labeled], np.ones(len(labeled)), pool.num_classes)
        now = accuracy(pool, learner)
        if now >= goal:
            share = (goal - before[1]) / (now - before[1])
            return before[0] + share * (budget - before[0])
        before = (budget, max(now, before[1]))
    return float(budgets[-1])


def digest_of_strategies() -> str:
    """Of their code, the model's and the measurement's, and of the versions of the rivals' packages."""
    parts = [source_digest("automl/label/choose")]
    parts += [Path(__file__).with_name(name).read_text() for name in ("labelling.py", "labelling_rivals.py")]
    packages = {*PACKAGES, "modAL-python", "scikit-learn"}
    parts += [f"{each.name} {each.version}" for each in distributions() if each.name in packages]
    return hashlib.sha256("\0".join(sorted(parts)).encode()).hexdigest()[:12]


def digest_of(pool: Pool) -> str:
    """Of all numbers of the items and their answers."""
    digest = hashlib.sha256()
    for each in (pool.train, pool.answers, pool.test, pool.truth):
        digest.update(np.ascontiguousarray(each).tobytes())
    return digest.hexdigest()[:12]


def measure(name: str, seeds: Sequence[int]) -> dict[str, float]:
    """Mean number of labels by strategy. What was asked before of the same numbers of the same items, by the same code
    and versions, is not asked again."""
    runs, source = Runs(cache_folder("labelling") / "runs.jsonl"), digest_of_strategies()
    fixed = None if name == "cancer" else load(name)
    found: dict[str, list[float]] = {}
    for seed in seeds:
        pool = fixed or load_cancer(seed)
        whole = fit_learner(pool.train, pool.answers, np.ones(len(pool.train)), pool.num_classes)
        goal = GOAL * accuracy(pool, whole)
        items = digest_of(pool)
        for each, ask in {**STRATEGIES, **installed_strategies(name, len(pool.train))}.items():
            key: Line = {
                "set": name, "seed": seed, "strategy": each, "items": items, "budgets": list(BUDGETS[name]),
                "source": source,
            }  # fmt: skip
            line = runs.find(key)
            if line is None:
                start_s = time.process_time()
                needed = needed_labels(pool, BUDGETS[name], ask, goal, seed)
                line = {**key, "labels": needed, "cpu_s": time.process_time() - start_s}
                runs.add(line)
            found.setdefault(each, []).append(line["labels"])
            number, cost_s = line["labels"], line["cpu_s"]
            print(f"{name} seed {seed} {each:28} {number:7.1f} labels, goal {goal:.3f}, {cost_s:.1f} CPU s", flush=True)
    return {each: float(np.mean(values)) for each, values in found.items()}


def judge(name: str, found: Mapping[str, float], num_seeds: int) -> dict[str, Any]:
    rival = min((each for each in found if each not in ("ours", "random")), key=lambda each: found[each])
    others = ", ".join(f"{each} {value:.1f}" for each, value in found.items())
    return claim(
        f"labels_needed_{name}", ours=found["ours"], rival=found[rival], rival_name=rival,
        ratio=found["ours"] / found[rival], unit="labels", op="<=", bar=EACH_BAR, num_seeds=num_seeds,
        note=f"for {GOAL:.0%} of the accuracy with all labels; {others}",
    )  # fmt: skip


def judge_mean(ratios: Mapping[str, float], num_seeds: int) -> dict[str, Any]:
    mean = float(np.exp(np.mean(np.log(list(ratios.values())))))
    each = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
    return claim(
        "labels_needed_mean", ours=mean, rival=1.0, rival_name="random", ratio=mean, unit="share of random",
        op="<=", bar=MEAN_BAR, num_seeds=num_seeds, note=f"geometric mean of {each}",
    )  # fmt: skip


def recorded_ratios() -> dict[str, float]:
    """Of each set that is in the record, our labels as a share of random's."""
    path = RESULTS / "labelling.json"
    ratios = {}
    for each in json.loads(path.read_text())["claims"] if path.exists() else []:
        if random := re.search(r"random ([0-9.]+)", each["note"]):
            ratios[each["claim"].removeprefix("labels_needed_")] = each["ours"] / float(random[1])
    return ratios


def main() -> int:
    names = [f"labels_needed_{name}" for name in BUDGETS]
    parser = options(__doc__, [*names, "labels_needed_mean"], quick="cancer alone")
    parser.add_argument("--seeds", type=int, default=NUM_SEEDS, help="Fewer, where the processor is wanted elsewhere.")
    asked = parser.parse_args()
    chosen = ["cancer"] if asked.quick else list(BUDGETS)
    if asked.only is not None:
        chosen = [name for name in BUDGETS if asked.only == f"labels_needed_{name}"]
    claims, ratios = [], recorded_ratios() if asked.only == "labels_needed_mean" else {}
    for name in chosen:
        found = measure(name, range(asked.seeds))
        ratios[name] = found["ours"] / found["random"]
        claims.append(judge(name, found, asked.seeds))
    if set(ratios) == set(BUDGETS):
        claims.append(judge_mean(ratios, asked.seeds))
    return finish(
        "labelling", claims, not_run=[name for name in names if name not in {each["claim"] for each in claims}]
    )


if __name__ == "__main__":
    sys.exit(main())
