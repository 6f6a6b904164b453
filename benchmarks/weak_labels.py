"""Rules instead of labels: the F1 of the model that learns from what six sets of rules say, by label model.

    pip install --no-deps --target FOLDER snorkel munkres skweak crowd-kit nltk    # and spacy; then PYTHONPATH=FOLDER
    python benchmarks/weak_labels.py [--quick] [--only CLAIM] [--seeds N]

Rules stand in weak_labels_rules/NAME.toml, written by hand from the names of the classes before any label model was
fitted to them. Sets: sst2 (2 kinds), clinc150 (10 domains), banking77 (7 groups of its categories), unfair-tos (fair or
not), opp115 (passages of one practice, 8 of them), iu-xray (normal findings or not). Up to MAX_TRAIN texts are voted
on and MAX_TEST are tested on; a seed draws four fifths of the former. Each label model says the chance of each class of
the texts with a vote; the same linear model on the same numbers learns from these chances as weights, and nothing else:
no label is used. Rivals, with their defaults: majority vote (a tie is shared), Snorkel's LabelModel, skweak's
NaiveBayes, Dawid-Skene of crowd-kit, where they are installed.

Macro F1 on the test. Bars: the geometric mean of the errors (1 - F1) is below each rival's; F1 is never more than half
a point below majority vote's.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from result import claim, finish, options
from sklearn.metrics import f1_score

from deepseek.automl.label.choose.features import describe_rows
from deepseek.automl.label.choose.learner import fit_learner
from deepseek.automl.label.project.records import Definition
from deepseek.automl.label.rules.definition import read_rules
from deepseek.automl.label.rules.label_model import majority_vote
from deepseek.automl.label.rules.learned_votes import weigh_votes
from deepseek.automl.label.rules.votes import vote

NUM_SEEDS, MAX_TRAIN, MAX_TEST, SHARE = 5, 3_000, 1_500, 0.8
LEAST_CHANCE = 0.02  # of a class of a text, below which it is not learned from
MEAN_BAR, MAJORITY_BAR = 1.0, -0.005
RULES = Path(__file__).parent / "weak_labels_rules"
DATA = Path(os.environ.get("DEEPSEEK_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
#: The group of a category of banking77: the first of these that its name holds.
GROUPS = (
    ("top_up", ("top_up", "topping_up", "cheque")), ("cash", ("cash", "atm", "swallowed")),
    ("exchange", ("exchange", "currency", "currencies")),
    ("identity", ("verify", "identity", "personal_details", "terminate", "age_limit", "country", "passcode", "phone")),
    ("transfer", ("transfer", "beneficiary", "receiving_money")),
    ("payment", ("payment", "charge", "refund", "debit")), ("card", ("",)),
)  # fmt: skip


@dataclass(frozen=True)
class WeakSet:
    """Texts with their votes, and texts to measure on."""

    votes: Any  # (N, J)
    train: Any  # (N, D)
    test: Any  # (T, D)
    truth: Any  # (T,)
    answers: Any  # (N,) of the training texts: looked at for figures of the rules alone
    num_classes: int


@dataclass(frozen=True)
class Voted:
    """What a label model is given."""

    votes: Any  # (N, J)
    dense: Any  # (N, D): ours alone looks at it
    num_classes: int
    seed: int


Texts = list[tuple[str, str]]  # text, label


def load_sst2() -> tuple[Texts, Texts]:
    rows = pq.read_table(DATA / "sst2" / "sst2.parquet").to_pylist()
    names = ("negative", "positive")
    train, test = ([(r["text"], names[r["label"]]) for r in rows if r["split"] == part] for part in ("train", "test"))
    return train, test


def load_clinc() -> tuple[Texts, Texts]:
    domains = json.loads((DATA / "clinc150" / "domains.json").read_text())
    domain = {intent: name for name, intents in domains.items() for intent in intents}
    rows = pq.read_table(DATA / "clinc150" / "clinc150_full.parquet").to_pylist()
    train, test = (
        [(r["text"], domain[r["intent"]]) for r in rows if r["split"] == part and r["intent"] in domain]
        for part in ("train", "test")
    )
    return train, test


def load_banking() -> tuple[Texts, Texts]:
    parts = []
    for part in ("train", "test"):
        with (DATA / "banking77" / f"{part}.csv").open(encoding="utf-8", newline="") as file:
            parts.append([(row["text"], group_of(row["category"])) for row in csv.DictReader(file)])
    return parts[0], parts[1]


def group_of(category: str) -> str:
    return next(group for group, words in GROUPS if any(word in category.lower() for word in words))


def load_terms() -> tuple[Texts, Texts]:
    table = pq.read_table(DATA / "unfair-tos" / "unfair_tos.parquet")
    kinds = [name for name in table.column_names if name not in ("company", "sentence", "split", "text")]
    rows = table.to_pylist()
    train, test = (
        [(r["text"], "unfair" if any(r[kind] for kind in kinds) else "fair") for r in rows if r["split"] == part]
        for part in ("train", "test")
    )
    return train, test


def load_policies() -> tuple[Texts, Texts]:
    rows = pq.read_table(DATA / "opp115" / "segments.parquet").to_pylist()
    known = set(labels_of("opp115"))
    train, test = (
        [
            (r["text"], r["labels_majority"][0])
            for r in rows
            if r["split"] == part and len(r["labels_majority"]) == 1 and r["labels_majority"][0] in known
        ]
        for part in ("train", "test")
    )
    return train, test


def load_reports() -> tuple[Texts, Texts]:
    rows = pq.read_table(DATA / "iu-xray-reports" / "reports.parquet").to_pylist()
    texts = [
        (row["findings"], "normal" if row["Problems"] == "normal" else "abnormal")
        for row in rows
        if isinstance(row["findings"], str) and row["findings"].strip() and row["Problems"] != "No Indexing"
    ]
    order = np.random.default_rng(0).permutation(len(texts)).tolist()
    size = 2 * len(texts) // 3
    return [texts[row] for row in order[:size]], [texts[row] for row in order[size:]]


LOADERS: dict[str, Callable[[], tuple[Texts, Texts]]] = {
    "sst2": load_sst2, "clinc150": load_clinc, "banking77": load_banking, "unfair-tos": load_terms,
    "opp115": load_policies, "iu-xray": load_reports,
}  # fmt: skip


def labels_of(name: str) -> tuple[str, ...]:
    """The classes that rules know, in the order of their first rules."""
    import tomllib

    rules = tomllib.loads((RULES / f"{name}.toml").read_text(encoding="utf-8"))["rules"]
    return tuple(dict.fromkeys(rule["label"] for rule in rules))


def load(name: str) -> WeakSet:
    labels = labels_of(name)
    draw = np.random.default_rng(0)
    train, test = (
        [part[row] for row in draw.permutation(len(part))[:most].tolist()]
        for part, most in zip(LOADERS[name](), (MAX_TRAIN, MAX_TEST), strict=True)
    )
    texts = [text for text, _ in (*train, *test)]
    dense = describe_rows(range(len(texts)), {"text": texts}, {"text": "text"}, None, 0).dense
    definition = Definition("multiclass", labels, {"text": "text"}, "label", name, "", "", 0, 0, 0.0)
    records, keys = [{"text": text} for text, _ in train], [f"row {row}" for row in range(len(train))]
    answers = vote(read_rules(RULES / f"{name}.toml", definition), records, definition, keys)
    place = {label: code for code, label in enumerate(labels)}
    votes = np.array([[-1 if each is None else place[each] for each in one.labels] for one in answers]).T
    codes = [np.array([place[label] for _, label in part]) for part in (train, test)]
    return WeakSet(votes, dense[: len(train)], dense[len(train) :], codes[1], codes[0], len(labels))


def ours(voted: Voted) -> Any:
    return weigh_votes(voted.votes, voted.num_classes, dense=voted.dense, seed=voted.seed).chances


def of_majority(voted: Voted) -> Any:
    return majority_vote(voted.votes, voted.num_classes)


def of_snorkel(voted: Voted) -> Any:
    from snorkel.labeling.model import LabelModel

    model = LabelModel(cardinality=voted.num_classes, verbose=False)
    model.fit(voted.votes, seed=voted.seed, progress_bar=False)
    return model.predict_proba(voted.votes)


def of_skweak(voted: Voted) -> Any:
    import spacy
    from skweak.generative import NaiveBayes
    from spacy.tokens import Doc, Span

    vocabulary, labels = spacy.blank("en").vocab, [f"k{code}" for code in range(voted.num_classes)]
    documents = []
    for row in voted.votes.tolist():
        document = Doc(vocabulary, words=["text"])
        for rule, code in enumerate(row):
            document.spans[f"rule{rule}"] = [] if code < 0 else [Span(document, 0, 1, label=labels[code])]
        documents.append(document)
    model = NaiveBayes("model", labels)
    chances = np.full((len(voted.votes), voted.num_classes), 1 / voted.num_classes)
    for row, document in enumerate(model.fit_and_aggregate(documents)):
        for chance in document.spans["model"].attrs.get("probs", {}).values():
            chances[row] = [chance.get(label, 0.0) for label in labels]
    return chances


def of_dawid_skene(voted: Voted) -> Any:
    import pandas as pd
    from crowdkit.aggregation import DawidSkene

    rows, rules = np.nonzero(voted.votes >= 0)
    answers = pd.DataFrame({"task": rows, "worker": rules, "label": voted.votes[rows, rules]})
    found = DawidSkene().fit_predict_proba(answers)
    chances = np.full((len(voted.votes), voted.num_classes), 1 / voted.num_classes)
    chances[found.index.to_numpy()] = found.reindex(columns=range(voted.num_classes), fill_value=0.0).to_numpy()
    return chances


RIVALS = {
    "majority vote": ("sklearn", of_majority), "Snorkel": ("snorkel", of_snorkel), "skweak": ("skweak", of_skweak),
    "Dawid-Skene": ("crowdkit", of_dawid_skene),
}  # fmt: skip


def score(weak: WeakSet, rows: Any, chances: Any) -> float:
    """Macro F1 of the model that learns from chances of its rows with a vote."""
    places, codes = np.nonzero(chances >= LEAST_CHANCE)
    learner = fit_learner(weak.train[rows[places]], codes, chances[places, codes], weak.num_classes)
    return float(f1_score(weak.truth, learner.probabilities(weak.test).argmax(axis=1), average="macro"))


def measure(name: str, seeds: Sequence[int]) -> dict[str, float]:
    """Mean F1 by label model."""
    weak = load(name)
    ways = {"ours": ours, **{key: work for key, (module, work) in RIVALS.items() if importlib.util.find_spec(module)}}
    found: dict[str, list[float]] = {way: [] for way in ways}
    covered = np.flatnonzero((weak.votes >= 0).any(axis=1))
    right = (majority_vote(weak.votes, weak.num_classes)[covered].argmax(axis=1) == weak.answers[covered]).mean()
    print(f"{name}: {len(covered) / len(weak.votes):.2f} have a vote, majority is right in {right:.3f}", flush=True)
    for seed in seeds:
        draw = np.random.default_rng(seed).permutation(len(weak.votes))[: round(SHARE * len(weak.votes))]
        rows = np.sort(draw[(weak.votes[draw] >= 0).any(axis=1)])
        for way, work in ways.items():
            chances = work(Voted(weak.votes[rows], weak.train[rows], weak.num_classes, seed))
            found[way].append(score(weak, rows, chances))
        print(f"{name} seed {seed}:", {way: round(values[-1], 4) for way, values in found.items()}, flush=True)
    return {way: float(np.mean(values)) for way, values in found.items()}


def main() -> int:
    names = [f"weak_labels_{name}" for name in LOADERS]
    parser = options(__doc__, [*names, "weak_labels_mean"], quick="two seeds")
    parser.add_argument("--seeds", type=int, default=NUM_SEEDS, help="Draws of the texts.")
    asked = parser.parse_args()
    num_seeds = min(2, asked.seeds) if asked.quick else asked.seeds
    chosen = [name for name in LOADERS if asked.only in (None, "weak_labels_mean", f"weak_labels_{name}")]
    claims, found = [], {}
    for name in chosen:
        found[name] = figures = measure(name, range(num_seeds))
        claims.append(
            claim(
                f"weak_labels_{name}", ours=figures["ours"] - figures["majority vote"], unit="macro F1",
                op=">=", bar=MAJORITY_BAR, num_seeds=num_seeds,
                note=", ".join(f"{way} {value:.4f}" for way, value in figures.items()),
            )
        )  # fmt: skip
    if len(found) == len(LOADERS):
        ways = next(iter(found.values()))
        errors = {way: float(np.exp(np.mean([np.log(1 - each[way]) for each in found.values()]))) for way in ways}
        note = f"geometric mean of the errors over {', '.join(found)}"
        claims += [
            claim(
                f"weak_labels_mean_{way.lower().replace(' ', '_')}", ours=errors["ours"], rival=errors[way],
                rival_name=way, ratio=errors["ours"] / errors[way], unit="1 - macro F1", op="<=", bar=MEAN_BAR,
                num_seeds=num_seeds, note=note,
            )
            for way in ways
            if way != "ours"
        ]  # fmt: skip
    absent = [f"{way}: not installed" for way, (module, _) in RIVALS.items() if not importlib.util.find_spec(module)]
    done = {each["claim"] for each in claims}
    return finish("weak_labels", claims, not_run=[*absent, *(name for name in names if name not in done)])


if __name__ == "__main__":
    sys.exit(main())
