"""Checks of the lab "A first bundle, signed"."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

NUM_TRAIN, NUM_NEW = 380, 60
MIN_AUC = 0.96
TOLERANCE = 1e-4


def make(data: DataFolder) -> object:
    """Rows of Breast Cancer Wisconsin in an order of the learner's own, measured by a microscope of the learner's own,
    whose unit is another; the last rows are kept for the grader."""
    unit = round(float(data.rng.uniform(0.7, 1.4)), 3)
    table, names, words = load_tumours(unit)
    order = data.rng.permutation(len(words))
    parts = (order[:NUM_TRAIN], order[NUM_TRAIN : NUM_TRAIN + NUM_NEW])
    records = data.rng.permutation(9_000)[: len(words)] + 1_000
    for name, rows in zip(("train.csv", "new.csv"), parts, strict=True):
        columns: JsonObject = {"record": records[rows]} | {
            column: table[rows, place] for place, column in enumerate(names)
        }
        data.write_csv(name, columns | ({"diagnosis": words[rows]} if name == "train.csv" else {}))
    return {"held": order[NUM_TRAIN + NUM_NEW :].tolist(), "unit": unit}


def load_tumours(unit: float) -> tuple[Any, list[str], Any]:
    """Values (569, 30) in that unit of length, their names, and the diagnosis of each row."""
    from sklearn.datasets import load_breast_cancer

    source = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in source.feature_names]
    powers = [2 if "area" in name else 1 if "radius" in name or "perimeter" in name else 0 for name in names]
    return (
        np.round(source.data * unit ** np.array(powers), 6),
        names,
        np.array(source.target_names, object)[source.target],
    )


def check_verifies(work: Work) -> None:
    work.bundle("model")


def check_signed(work: Work) -> None:
    work.path("my-key.pub")
    for path in sorted(work.folder.rglob("*")):
        if path.is_file() and path.stat().st_size < 1 << 16 and b"PRIVATE KEY" in path.read_bytes():
            raise Mistake("key_in_folder", name=path.relative_to(work.folder))
    work.bundle("model")
    try:
        work.bundle("model", key="my-key.pub")
    except Mistake as error:
        raise Mistake("unsigned", problem=error.values.get("problem", error.code)) from error


def check_own_rows(work: Work) -> None:
    manifest = json.loads((work.bundle("model") / "bundle.json").read_text("utf-8"))
    if manifest["target"] != "diagnosis":
        raise Mistake("wrong_target", target=manifest["target"])
    values = {name: {float(row[name]) for row in work.read_csv("train.csv")} for name in ("mean_radius", "worst_area")}
    card = json.loads((work.bundle("model") / "card.json").read_text("utf-8"))
    known = {column["name"]: column for column in card["columns"] if column["name"] in values}
    for name, own in values.items():
        if name not in known or not {known[name]["min"], known[name]["max"]} <= own:
            raise Mistake("other_rows")


def check_quality(work: Work) -> None:
    from sklearn.metrics import roc_auc_score

    import deepseek

    table, names, words = load_tumours(work.truth["unit"])
    held = np.array(work.truth["held"])
    answers = deepseek.load(work.bundle("model")).predict(frame_of(table[held], names))
    if answers.probabilities is None or "malignant" not in answers.labels_known:
        raise Mistake("wrong_target", target=", ".join(map(str, answers.labels_known)))
    scores = answers.probabilities[:, list(answers.labels_known).index("malignant")]
    auc = roc_auc_score(words[held] == "malignant", scores)
    if auc < MIN_AUC:
        raise Mistake("weak", auc=f"{auc:.3f}", num=len(held))


def check_predictions(work: Work) -> None:
    rows = work.read_csv("predictions.csv", "prediction")
    wanted = len(work.read_csv("new.csv"))
    if len(rows) != wanted:
        raise Mistake("few_predictions", num=len(rows), wanted=wanted)
    import pandas as pd

    import deepseek

    answers = deepseek.load(work.bundle("model")).predict(pd.read_csv(work.path("new.csv")))
    if answers.labels is None:
        raise Mistake("wrong_target", target=Text("a number", "数值"))
    for place, (row, label) in enumerate(zip(rows, answers.labels, strict=True)):
        if row["prediction"] != label:
            raise Mistake("other_predictions", row=place + 1, said=row["prediction"][:40], answer=label)


def check_facts(work: Work) -> None:
    from deepseek.bundle import inspect_bundle

    report = inspect_bundle(work.bundle("model"))
    digest = str(work.value("facts.json", "digest"))
    if digest != report.manifest.digest:
        raise Mistake("wrong_fact", key="digest", said=digest[:20], answer=report.manifest.digest[:20])
    auc = report.metrics["auc"]["value"]
    said = work.number("facts.json", "auc")
    if abs(said - auc) > 0.0006:
        raise Mistake("wrong_fact", key="auc", said=said, answer=f"{auc:.4f}")
    point = report.promises.operating_point
    num_rows = 0 if point is None else point.num_rows
    said = work.number("facts.json", "num_test_rows")
    if said != num_rows:
        raise Mistake("wrong_fact", key="num_test_rows", said=f"{said:g}", answer=num_rows)


def frame_of(values: Any, names: list[str]) -> Any:
    """A frame with the columns of train.csv; the record of a tumour says nothing, so that it is 0."""
    import pandas as pd

    return pd.DataFrame({"record": np.zeros(len(values), int)} | {n: values[:, i] for i, n in enumerate(names)})
