"""Every verb of the command line once, on small inputs that are made here: what `hostile_network` runs.

A verb takes what an earlier one has made, in the same folder. Those that need torch are not `quick`.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

NET = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
"""
RUN = """
loss = "torch.nn:CrossEntropyLoss"
[model]
build = "net.py:build"
[data]
train = "flowers.npz"
[train]
epochs = 2
"""
LAW = "租赁法\n第一条 租赁期限不得超过二十年。\n第二条 利息不得扣除。\n"
#: Run as a process of its own: its libraries are asked for random weights only. An ONNX file, and an encoder that is
#: not built here.
MAKE_MODELS = """
import deepseek, json, sys
import numpy as np, onnx, torch, transformers
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers

draw = np.random.default_rng(0)
shapes = {"a": (64, 256), "b": (256, 256), "c": (256, 10)}
weights = [numpy_helper.from_array(draw.normal(0, 0.1, shape).astype("float32"), name)
           for name, shape in shapes.items()]
nodes = [helper.make_node("MatMul", ["x", "a"], ["h"]), helper.make_node("Relu", ["h"], ["r"]),
         helper.make_node("MatMul", ["r", "b"], ["g"]), helper.make_node("MatMul", ["g", "c"], ["y"])]
rows = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width]) for name, width in (("x", 64), ("y", 10))]
graph = helper.make_graph(nodes, "net", rows[:1], rows[1:], weights)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), "net.onnx")
np.savez("rows.npz", x=draw.normal(size=(200, 64)).astype(np.float32))
np.savez("flowers.npz", x=draw.normal(size=(64, 4)).astype(np.float32), y=draw.integers(0, 3, 64))

words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"the cat sat on a mat".split()]
tokenizer = Tokenizer(models.WordPiece({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
torch.manual_seed(0)
config = transformers.AutoConfig.for_model(
    "electra", vocab_size=len(words), hidden_size=32, embedding_size=32, num_hidden_layers=2, num_attention_heads=4,
    intermediate_size=64, max_position_embeddings=40)
transformers.AutoModel.from_config(config).save_pretrained("encoder")
tokenizer.save("encoder/tokenizer.json")
"""


@dataclass(frozen=True)
class Verb:
    """One run of the command line."""

    name: str
    arguments: tuple[str, ...]
    quick: bool = True  # needs no torch and takes seconds
    until: str = ""  # it goes on by itself: stopped when a line of its stdout holds this


