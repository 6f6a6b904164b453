"""A classifier of texts in a Hugging Face folder -> a student of a stated share of its size, in such a folder again.

    made = distill_folder(Path("minilm-banking"), texts, labels, Path("student"), StudentRecipe(share=1 / 9))

The student is a BERT of the same width with fewer layers, of whose wide part the neurons with the largest weights are
kept, and with the pieces of words that the texts need (vocabulary.py): all of it begins as a copy of its teacher. Then
it learns what the teacher answers to the texts and to texts made of them (texts.py), and the labels that are known.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepseek.compress.distilling.cls_only import ClsOnlyClassifier
from deepseek.compress.distilling.config import UNLABELED, DistillConfig
from deepseek.compress.distilling.start import init_student_from_layers
from deepseek.compress.distilling.texts import TextBatches, augment_texts
from deepseek.compress.distilling.training import DistillationResult, distill, open_network
from deepseek.compress.distilling.vocabulary import check_distillable, needed_pieces, shrink_tokenizer
from deepseek.engines.openvino import has_bf16
from deepseek.engines.text import TextEngine, TextModel
from deepseek.engines.text.source.architecture import CONFIG_FILE
from deepseek.engines.text.source.folder import read_json, read_object
from deepseek.engines.text.source.tokens import SETTINGS_FILE, TOKENIZER_FILE, TokenRow
from deepseek.engines.text.source.weights import SINGLE_FILE
from deepseek.errors import InputError
from deepseek.train.loop.config import TrainConfig

MIN_POSITIONS, NEURON_STEP = 64, 64  # of the student: its table of positions, and of neurons
TEXTS_PER_BATCH = 32


@dataclass(frozen=True)
class StudentRecipe:
    """How a student is made and taught."""

    share: float = 1 / 9  # of the teacher's parameters, at the most, 0 to 1
    layers: int = 1  # at least 1
    made: float = 1.8  # texts that are made up for each that is given
    least_made: int = 4_000  # texts that are made up at the least, if any are
    turns: int = 2  # passes over the given texts in which each of those made up comes once
    batch_size: int = 64
    dropout: float = (
        0.0  # of the student while it learns: the teacher's answers are no noise, and there are enough of them
    )
    epochs: int = 12  # over the given texts
    lr: float = 1e-3
    temperature: float = 2.0
    alpha: float = 0.7  # see DistillConfig

    def num_made(self, num_texts: int) -> int:
        """Texts that are made up of so many."""
        return max(self.least_made, round(self.made * num_texts)) if self.made else 0

    def train(self, seed: int) -> TrainConfig:
        """As fit() takes it."""
        return TrainConfig(epochs=self.epochs, lr=self.lr, seed=seed, precision="bf16")


@dataclass(frozen=True)
class Student:
    """A student that has learnt nothing yet."""

    module: nn.Module
    tokenizer: dict[str, Any]  # as its tokenizer.json
    num_parameters: int


def distill_folder(
    folder: Path,
    texts: Sequence[str],
    labels: Sequence[int] | None,
    out: Path,
    recipe: StudentRecipe | None = None,
    *,
    seed: int = 0,
    **given: Any,
) -> DistillationResult:
    """Write the student of the model in `folder` to `out`, an empty folder. `labels`: class numbers, UNLABELED where
    nobody does. `given` goes on to fit().

    InputError for a model that cannot be taught so, texts that give no row, and a share with no room for a student.
    """
    recipe, model = recipe or StudentRecipe(), TextModel.open(folder)
    check_distillable(model)
    num_made = recipe.num_made(len(texts))
    made = augment_texts(texts, num_made, seed=seed) if num_made else []
    all_texts, known = [*texts, *made], list(labels) if labels is not None else [UNLABELED] * len(texts)
    tokens = list(model.prepare(all_texts))
    teacher = open_network(folder)
    torch.manual_seed(seed)
    student = build_student(teacher, model, [row.ids.tolist() for row in tokens[: len(texts)]], recipe)
    write_student(student, model, out)
    ids = [row.ids.tolist() for row in TextModel.open(out).prepare(all_texts)]
    rows = TextBatches(
        ids, known + [UNLABELED] * len(made), teacher_logits(model, tokens), batch_size=recipe.batch_size,
        pad_id=int(student.module.config.pad_token_id), seed=seed,  # type: ignore[union-attr, arg-type]
        always=len(texts), turns=recipe.turns,
    )  # fmt: skip
    how = DistillConfig(temperature=recipe.temperature, alpha=recipe.alpha)
    done = distill(teacher, ClsOnlyClassifier(student.module), rows, how, recipe.train(seed), **given)
    write_student(student, model, out)
    return replace(done, student=student.module)


def build_student(teacher: nn.Module, model: TextModel, ids: Sequence[Sequence[int]], recipe: StudentRecipe) -> Student:
    """The student, all of it copied from its teacher. `ids`: of the texts, by the teacher's tokenizer."""
    tokenizer, config = read_json(model.path, TOKENIZER_FILE), model.architecture
    width = config.hidden
    budget = int(recipe.share * sum(weight.numel() for weight in teacher.parameters()))
    if not 1 <= recipe.layers <= config.num_layers:
        raise InputError(
            f"a student of {recipe.layers} layers", expected=f"between 1 and {config.num_layers}",
            fix="give such a number",
        )  # fmt: skip
    kept = needed_pieces(tokenizer, ids, most=budget // 2 // width)
    longest = max(map(len, ids))
    positions = min(model.max_tokens, max(MIN_POSITIONS, 2 * longest))
    # what is there whatever the neurons are: tables, attention with norms, the head
    fixed = (len(kept) + positions + config.num_types + 2) * width + recipe.layers * (4 * width**2 + 10 * width)
    fixed += width**2 + width + (width + 1) * len(config.labels)
    room = (budget - fixed) // (recipe.layers * (2 * width + 1))
    neurons = min(config.intermediate, room // NEURON_STEP * NEURON_STEP)
    if neurons < NEURON_STEP:
        raise InputError(
            f"a student of {recipe.layers} layers with {recipe.share:.3g} of the parameters has no room for neurons",
            expected="a larger share, or fewer layers", fix="give one of these",
        )  # fmt: skip
    student = init_student_from_layers(teacher, layers=recipe.layers)
    prune_neurons(student, neurons)
    tables = student.get_submodule("bert.embeddings")
    pad = kept.index(config.pad_id)
    _shrink_embedding(tables, "word_embeddings", torch.tensor(kept), pad)
    _shrink_embedding(tables, "position_embeddings", torch.arange(positions), None)
    for name in ("position_ids", "token_type_ids"):
        setattr(tables, name, getattr(tables, name)[:, :positions])
    for part in student.modules():
        if isinstance(part, nn.Dropout):
            part.p = recipe.dropout
    told = {
        "vocab_size": len(kept), "max_position_embeddings": positions, "intermediate_size": neurons,
        "pad_token_id": pad,
        **dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"), recipe.dropout),
    }  # fmt: skip
    for name, value in told.items():
        setattr(student.config, name, value)
    return Student(student, shrink_tokenizer(tokenizer, kept), sum(weight.numel() for weight in student.parameters()))


def prune_neurons(student: nn.Module, neurons: int) -> None:
    """Keep the neurons of each layer's wide part whose weights before and behind it are the largest (L2)."""
    for layer in student.get_submodule("bert.encoder.layer"):  # type: ignore[attr-defined]
        up, down = layer.intermediate.dense, layer.output.dense
        chosen = (up.weight.norm(dim=1) * down.weight.norm(dim=0)).topk(neurons).indices.sort().values
        up.weight, up.bias = _parameter(up.weight[chosen]), _parameter(up.bias[chosen])
        down.weight = _parameter(down.weight[:, chosen])
        up.out_features = down.in_features = neurons


def write_student(student: Student, model: TextModel, out: Path) -> None:
    """As transformers and `deepseek serve` open it."""
    out.mkdir(parents=True, exist_ok=True)
    config: Any = student.module.config
    tensors = {name: each.detach().contiguous() for name, each in student.module.state_dict().items()}
    safetensors.torch.save_file(tensors, out / SINGLE_FILE, {"format": "pt"})
    (out / CONFIG_FILE).write_text(config.to_json_string(), "utf-8")
    (out / TOKENIZER_FILE).write_text(json.dumps(student.tokenizer, ensure_ascii=False), "utf-8")
    settings = read_object(model.path, SETTINGS_FILE, is_optional=True)
    settings |= {"model_max_length": config.max_position_embeddings}
    (out / SETTINGS_FILE).write_text(json.dumps(settings, ensure_ascii=False), "utf-8")


def teacher_logits(model: TextModel, tokens: Sequence[TokenRow]) -> NDArray[np.float32]:
    """Logits (N, C) of the model in OpenVINO, in bfloat16 where the CPU can: it is near enough to learn of."""
    engine = TextEngine.open(model.path, precision="bf16" if has_bf16(extra="text") else "f32")
    order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
    found = np.empty((len(tokens), len(model.labels)), np.float32)
    for start in range(0, len(order), TEXTS_PER_BATCH):
        chosen = order[start : start + TEXTS_PER_BATCH]
        found[chosen] = engine.run(model.join([tokens[row] for row in chosen]))["logits"]
    engine.close()
    return found


def _shrink_embedding(tables: nn.Module, name: str, kept: Tensor, pad: int | None) -> None:
    table: Any = getattr(tables, name)
    setattr(
        tables, name, nn.Embedding(len(kept), table.embedding_dim, pad, _weight=table.weight.detach()[kept].clone())
    )


def _parameter(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach().clone())
