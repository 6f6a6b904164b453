"""What `data clean` finds: labels that were turned on purpose, beside cleanlab, and near duplicates of 100,000 rows.

    pip install --no-deps cleanlab termcolor tqdm        # into an environment of its own, or a folder of PYTHONPATH
    python benchmarks/cleaning.py [--quick] [--only CLAIM]

Labels. 5, 10 and 20 % of the labels of scikit-learn's breast cancer and wine tables become another class, by class
(each alike) and by feature (rows near to the middle between classes more often). Ours ranks rows by its score, cleanlab
by self-confidence and by normalized margin, whichever is better, over the same chances out of fold. Average precision,
mean over noise and seeds. Bar: at least cleanlab's.

Near duplicates. 100,000 questions made of banking77's words by chance, 1 % of them again with a letter, a blank or a
sign changed. Bars: at most 60 CPU s, recall at least .98 at a precision of at least .98.
"""

from __future__ import annotations

import csv
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from result import claim, finish, options
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.metrics import average_precision_score

from deepseek.automl.clean.label_errors import find_label_errors
from deepseek.automl.clean.near_duplicates import find_near
from deepseek.automl.clean.out_of_fold import score_out_of_fold
from deepseek.data import read_table

SEEDS, SHARES = (0, 1, 2), (0.05, 0.10, 0.20)
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


def rank_labels(name: str) -> tuple[float, float]:
    """Mean average precision: ours, and the better of cleanlab's two."""
    from cleanlab.rank import get_label_quality_scores

    data = TABLES[name]()
    columns = {f"c{place}": data.data[:, place].tolist() for place in range(data.data.shape[1])}
    kinds = dict.fromkeys(columns, "numeric")
    ours, rivals = [], {"self_confidence": [], "normalized_margin": []}
    for seed in SEEDS:
        for share in SHARES:
            for by_feature in (False, True):
                draw = np.random.default_rng((seed, round(100 * share), by_feature))
                codes = turn_labels(data, share, by_feature, draw)
                table = read_table({**columns, "y": [f"k{code}" for code in codes]})
                labels = tuple(f"k{code}" for code in range(data.target.max() + 1))
                scored = score_out_of_fold(table, "y", labels, kinds, seed)
                assert scored is not None
                wrong = (codes != data.target)[scored.rows]
                ours.append(average_precision_score(wrong, find_label_errors(scored.codes, scored.probabilities).score))
                for method, values in rivals.items():
                    quality = get_label_quality_scores(scored.codes, scored.probabilities, method=method)
                    values.append(average_precision_score(wrong, -quality))
        print(
            f"{name} seed {seed}: ours {np.mean(ours):.4f}",
            {k: round(float(np.mean(v)), 4) for k, v in rivals.items()},
            flush=True,
        )
    return float(np.mean(ours)), max(float(np.mean(values)) for values in rivals.values())


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
    names = [f"wrong_labels_{name}" for name in TABLES]
    asked = options(__doc__, [*names, "near_duplicates_cpu"], quick="near duplicates alone").parse_args()
    claims: list[dict[str, Any]] = []
    for name in TABLES:
        if not asked.quick and asked.only in (None, f"wrong_labels_{name}"):
            ours, rival = rank_labels(name)
            note = "average precision, 5, 10 and 20 % by class and by feature"
            claims.append(
                claim(
                    f"wrong_labels_{name}", ours=ours, rival=rival, rival_name="cleanlab 2.9", ratio=ours / rival,
                    unit="average precision", op=">=", bar=1.0, num_seeds=len(SEEDS), note=note,
                )
            )  # fmt: skip
    if asked.only in (None, "near_duplicates_cpu"):
        claims += measure_copies()
    not_run = [name for name in names if name not in {each["claim"] for each in claims}]
    return finish("cleaning", claims, not_run=[*not_run, "accuracy regained by retraining"])


if __name__ == "__main__":
    sys.exit(main())
