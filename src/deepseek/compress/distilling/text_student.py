"""Distills the text classifier of a Hugging Face folder into a smaller one, written as a Hugging Face folder.

    result = distill_folder(Path("minilm-banking"), texts, labels, Path("student"), StudentRecipe(share=1 / 9))

The student is a BERT of the same width with fewer layers, with only the feed-forward neurons of the largest weights and
the word pieces that the texts need (vocabulary.py), all copied from its teacher. It is then trained on the teacher's
logits for the texts and for texts augmented from them (texts.py), and on the labels that are known.
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
from deepseek.compress.distilling.vocabulary import (
    TokenizerJson,
    check_distillable,
    needed_pieces,
    shrink_tokenizer,
)
from deepseek.engines.openvino import has_bf16
from deepseek.engines.text import TextEngine, TextModel
from deepseek.engines.text.source.architecture import CONFIG_FILE
from deepseek.engines.text.source.folder import read_json, read_object
from deepseek.engines.text.source.tokens import SETTINGS_FILE, TOKENIZER_FILE, TokenRow
from deepseek.engines.text.source.weights import SINGLE_FILE
from deepseek.errors import InputError
from deepseek.train.loop.config import TrainConfig

MIN_POSITIONS, NEURON_STEP = 64, 64  # of the student: least rows of its position table; neurons are a multiple
TEXTS_PER_BATCH = 32


@dataclass(frozen=True)
class StudentRecipe:
    """Size of a student and how it is trained."""

    share: float = 1 / 9  # of the teacher's parameters, at the most, 0 to 1
    layers: int = 1  # at least 1
    augmented_per_text: float = 1.8  # augmented texts for each training text
    min_augmented: int = 4_000  # fewest augmented texts, unless augmented_per_text is 0
    num_parts: int = 2  # epochs over which one pass through the augmented texts is spread
    batch_size: int = 64
    dropout: float = 0.0  # of the student in training: the teacher's logits are not noisy, and there are enough of them
    epochs: int = 12  # over the training texts
    lr: float = 1e-3
    temperature: float = 2.0
    alpha: float = 0.7  # see DistillConfig

    def num_augmented(self, num_texts: int) -> int:
        """Number of augmented texts for `num_texts` training texts."""
        return max(self.min_augmented, round(self.augmented_per_text * num_texts)) if self.augmented_per_text else 0

    def train(self, seed: int) -> TrainConfig:
        """The configuration of fit()."""
        return TrainConfig(epochs=self.epochs, lr=self.lr, seed=seed, precision="bf16")


@dataclass(frozen=True)
class Student:
    """A student's network and its tokenizer; build_student() returns it before any training."""

    module: nn.Module
    tokenizer: TokenizerJson


def distill_folder(
    folder: Path,
    texts: Sequence[str],
    labels: Sequence[int] | None,
    out: Path,
    recipe: StudentRecipe | None = None,
    *,
    seed: int = 0,
    **fit_options: Any,
) -> DistillationResult:
    """Distill the model in `folder` and write the student to `out`, an empty folder. `labels`: class numbers, UNLABELED
    where they are not known. `fit_options` are passed on to fit().

    InputError for a model that cannot be distilled, texts without words, and a share with no room for a student.
    """
    recipe, model = recipe or StudentRecipe(), TextModel.open(folder)
    check_distillable(model)
    num_augmented = recipe.num_augmented(len(texts))
    augmented = augment_texts(texts, num_augmented, seed=seed) if num_augmented else []
    all_texts = [*texts, *augmented]
    all_labels = [*(labels if labels is not None else [UNLABELED] * len(texts)), *[UNLABELED] * len(augmented)]
    tokens = list(model.prepare(all_texts))
    teacher = open_network(folder)
    torch.manual_seed(seed)
    student = build_student(teacher, model, [row.ids.tolist() for row in tokens[: len(texts)]], recipe)
    write_student(student, model, out)
    ids = [row.ids.tolist() for row in TextModel.open(out).prepare(all_texts)]
    rows = TextBatches(
        ids, all_labels, teacher_logits(model, tokens), batch_size=recipe.batch_size, seed=seed,
        pad_id=int(student.module.config.pad_token_id),  # type: ignore[union-attr, arg-type]
        num_always=len(texts), num_parts=recipe.num_parts,
    )  # fmt: skip
    distill_config = DistillConfig(temperature=recipe.temperature, alpha=recipe.alpha)
    result = distill(
        teacher, ClsOnlyClassifier(student.module), rows, distill_config, recipe.train(seed), **fit_options
    )
    write_student(student, model, out)
    return replace(result, student=student.module)


