"""Checks of the lab "Another library, the same answers"."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.learn.grading.kit import DataFolder, Mistake, Work

NUM_TRAIN, NUM_NEW, NUM_FRESH = 140, 40, 60
TOLERANCE, MIN_SHARE = 1e-3, 0.88


def make(data: DataFolder) -> object:
    rng = data.rng
    factor = round(float(rng.uniform(0.8, 1.25)), 3)  # of the learner's own laboratory
    rows = wines(rng, NUM_TRAIN + NUM_NEW, factor, empty=0.04)
    names = list(rows[0])
    data.write_csv("train.csv", {name: [row[name] for row in rows[:NUM_TRAIN]] for name in names})
    data.write_csv("new.csv", {name: [row[name] for row in rows[NUM_TRAIN:]] for name in names[:-1]})
    return {"factor": factor}


def wines(rng: np.random.Generator, num: int, factor: float, empty: float) -> list[JsonObject]:
    """Wines as a laboratory measures them: with noise, in its units, some cells empty."""
    from sklearn.datasets import load_wine

    source = load_wine()
    rows = rng.choice(len(source.target), num)
    values = (source.data[rows] + rng.normal(0, 0.25, (num, 13)) * source.data.std(0)) * factor
    is_empty = rng.random((num, 13)) < empty
    names = [str(name).replace("/", "_") for name in source.feature_names]
    return [
        {name: None if is_empty[i, j] else round(float(values[i, j]), 4) for j, name in enumerate(names)}
        | {"cultivar": str(source.target_names[source.target[row]])}
        for i, row in enumerate(rows)
    ]


def check_verifies(work: Work) -> None:
    manifest = json.loads((work.bundle("model") / "bundle.json").read_text("utf-8"))
    if manifest["target"] != "cultivar" or manifest["labels"] != ["class_0", "class_1", "class_2"]:
        raise Mistake("wrong_target", target=f"{manifest['target']} ({', '.join(map(str, manifest['labels'] or []))})")


def check_same(work: Work) -> None:
    rows = wines(work.rng("same"), NUM_FRESH, work.truth["factor"], empty=0.0)
    num, off = differing(work, rows)
    if num:
        raise Mistake("other_chances", num=num, total=len(rows), off=f"{off:.3f}")


def check_empty(work: Work) -> None:
    rows = wines(work.rng("empty"), NUM_FRESH, work.truth["factor"], empty=0.15)
    num, off = differing(work, rows)
    if num:
        raise Mistake("other_empty", num=num, total=len(rows), off=f"{off:.3f}")


def check_quality(work: Work) -> None:
    rows = wines(work.rng("quality"), 200, work.truth["factor"], empty=0.02)
    labels = answers_of(work, rows).labels
    share = np.mean([label == row["cultivar"] for label, row in zip(labels, rows, strict=True)])
    if share < MIN_SHARE:
        raise Mistake("weak", share=f"{share:.2f}")


def check_predictions(work: Work) -> None:
    said = work.read_csv("predictions.csv", "prediction")
    rows = [{name: float(cell) if cell else None for name, cell in row.items()} for row in work.read_csv("new.csv")]
    if len(said) != len(rows):
        raise Mistake("few_rows", num=len(said), wanted=len(rows))
    for place, (row, label) in enumerate(zip(said, answers_of(work, rows).labels, strict=True)):
        if row["prediction"] != label:
            raise Mistake("other_predictions", row=place + 1, said=row["prediction"][:40], answer=label)


def differing(work: Work, rows: list[JsonObject]) -> tuple[int, float]:
    """How many rows get other chances by the bundle than by the pipeline, and by how much at most."""
    train = [
        {name: cell if name == "cultivar" else float(cell) if cell else None for name, cell in row.items()}
        for row in work.read_csv("train.csv")
    ]
    bare = [{name: value for name, value in row.items() if name != "cultivar"} for row in rows]
    (said,) = work.call("pipeline.py", "predict_proba", [train, bare], seconds=60)
    try:
        pipeline = np.asarray(said, float)
    except (TypeError, ValueError):
        pipeline = np.empty(0)
    if pipeline.shape != (len(rows), 3):
        raise Mistake("wrong_shape", said=str(said)[:60], wanted=len(rows))
    off = np.abs(answers_of(work, rows).probabilities - pipeline).max(1)
    return int((off > TOLERANCE).sum()), float(off.max())


def answers_of(work: Work, rows: list[JsonObject]) -> Any:
    """What the bundle answers: labels and chances."""
    import pandas as pd

    import deepseek

    names = [name for name in rows[0] if name != "cultivar"]
    frame = pd.DataFrame({name: pd.array([row[name] for row in rows], "Float64").to_numpy(float, na_value=np.nan)
                          for name in names})  # fmt: skip
    return deepseek.load(work.bundle("model")).predict(frame)
