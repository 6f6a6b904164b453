"""Development sets of the label model: which constants are chosen on, none of weak_labels.py's sets among them.

    python benchmarks/weak_labels_development.py [--draws 3] [--only contracts,digits]

Rules are made as a person makes them who has looked at few items: from SEEN labeled items of a draw, words (texts) or
one-sided limits of a column (numbers) that seem to speak for a class. In half of the draws they are written class by
class, as many for a rare class as for a common one, and from a sample that has more of some classes than there is; in
the others item by item, for one that no rule speaks of yet. In some, a rule says one of two classes. The end model and
its macro F1 are those of weak_labels.py.

Sets: passages that bear on one of eight hypotheses of contract-nli, speeches of six roles of tinyshakespeare, articles
of four Chinese laws; wine, breast cancer, digits and X-rays of lungs (pictures by their principal components); and of
four of them one class against all others, so that it is rare; and of two of them a long tail of classes.

Printed: F1 less that of majority vote, in points.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from weak_labels import DATA, MAX_TEST, MAX_TRAIN, RIVALS, Voted, WeakSet, ours, score

from deepseek.automl.label.choose.features import describe_rows

SEEN = (30, 60, 120)  # items that were looked at before rules were written
MOST_RULES = 7  # of one class
BY_CLASS = 0.5  # share of the draws whose rules are written class by class, and not item by item
TWO_SIDED = 0.3  # share of the draws whose rules say two classes
TAIL = 0.7
LEAST_PRECISION = 0.5  # on the seen items


@dataclass(frozen=True)
class Items:
    """Items with what a rule can look at."""

    signs: Any  # (N, S) bool: a word stands in the text, a column is beyond a limit
    dense: Any  # (N, D)
    labels: Any  # (N,)


def describe_texts(pairs: list[tuple[str, str]], words_of: Callable[[str], list[str]]) -> Items:
    draw = np.random.default_rng(0).permutation(len(pairs))[: MAX_TRAIN + MAX_TEST]
    pairs = [pairs[row] for row in draw.tolist()]
    texts = [text for text, _ in pairs]
    names = sorted({label for _, label in pairs})
    words = [set(words_of(text)) for text in texts]
    counts = Counter(word for each in words for word in each)
    vocabulary = {word: place for place, word in enumerate(sorted(word for word, n in counts.items() if n >= 5))}
    signs = np.zeros((len(texts), len(vocabulary)), bool)
    for row, each in enumerate(words):
        signs[row, [vocabulary[word] for word in each if word in vocabulary]] = True
    dense = describe_rows(range(len(texts)), {"text": texts}, {"text": "text"}, None, 0).dense
    return Items(signs, dense, np.array([names.index(label) for _, label in pairs]))


def split_english(text: str) -> list[str]:
    return re.findall(r"[a-z]{3,}", text.lower())


def split_chinese(text: str) -> list[str]:
    return [text[place : place + 2] for place in range(len(text) - 1)]


def describe_numbers(features: Any, labels: Any) -> Items:
    features = np.asarray(features, float)
    scaled = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-9)
    signs = [
        side * scaled > side * np.quantile(scaled, share, axis=0)
        for side in (1, -1)
        for share in (0.1, 0.25, 0.5, 0.75, 0.9)
    ]
    return Items(np.hstack(signs), scaled, np.asarray(labels))


def contracts() -> Items:
    pairs = []
    with zipfile.ZipFile(DATA / "contract-nli" / "contract_nli.zip") as archive:
        names = [name for name in archive.namelist() if re.search(r"(train_truncated|dev|test)\.json$", name)]
        for name in names:
            for document in json.load(io.BytesIO(archive.read(name)))["documents"]:
                for key, answer in document["annotation_sets"][0]["annotations"].items():
                    for span in answer["spans"]:
                        start, stop = document["spans"][span]
                        pairs.append((document["text"][start:stop], key))
    common = [key for key, _ in Counter(key for _, key in pairs).most_common(8)]
    times = Counter(text for text, _ in pairs)
    return describe_texts([(text, key) for text, key in pairs if key in common and times[text] == 1], split_english)


def roles() -> Items:
    speeches = re.findall(
        r"^([A-Z][A-Za-z ]+):\n((?:.+\n)+)", (DATA / "tinyshakespeare" / "input.txt").read_text(), re.M
    )
    common = [name for name, _ in Counter(name for name, _ in speeches).most_common(6)]
    return describe_texts([(text, name) for name, text in speeches if name in common], split_english)


def laws() -> Items:
    rows = pq.read_table(DATA / "zh-law" / "zh_law_articles.parquet").to_pylist()
    key = "law" if "law" in rows[0] else next(name for name in rows[0] if "law" in name.lower())
    text = "text" if "text" in rows[0] else max(rows[0], key=lambda name: len(str(rows[0][name])))
    common = [name for name, _ in Counter(row[key] for row in rows).most_common(4)]
    return describe_texts([(row[text], row[key]) for row in rows if row[key] in common], split_chinese)


def wine() -> Items:
    from sklearn.datasets import load_wine

    return describe_numbers(*load_wine(return_X_y=True))


def cancer() -> Items:
    from sklearn.datasets import load_breast_cancer

    return describe_numbers(*load_breast_cancer(return_X_y=True))


def digits() -> Items:
    from sklearn.datasets import load_digits
    from sklearn.decomposition import PCA

    features, labels = load_digits(return_X_y=True)
    return describe_numbers(PCA(20, random_state=0).fit_transform(features), labels)


def parity() -> Items:
    """Odd or even: each class has several kinds of items, of which a rule knows one."""
    items = digits()
    return Items(items.signs, items.dense, items.labels % 2)


def lungs() -> Items:
    from sklearn.decomposition import PCA

    with np.load(next((DATA / "pneumoniamnist").glob("*.npz"))) as arrays:
        pictures = np.concatenate([arrays["train_images"][:3000], arrays["val_images"]]).reshape(-1, 28 * 28)
        labels = np.concatenate([arrays["train_labels"][:3000], arrays["val_labels"]]).ravel()
    return describe_numbers(PCA(20, random_state=0).fit_transform(pictures / 255.0), labels)


def one_of(load: Callable[[], Items], code: int) -> Callable[[], Items]:
    """Is it of this class? A rare class beside all others."""

    def load_one() -> Items:
        items = load()
        return Items(items.signs, items.dense, (items.labels == code).astype(int))

    return load_one


def long_tail(load: Callable[[], Items]) -> Callable[[], Items]:
    """Of each class in turn a share of TAIL of what is kept of the one before."""

    def load_tail() -> Items:
        items = load()
        draw = np.random.default_rng(0)
        rows = np.flatnonzero(draw.random(len(items.labels)) < TAIL**items.labels)
        return Items(items.signs[rows], items.dense[rows], items.labels[rows])

    return load_tail


LOADERS = {
    "contracts": contracts, "roles": roles, "laws": laws, "wine": wine, "cancer": cancer, "digits": digits,
    "parity": parity, "lungs": lungs, "one_contract": one_of(contracts, 3), "one_law": one_of(laws, 1),
    "one_role": one_of(roles, 2), "one_digit": one_of(digits, 8),
    "tail_contracts": long_tail(contracts), "tail_digits": long_tail(digits),
}  # fmt: skip


def write_rules(items: Items, draw: np.random.Generator) -> Any:
    """(N, J): votes of rules that seemed right on the items of a draw."""
    write = write_by_class if draw.random() < BY_CLASS else write_by_item
    columns = write(items, draw)
    if draw.random() < TWO_SIDED:  # functions of two signs: what the first says, and else what the second says
        order = draw.permutation(len(columns))
        first, second = columns[order[::2]], columns[order[1::2]]
        first[: len(second)] = np.where(first[: len(second)] >= 0, first[: len(second)], second)
        columns = first
    return columns.T


def write_by_class(items: Items, draw: np.random.Generator) -> Any:
    """(J, N): for each class a few rules, from a sample that has more of some classes than there is."""
    num_classes = int(items.labels.max()) + 1
    share = (0.1 + draw.dirichlet(np.ones(num_classes)))[items.labels]
    num_seen = min(int(draw.choice(SEEN)), len(items.labels) // 2)
    seen = draw.choice(len(items.labels), num_seen, replace=False, p=share / share.sum())
    votes = []
    for code in range(num_classes):
        rules = draw.permutation(find_promising(items, seen, code))[: int(draw.integers(2, MOST_RULES + 1))]
        votes += [np.where(items.signs[:, rule], code, -1) for rule in rules]
    return np.array(votes)


def write_by_item(items: Items, draw: np.random.Generator) -> Any:
    """(J, N): one rule after the other for an item that none speaks of yet, so that common classes have more."""
    num_classes = int(items.labels.max()) + 1
    seen = draw.permutation(len(items.labels))[: min(int(draw.choice(SEEN)), len(items.labels) // 2)]
    good = [find_promising(items, seen, code) for code in range(num_classes)]
    votes: list[Any] = []
    for item in draw.permutation(seen).tolist():
        code = int(items.labels[item])
        rules = good[code][items.signs[item, good[code]]]
        if len(rules) and all(column[item] < 0 for column in votes):
            votes.append(np.where(items.signs[:, int(draw.choice(rules))], code, -1))
        if len(votes) == MOST_RULES * num_classes:
            break
    return np.array(votes) if len(votes) >= 2 * num_classes else write_by_class(items, draw)


def find_promising(items: Items, seen: Any, code: int) -> Any:
    """Signs that speak for a class among the items that were seen."""
    signs, labels = items.signs[seen], items.labels[seen]
    hits, times = signs[labels == code].sum(axis=0), signs.sum(axis=0)
    least = max(LEAST_PRECISION, min(0.9, 1.5 * (labels == code).mean()))
    good = np.flatnonzero((hits >= 2) & (hits >= least * times))
    if len(good):
        return good
    return np.argsort(-hits / np.maximum(times, 2), kind="stable")[: 2 * MOST_RULES]  # the best of what there is


def draw_set(items: Items, seed: int) -> tuple[WeakSet, Any]:
    """A set as weak_labels.py has them, and its rows with a vote."""
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(items.labels))
    test, train = np.split(order, [len(order) // 3])
    votes = write_rules(Items(items.signs[train], items.dense[train], items.labels[train]), draw)
    weak = WeakSet(
        votes, items.dense[train], items.dense[test], items.labels[test], items.labels[train],
        int(items.labels.max()) + 1,
    )  # fmt: skip
    return weak, np.flatnonzero((votes >= 0).any(axis=1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--only", default=",".join(LOADERS))
    asked = parser.parse_args()
    gains = []
    for name in asked.only.split(","):
        items = LOADERS[name]()
        for seed in range(asked.draws):
            weak, rows = draw_set(items, seed)
            voted = Voted(weak.votes[rows], weak.train[rows], weak.num_classes, seed)
            majority = score(weak, rows, RIVALS["majority vote"][1](voted))
            gains.append(100 * (score(weak, rows, ours(voted)) - majority))
            print(f"{name} draw {seed}: {weak.votes.shape[1]} rules, majority {majority:.3f}, ours {gains[-1]:+.1f}")
    print(f"mean {np.mean(gains):+.2f}, worst {min(gains):+.1f}, below -.5 in {np.mean(np.array(gains) < -0.5):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