def build_student(teacher: nn.Module, model: TextModel, ids: Sequence[Sequence[int]], recipe: StudentRecipe) -> Student:
    """The student before training, every weight copied from its teacher. `ids`: the training texts as token ids of the
    teacher's tokenizer. InputError for a number of layers or a share that cannot be."""
    tokenizer, config = read_json(model.path, TOKENIZER_FILE), model.architecture
    width = config.hidden
    budget = int(recipe.share * sum(weight.numel() for weight in teacher.parameters()))
    if not 1 <= recipe.layers <= config.num_layers:
        raise InputError(
            f"a student of {recipe.layers} layers", expected=f"between 1 and {config.num_layers}",
            fix="give such a number",
        )  # fmt: skip
    kept_pieces = needed_pieces(tokenizer, ids, max_pieces=budget // 2 // width)
    longest = max(map(len, ids))
    positions = min(model.max_tokens, max(MIN_POSITIONS, 2 * longest))
    # parameters that do not depend on the number of neurons: embeddings, attention with norms, the head
    fixed_size = (len(kept_pieces) + positions + config.num_types + 2) * width
    fixed_size += recipe.layers * (4 * width**2 + 10 * width)
    fixed_size += width**2 + width + (width + 1) * len(config.labels)
    neurons_in_budget = (budget - fixed_size) // (recipe.layers * (2 * width + 1))
    neurons = min(config.intermediate, neurons_in_budget // NEURON_STEP * NEURON_STEP)
    if neurons < NEURON_STEP:
        raise InputError(
            f"a student of {recipe.layers} layers with {recipe.share:.3g} of the parameters has no room for neurons",
            expected="a larger share, or fewer layers", fix="give one of these",
        )  # fmt: skip
    student = init_student_from_layers(teacher, layers=recipe.layers)
    prune_neurons(student, neurons)
    embeddings = student.get_submodule("bert.embeddings")
    pad = kept_pieces.index(config.pad_id)
    _shrink_embedding(embeddings, "word_embeddings", torch.tensor(kept_pieces), pad)
    _shrink_embedding(embeddings, "position_embeddings", torch.arange(positions), None)
    for name in ("position_ids", "token_type_ids"):
        setattr(embeddings, name, getattr(embeddings, name)[:, :positions])
    for part in student.modules():
        if isinstance(part, nn.Dropout):
            part.p = recipe.dropout
    config_values = {
        "vocab_size": len(kept_pieces), "max_position_embeddings": positions, "intermediate_size": neurons,
        "pad_token_id": pad,
        **dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"), recipe.dropout),
    }  # fmt: skip
    for name, value in config_values.items():
        setattr(student.config, name, value)
    return Student(student, shrink_tokenizer(tokenizer, kept_pieces))


def prune_neurons(student: nn.Module, neurons: int) -> None:
    """Keep, in place, the `neurons` of each feed-forward part whose incoming and outgoing weights are largest (product
    of L2 norms)."""
    for layer in student.get_submodule("bert.encoder.layer"):  # type: ignore[attr-defined]
        up, down = layer.intermediate.dense, layer.output.dense
        chosen = (up.weight.norm(dim=1) * down.weight.norm(dim=0)).topk(neurons).indices.sort().values
        up.weight, up.bias = _parameter(up.weight[chosen]), _parameter(up.bias[chosen])
        down.weight = _parameter(down.weight[:, chosen])
        up.out_features = down.in_features = neurons


def write_student(student: Student, model: TextModel, out: Path) -> None:
    """Write the student as a Hugging Face folder, which transformers and `deepseek serve` open."""
    out.mkdir(parents=True, exist_ok=True)
    config: Any = student.module.config
    tensors = {name: tensor.detach().contiguous() for name, tensor in student.module.state_dict().items()}
    safetensors.torch.save_file(tensors, out / SINGLE_FILE, {"format": "pt"})
    (out / CONFIG_FILE).write_text(config.to_json_string(), "utf-8")
    (out / TOKENIZER_FILE).write_text(json.dumps(student.tokenizer, ensure_ascii=False), "utf-8")
    settings = read_object(model.path, SETTINGS_FILE, is_optional=True)
    settings |= {"model_max_length": config.max_position_embeddings}
    (out / SETTINGS_FILE).write_text(json.dumps(settings, ensure_ascii=False), "utf-8")


def teacher_logits(model: TextModel, tokens: Sequence[TokenRow]) -> NDArray[np.float32]:
    """The teacher's logits (N, C) by OpenVINO, in bfloat16 where the CPU has it: exact enough to learn from."""
    engine = TextEngine.open(model.path, precision="bf16" if has_bf16(extra="text") else "f32")
    order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
    logits = np.empty((len(tokens), len(model.labels)), np.float32)
    for start in range(0, len(order), TEXTS_PER_BATCH):
        chosen = order[start : start + TEXTS_PER_BATCH]
        logits[chosen] = engine.run(model.join([tokens[row] for row in chosen]))["logits"]
    engine.close()
    return logits


def _shrink_embedding(tables: nn.Module, name: str, kept: Tensor, pad: int | None) -> None:
    table: Any = getattr(tables, name)
    setattr(
        tables, name, nn.Embedding(len(kept), table.embedding_dim, pad, _weight=table.weight.detach()[kept].clone())
    )


def _parameter(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach().clone())
