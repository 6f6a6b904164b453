"""What `data clean` finds: labels that were turned on purpose, beside cleanlab; outliers; near duplicates.

    pip install --no-deps cleanlab termcolor tqdm        # into an environment of its own, or a folder of PYTHONPATH
    python benchmarks/cleaning.py [--quick] [--only CLAIM]

Labels. 5, 10 and 20 % of the labels of scikit-learn's breast cancer and wine tables become another class, by class
(each alike) and by feature (rows near to the middle between classes more often). Ours ranks rows by its score. cleanlab
ranks them by self-confidence and normalized margin, each plain and adjusted, over the same chances out of fold; and by
its own advice, CleanLearning with HistGradientBoosting on five folds. The best of its rankings is the rival, and its
own advice once more. Average precision, mean over noise and seeds. Bar: at least cleanlab's.

Retraining. A third of the rows is held out with its true labels. HistGradientBoosting with its defaults learns from the
true labels, the turned ones, those with all findings applied, and, as cleanlab does it, without the rows of its issues.
Regained is the mean accuracy won back, of what the noise cost. Bar: .70.

Outliers. In 1 % of the rows of the cancer, wine and diabetes tables one number has its decimal point moved or its sign
turned. Ours are findings; the rival is IsolationForest by its own threshold. F1 of rows. No bar was set for it.

Near duplicates. 100,000 questions made of banking77's words by chance, 1 % of them again with a letter, a blank or a
sign changed. Bars: at most 60 CPU s, recall at least .98 at a precision of at least .98.
"""

from __future__ import annotations

import csv
import os
import sys
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from result import claim, finish, options
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest
from sklearn.metrics import average_precision_score, f1_score

from deepseek.automl.clean.label_errors import find_label_errors
from deepseek.automl.clean.near_duplicates import find_near
from deepseek.automl.clean.out_of_fold import OutOfFold, score_out_of_fold
from deepseek.automl.clean.outliers import find_outliers
from deepseek.data import read_table