def verbs() -> tuple[Verb, ...]:
    """In the order in which they can run."""
    ready = '"ready"'
    rows = ("--data", "rows.npz")
    return (
        Verb("doctor", ("doctor",)),
        Verb("data", ("data", "card", "cancer.csv", "--target", "diagnosis")),
        Verb(
            "label",
            (
                "label",
                "new",
                "cancer.csv",
                "--task",
                "binary",
                "--labels",
                "benign,malignant",
                "--target",
                "diagnosis",
                "--out",
                "labels",
            ),
        ),
        Verb("ship", ("ship", "cancer.csv", "--target", "diagnosis", "--out", "cancer", "--trials", "3")),
        Verb("inspect", ("inspect", "cancer")),
        Verb("verify", ("verify", "cancer")),
        Verb("evaluate", ("evaluate", "cancer", "cancer.csv")),
        Verb("predict", ("predict", "cancer", "cancer.csv", "--out", "scores.csv")),
        Verb("explain", ("explain", "cancer", "cancer.csv", "--html", "why.html")),
        Verb("keygen", ("keygen", "key")),
        Verb("migrate", ("migrate", "cancer", "--out", "again")),
        Verb("compare", ("compare", "cancer", "cancer", "cancer.csv", "--no-speed")),
        Verb("cite", ("cite", "租赁期限不得超过二十年。", "--corpus", "laws")),
        Verb("recipe_compliance", ("recipe", "compliance", "--example", "--no-encoder", "--out", "review")),
        Verb("review", ("review", "review", "review-example/contract.txt", "--html", "findings.html")),
        Verb("plan", ("plan", "100b", "--gpus", "H100x8")),
        Verb("operator", ("operator", "new", "robust_gate", "--out", "gate")),
        Verb("serve", ("serve", "cancer", "--port", "0"), until=ready),
        Verb("observe", ("observe", "export", "watching", "--set", "psi=0.3")),
        Verb("observe_why", ("observe", "why", "log.ndjson", "--since", "1h", "--html", "causes.html")),
        Verb("observe_drift", ("observe", "drift", "cancer", "log.ndjson", "--html", "drift.html")),
        Verb("bench", ("bench", "serve", "cancer", "--concurrency", "1", "--seconds", "1s")),
        Verb("federate_init", ("federate", "init", "study", "--sample", "cancer.csv", "--target", "diagnosis")),
        Verb(
            "federate", ("federate", "simulate", "study", "--data", "cancer.csv", "--parties", "3", "--out", "joined")
        ),
        Verb("federate_page", ("federate", "page", "joined", "--out", "study.html")),
        Verb("ship_dp", ("ship", "cancer.csv", "--target", "diagnosis", "--dp", "epsilon=8,delta=1e-4", "--out", "dp")),
        Verb("recipe", ("recipe", "fraud", "--example", "--out", "cards", "--trials", "1")),
        Verb(
            "recipe_defects",
            ("recipe", "defects", "--example", "--out", "surface", "--budget", "5s", "--html", "surface.html"),
            quick=False,
        ),
        Verb("recipe_rings", ("recipe", "rings", "--example", "--html", "rings.html")),
        Verb(
            "recipe_maintenance",
            ("recipe", "maintenance", "--example", "--out", "machines", "--trials", "1", "--no-nets"),
        ),
        Verb("recipe_assistant", ("recipe", "assistant", "--example", "--out", "help")),
        Verb("recipe_process", ("recipe", "process", "--example", "--html", "press.html")),
        Verb("recipe_checklist", ("recipe", "checklist", "--example", "--out", "rules.toml", "--html", "rules.html")),
        Verb("recipe_judgment", ("recipe", "judgment", "--example", "--out", "draft.docx", "--html", "draft.html")),
        Verb("stream", ("stream", "cards", "--state", "state")),
        Verb("replay", ("stream", "cards", "--replay", "tx.csv", "--inject", "card", "--html", "replay.html")),
        Verb("train", ("train", "run.toml", "--out", "trained"), quick=False),
        Verb("export", ("export", "cancer", "--edge", "--tier", "c", "--out", "device"), quick=False),
        Verb("compress_graph", ("compress", "net.onnx", *rows, "--keep", "0.5", "--out", "small"), quick=False),
        Verb("convert", ("convert", "encoder", "--out", "converted"), quick=False),
        Verb("serve_converted", ("serve", "converted", "--port", "0"), quick=False, until=ready),
    )


def write_inputs(folder: Path, *, quick: bool) -> None:
    """The files that the verbs take; those of the verbs that need torch are left out for `quick`."""
    import pandas as pd
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer(as_frame=True)
    columns = data.data.rename(columns=lambda name: name.replace(" ", "_"))  # as `--example cancer` names them
    columns.assign(diagnosis=data.target_names[data.target]).to_csv(folder / "cancer.csv", index=False)
    minutes = pd.date_range("2026-01-01", periods=len(columns), freq="min").strftime("%Y-%m-%dT%H:%M:%SZ")
    columns.assign(time=minutes, status=200).to_json(folder / "log.ndjson", orient="records", lines=True)
    _write_transactions(folder / "tx.csv")
    (folder / "laws").mkdir()
    (folder / "laws" / "law-2024-01-01.txt").write_text(LAW, "utf-8")
    if not quick:
        (folder / "net.py").write_text(NET)
        (folder / "run.toml").write_text(RUN)
        subprocess.run([sys.executable, "-c", MAKE_MODELS], cwd=folder, check=True, capture_output=True)


def _write_transactions(path: Path) -> None:
    """Raw card transactions, with the columns of `recipe fraud --example`."""
    from deepseek.data.table.synth import FraudWorld, simulate_transactions

    records = simulate_transactions(FraudWorld(num_customers=60, num_terminals=30, num_days=20)).records()
    lines = [",".join(records[0]), *(",".join(map(str, record.values())) for record in records)]
    path.write_text("\n".join(lines) + "\n")
