"""AutoGluon's side of multimodal_autogluon.py, run in a venv of its own: FOLDER with PART.csv, and a text model.

Prints one JSON object as its last line: right (percent), cpu_s of fit, version.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import timm
import torch
from autogluon.multimodal import MultiModalPredictor

LIMIT_S = 600  # of wall time
BATCH = 64


def untrained(folder: Path) -> Path:
    """A ResNet-18 as timm saves one."""
    net = timm.create_model("resnet18", pretrained=False, num_classes=0)
    torch.save(net.state_dict(), folder / "pytorch_model.bin")  # noqa: TID251  (the one form that it reads)
    kept = {key: net.default_cfg[key] for key in ("input_size", "mean", "std")}
    facts = {"architecture": "resnet18", "num_features": net.num_features, "pretrained_cfg": kept}
    (folder / "config.json").write_text(json.dumps(facts))
    return folder


def main() -> None:
    rows, texts = Path(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    tables = {part: pd.read_csv(rows / f"{part}.csv") for part in ("train", "validation", "test")}
    with tempfile.TemporaryDirectory() as place:
        images = Path(place) / "resnet18"
        images.mkdir()
        predictor = MultiModalPredictor(
            label="digit", problem_type="multiclass", eval_metric="accuracy", path=f"{place}/model", verbosity=1
        )
        began_s = time.process_time()
        predictor.fit(
            tables["train"], tuning_data=tables["validation"], presets="medium_quality", time_limit=LIMIT_S, seed=0,
            column_types={"written": "image_path", "caption": "text"},
            hyperparameters={
                "model.names": ["hf_text", "timm_image", "fusion_mlp"], "model.hf_text.checkpoint_name": texts,
                "model.timm_image.checkpoint_name": str(untrained(images)), "model.timm_image.image_size": 32,
                "env.num_gpus": 0, "env.num_workers": 0, "env.num_workers_inference": 0, "env.precision": "32",
                "env.per_gpu_batch_size": BATCH, "env.batch_size": BATCH,
            },
        )  # fmt: skip
        cpu_s = time.process_time() - began_s
        predictions = predictor.predict(tables["test"])
    right = 100 * float((predictions.to_numpy() == tables["test"]["digit"].to_numpy()).mean())
    print(json.dumps({"right": right, "cpu_s": cpu_s, "version": version("autogluon.multimodal")}))


if __name__ == "__main__":
    main()