SEEDS, SHARES = (0, 1, 2, 3, 4), (0.05, 0.10, 0.20)
OWN_ADVICE = "CleanLearning"
TABLES = {"cancer": load_breast_cancer, "wine": load_wine}
NUM_TEXTS, NUM_COPIES = 100_000, 1_000
DATA = Path(os.environ.get("DEEPSEEK_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def turn_labels(data: Any, share: float, by_feature: bool, draw: np.random.Generator) -> Any:
    """(N,) classes of which a share is another one."""
    target = data.target.copy()
    weight = np.ones(len(target))
    if by_feature:
        scaled = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
        middle = np.stack([scaled[target == code].mean(axis=0) for code in range(target.max() + 1)])
        distance = np.sort(np.linalg.norm(scaled[:, None] - middle[None], axis=2), axis=1)
        weight = np.exp(-(distance[:, 1] - distance[:, 0]))
    rows = draw.choice(len(target), round(share * len(target)), replace=False, p=weight / weight.sum())
    target[rows] = (target[rows] + draw.integers(1, target.max() + 1, len(rows))) % (target.max() + 1)
    return target


@dataclass
class NoisyTable:
    """One table with turned labels: what learns, and what is held out."""

    numbers: Any  # (N, D)
    codes: Any  # (N,) partly turned
    truth: Any  # (N,)
    test: Any  # (T, D)
    test_truth: Any  # (T,)

    @property
    def wrong(self) -> Any:
        return self.codes != self.truth


def make_noisy(name: str, share: float, by_feature: bool, seed: int, *, held_out: bool) -> NoisyTable:
    data = TABLES[name]()
    draw = np.random.default_rng((seed, round(100 * share), by_feature))
    order = draw.permutation(len(data.target)) if held_out else np.arange(len(data.target))
    size = 2 * len(order) // 3 if held_out else len(order)
    part = SimpleNamespace(data=data.data[order[:size]], target=data.target[order[:size]])
    codes = turn_labels(part, share, by_feature, draw)
    return NoisyTable(part.data, codes, part.target, data.data[order[size:]], data.target[order[size:]])


def score_ours(noisy: NoisyTable, seed: int) -> OutOfFold:
    """Chances from models that have not seen the row, by `data clean`'s own search."""
    columns = {f"c{place}": noisy.numbers[:, place].tolist() for place in range(noisy.numbers.shape[1])}
    labels = tuple(f"k{code}" for code in range(noisy.truth.max() + 1))
    table = read_table({**columns, "y": [f"k{code}" for code in noisy.codes]})
    scored = score_out_of_fold(table, "y", labels, dict.fromkeys(columns, "numeric"), seed)
    assert scored is not None
    return scored


def rank_labels(name: str) -> tuple[float, dict[str, float]]:
    """Mean average precision: ours, and of each of cleanlab's rankings by its name."""
    from cleanlab.rank import get_label_quality_scores

    ours, rivals = [], {}
    for seed in SEEDS:
        for share, by_feature in product(SHARES, (False, True)):
            noisy = make_noisy(name, share, by_feature, seed, held_out=False)
            scored = score_ours(noisy, seed)
            wrong = noisy.wrong[scored.rows]
            errors = find_label_errors(scored.codes, scored.probabilities)
            ours.append(average_precision_score(wrong, errors.score))
            for method, adjusts in product(("self_confidence", "normalized_margin"), (False, True)):
                quality = get_label_quality_scores(
                    scored.codes, scored.probabilities, method=method, adjust_pred_probs=adjusts
                )
                key = f"{method}{', adjusted' if adjusts else ''}"
                rivals.setdefault(key, []).append(average_precision_score(wrong, -quality))
            own = advise(noisy, seed)["label_quality"].to_numpy()
            rivals.setdefault(OWN_ADVICE, []).append(average_precision_score(noisy.wrong, -own))
        means = {key: round(float(np.mean(values)), 4) for key, values in rivals.items()}
        print(f"{name} seed {seed}: ours {np.mean(ours):.4f}", means, flush=True)
    return float(np.mean(ours)), {key: float(np.mean(values)) for key, values in rivals.items()}


def advise(noisy: NoisyTable, seed: int) -> Any:
    """cleanlab's own way: CleanLearning finds issues with a model of its choice."""
    from cleanlab.classification import CleanLearning

    learning = CleanLearning(HistGradientBoostingClassifier(random_state=seed), seed=seed, verbose=False)
    return learning.find_label_issues(noisy.numbers, noisy.codes)


def measure_regained(name: str) -> tuple[float, float]:
    """Of the accuracy that noise costs, the share that is won back: by our findings applied, by cleanlab's left out."""
    kept: dict[str, list[float]] = {"true": [], "noisy": [], "ours": [], "cleanlab": []}
    for seed in SEEDS:
        for share, by_feature in product(SHARES, (False, True)):
            noisy = make_noisy(name, share, by_feature, 100 + seed, held_out=True)
            scored = score_ours(noisy, seed)
            errors = find_label_errors(scored.codes, scored.probabilities)
            applied = noisy.codes.copy()
            applied[scored.rows[errors.is_finding]] = errors.better[errors.is_finding]
            left = ~advise(noisy, seed)["is_label_issue"].to_numpy()
            for way, rows, codes in (
                ("true", slice(None), noisy.truth), ("noisy", slice(None), noisy.codes),
                ("ours", slice(None), applied), ("cleanlab", left, noisy.codes),
            ):  # fmt: skip
                model = HistGradientBoostingClassifier(random_state=seed).fit(noisy.numbers[rows], codes[rows])
                kept[way].append(model.score(noisy.test, noisy.test_truth))
        means = {way: round(float(np.mean(values)), 4) for way, values in kept.items()}
        print(f"{name} seed {seed}: accuracy {means}", flush=True)
    mean = {way: float(np.mean(values)) for way, values in kept.items()}
    cost = mean["true"] - mean["noisy"]
    return (mean["ours"] - mean["noisy"]) / cost, (mean["cleanlab"] - mean["noisy"]) / cost


def slip(value: float, draw: np.random.Generator) -> float:
    """A number as somebody may have mistyped it."""
    return float(value * draw.choice((10.0, 100.0, 0.01, -1.0)) if value else draw.choice((10.0, 100.0)))


def measure_outliers() -> dict[str, Any]:
    scores: dict[str, list[float]] = {"ours": [], "rival": []}
    for seed, load in product(SEEDS, (load_breast_cancer, load_wine, load_diabetes)):
        draw = np.random.default_rng(700 + seed)
        numbers = load().data.copy()
        planted = draw.choice(len(numbers), max(2, len(numbers) // 100), replace=False)
        for row in planted.tolist():
            column = int(draw.integers(numbers.shape[1]))
            numbers[row, column] = slip(numbers[row, column], draw)
        columns = {f"c{place}": numbers[:, place].tolist() for place in range(numbers.shape[1])}
        outliers = find_outliers(read_table(columns), dict.fromkeys(columns, "numeric"))
        forest = IsolationForest(random_state=seed).fit_predict(numbers) < 0
        truth = np.isin(np.arange(len(numbers)), planted)
        ours = np.isin(np.arange(len(numbers)), [each.row for each in outliers])
        scores["ours"].append(f1_score(truth, ours))
        scores["rival"].append(f1_score(truth, forest))
    ours, rival = (float(np.mean(scores[key])) for key in ("ours", "rival"))
    return claim(
        "outliers", ours=ours, rival=rival, rival_name="IsolationForest", ratio=ours / rival, unit="F1", op=">=",
        bar=1.0, num_seeds=len(SEEDS), note="slips of the decimal point or the sign in 1 % of the rows of three tables",
    )  # fmt: skip


def plant_copies() -> tuple[list[str], dict[int, int]]:
    """Texts, and the row of which each planted one is a copy."""
    draw = np.random.default_rng(0)
    with (DATA / "banking77" / "train.csv").open(encoding="utf-8", newline="") as file:
        words = np.array(sorted({word for row in csv.DictReader(file) for word in row["text"].split()}))
    texts = [" ".join(draw.choice(words, draw.integers(10, 30))) for _ in range(NUM_TEXTS - NUM_COPIES)]
    sources = draw.choice(len(texts), NUM_COPIES, replace=False).tolist()
    copies = {}
    for source in sources:
        text, place = texts[source], int(draw.integers(1, len(texts[source]) - 1))
        changed = (text[:place] + "x" + text[place + 1 :], text[:place] + "  " + text[place:], text.upper() + "!")
        copies[len(texts)] = source
        texts.append(changed[int(draw.integers(3))])
    return texts, copies


def measure_copies() -> list[dict[str, Any]]:
    texts, copies = plant_copies()
    table = read_table({"text": texts})
    start_s = time.process_time()
    groups = find_near(table, {"text": "text"}, None)
    cost_s = time.process_time() - start_s
    found = {(rows[0], row) for rows in groups for row in rows[1:]}
    planted = {(source, copy) for copy, source in copies.items()}
    recall, precision = len(found & planted) / len(planted), len(found & planted) / max(len(found), 1)
    return [
        claim("near_duplicates_cpu", ours=cost_s, unit="CPU s", op="<=", bar=60.0, note=f"{len(texts):,} rows"),
        claim("near_duplicates_recall", ours=recall, unit="share", op=">=", bar=0.98),
        claim("near_duplicates_precision", ours=precision, unit="share", op=">=", bar=0.98),
    ]


def main() -> int:
    ranks, regains = ([f"{kind}_{name}" for name in TABLES] for kind in ("wrong_labels", "accuracy_regained"))
    names = [*ranks, *regains, "outliers", "near_duplicates_cpu"]
    asked = options(__doc__, names, quick="outliers and near duplicates alone").parse_args()
    claims: list[dict[str, Any]] = []
    noise = "5, 10 and 20 % by class and by feature"
    for name in TABLES:
        if not asked.quick and asked.only in (None, f"wrong_labels_{name}"):
            ours, rivals = rank_labels(name)
            own = rivals.pop(OWN_ADVICE)
            best = max(rivals, key=lambda key: rivals[key])
            claims += [
                claim(
                    title, ours=ours, rival=rival, rival_name=f"cleanlab 2.9, {method}", ratio=ours / rival,
                    unit="average precision", op=">=", bar=1.0, num_seeds=len(SEEDS), note=f"{noise}; {chances}",
                )
                for title, rival, method, chances in (
                    (f"wrong_labels_{name}", rivals[best], best, "the same chances"),
                    (f"wrong_labels_own_advice_{name}", own, OWN_ADVICE, "chances of its own"),
                )
            ]  # fmt: skip
        if not asked.quick and asked.only in (None, f"accuracy_regained_{name}"):
            ours, rival = measure_regained(name)
            claims.append(
                claim(
                    f"accuracy_regained_{name}", ours=ours, rival=rival, rival_name="cleanlab 2.9, CleanLearning",
                    unit="share of what noise cost", op=">=", bar=0.70, num_seeds=len(SEEDS), note=noise,
                )
            )  # fmt: skip
    if asked.only in (None, "outliers"):
        claims.append(measure_outliers())
    if asked.only in (None, "near_duplicates_cpu"):
        claims += measure_copies()
    done = {each["claim"] for each in claims}
    return finish("cleaning", claims, not_run=[name for name in names if name not in done])


if __name__ == "__main__":
    sys.exit(main())
