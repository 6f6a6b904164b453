"""Solutions of the lab first_bundle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from learn.solutions.tools import deepseek_verb, edit_json

WRONG = {
    "other_target": "wrong_target", "unsigned": "unsigned", "changed_file": "no_bundle",
    "edited_predictions": "other_predictions", "key_handed_in": "key_in_folder",
}  # fmt: skip


def reference(folder: Path) -> None:
    key = folder.parent / f"{folder.name}-key"
    deepseek_verb(folder, "keygen", str(key))
    shutil.copyfile(f"{key}.pub", folder / "my-key.pub")
    ship = ("ship", "train.csv", "--target", "diagnosis", "--out", "model", "--trials", "2", "--key", str(key))
    deepseek_verb(folder, *ship)
    deepseek_verb(folder, "predict", "model", "new.csv", "--out", "predictions.csv")
    report = deepseek_verb(folder, "inspect", "model")
    facts = {
        "digest": report["digest"], "auc": round(report["metrics"]["auc"]["value"], 4),
        "num_test_rows": report["operating_point"]["num_rows"],
    }  # fmt: skip
    (folder / "facts.json").write_text(json.dumps(facts))


def other_target(folder: Path) -> None:
    """Predicts what is easier to predict."""
    shutil.rmtree(folder / "model")
    deepseek_verb(folder, "ship", "train.csv", "--target", "mean_area", "--out", "model", "--trials", "1")


def unsigned(folder: Path) -> None:
    """The public key is another one than the one that has signed."""
    deepseek_verb(folder, "keygen", str(folder.parent / f"{folder.name}-other"))
    shutil.copyfile(folder.parent / f"{folder.name}-other.pub", folder / "my-key.pub")


def changed_file(folder: Path) -> None:
    """A threshold that was moved by hand."""
    edit_json(folder / "model" / "decision.json", lambda document: document.update(note="moved by hand"))


def edited_predictions(folder: Path) -> None:
    path = folder / "predictions.csv"
    head, first, *rest = path.read_text().splitlines()
    swapped = first.replace("malignant", "?").replace("benign", "malignant").replace("?", "benign")
    path.write_text("\n".join([head, swapped, *rest]) + "\n")


def key_handed_in(folder: Path) -> None:
    """A private key lies beside what is handed in."""
    deepseek_verb(folder, "keygen", "release-key")
