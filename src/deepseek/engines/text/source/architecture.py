"""What a config.json promises: the family, the sizes, the task and its labels, and how the tensors are named.

    architecture = Architecture.read(Path("all-MiniLM"))
    names = TensorNames.find(architecture, weights)         # checks every tensor's name and shape, reads none

BERT, DistilBERT and RoBERTa differ in names, in the first position and in the head; their layers are the same:
    h = norm(h + attention(h));  h = norm(h + dense(activation(dense(h))))
Source: the model classes of transformers 5 (models/bert, distilbert, roberta), by which tests hold the answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deepseek.engines.text.source.folder import JsonFields, read_object
from deepseek.engines.text.source.packed import quantization_problem
from deepseek.engines.text.source.weights import Weights
from deepseek.errors import InputError, IntegrityError

TextTask = Literal["embedding", "sequence-classification", "token-classification"]
CONFIG_FILE = "config.json"
#: model_type -> family. XLM-RoBERTa and CamemBERT are RoBERTa with another vocabulary.
FAMILIES = {
    "bert": "bert",
    "distilbert": "distilbert",
    "roberta": "roberta",
    "xlm-roberta": "roberta",
    "camembert": "roberta",
}
#: The end of an architecture's name -> task. The head that guesses words is left out.
TASK_BY_SUFFIX: dict[str, TextTask] = {
    "ForSequenceClassification": "sequence-classification",
    "ForTokenClassification": "token-classification",
    "ForMaskedLM": "embedding",
    "ForPreTraining": "embedding",
    "Model": "embedding",
}
CAUSAL_SUFFIXES = ("ForCausalLM", "LMHeadModel")
ACTIVATIONS = {"gelu": "erf", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh", "relu": "relu"}
MAX_LAYERS, MAX_LABELS, MAX_LABEL_LETTERS = 256, 10_000, 1_000
_PREFIXES = ("", "bert.", "distilbert.", "roberta.")
_CONVERT_FIX = (
    "where torch and transformers are, outside of a container: `deepseek convert HF_FOLDER --out DIR` writes a folder "
    "that is served without them"
)


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of one model. H = hidden, F = intermediate, C = number of labels."""

    family: str  # bert, distilbert, roberta
    task: TextTask
    hidden: int  # H
    num_layers: int
    num_heads: int  # divides H
    intermediate: int  # F
    vocab_size: int
    num_positions: int  # rows of the table of positions
    num_types: int  # 0: no token types (distilbert)
    pad_id: int
    activation: str  # erf, tanh (both GELU), relu
    norm_eps: float
    labels: tuple[str, ...] = ()  # (C,)
    multi_label: bool = False  # several labels at once: sigmoid instead of softmax

    @property
    def first_position(self) -> int:
        """RoBERTa counts positions from behind the padding's id."""
        return self.pad_id + 1 if self.family == "roberta" else 0

    @property
    def max_tokens(self) -> int:
        """The longest row that has positions."""
        return self.num_positions - self.first_position

    @classmethod
    def read(cls, folder: Path) -> Architecture:
        """The architecture that config.json describes. InputError for one that is not run here, IntegrityError for
        values that do not fit, MissingError without the file."""
        config = read_object(folder, CONFIG_FILE)
        family, task = family_and_task(config)
        _check_variant(config)

        def size(key: str, *default: int, most: int = 2**24) -> int:
            return int(config.field(key, int, *default, most=most))

        distil = family == "distilbert"
        activation = config.field("activation" if distil else "hidden_act", str, "gelu")
        architecture = cls(
            family=family,
            task=task,
            hidden=size("dim" if distil else "hidden_size"),
            num_layers=size("n_layers" if distil else "num_hidden_layers", most=MAX_LAYERS),
            num_heads=size("n_heads" if distil else "num_attention_heads"),
            intermediate=size("hidden_dim" if distil else "intermediate_size"),
            vocab_size=size("vocab_size"),
            num_positions=size("max_position_embeddings"),
            num_types=0 if distil else size("type_vocab_size", 2),
            pad_id=size("pad_token_id", 1 if family == "roberta" else 0),
            activation=_read_activation(activation, config.where),
            norm_eps=1e-12 if distil else float(config.field("layer_norm_eps", float, 1e-12, most=1)),
            labels=read_labels(config) if task != "embedding" else (),
            multi_label=config.get("problem_type") == "multi_label_classification",
        )
        architecture.check(config.where)
        return architecture

    def check(self, where: str) -> None:
        """IntegrityError for sizes that no model can have."""
        has_whole_heads = self.num_heads and self.hidden and self.hidden % self.num_heads == 0
        if not has_whole_heads or self.max_tokens < 1 or self.pad_id >= self.vocab_size:
            raise IntegrityError(
                f"{where}: {self.num_heads} heads, {self.hidden} numbers, {self.num_positions} positions, "
                f"{self.vocab_size} tokens and the padding's id {self.pad_id} do not fit together",
                expected="a hidden size that is a multiple of the number of heads, a position for each token, and a "
                "padding that is a token",
                fix="give the config that was saved with these weights",
            )


@dataclass(frozen=True, slots=True)
class TensorNames:
    """The names of the tensors of one model in its weights."""

    prefix: str  # "", "bert.", ...
    embeddings: str
    layer: str  # with {} for its number
    parts: Mapping[str, str]  # q, k, v, o, norm1, up, down, norm2 -> name within a layer
    head: Mapping[str, str]  # dense, out -> name in the whole model
    norm: tuple[str, str]  # weight, bias; gamma, beta in checkpoints of 2019

    @classmethod
    def find(cls, architecture: Architecture, weights: Weights) -> TensorNames:
        """The names in this file; IntegrityError for a tensor that is missing or not shaped as config.json says."""
        word = "embeddings.word_embeddings.weight"
        prefix = next((prefix for prefix in _PREFIXES if prefix + word in weights), "")
        distil = architecture.family == "distilbert"
        is_old = f"{prefix}embeddings.LayerNorm.gamma" in weights
        names = cls(
            prefix=prefix,
            embeddings=f"{prefix}embeddings.",
            layer=f"{prefix}transformer.layer.{{}}." if distil else f"{prefix}encoder.layer.{{}}.",
            parts=_DISTILBERT_PARTS if distil else _BERT_PARTS,
            head=_head_names(architecture, prefix),
            norm=("gamma", "beta") if is_old else ("weight", "bias"),
        )
        for name, shape in names.shapes(architecture):
            weights.check(name, shape)
        next_layer = names.layer.format(architecture.num_layers)
        if any(name.startswith(next_layer) for name in weights.names):
            raise IntegrityError(
                f"the weights in {weights.folder} have more layers than the {architecture.num_layers} of {CONFIG_FILE}",
                expected="as many layers as config.json says",
                fix="take config.json and weights of one and the same model",
            )
        return names

    def shapes(self, architecture: Architecture) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Every tensor that is used, and the shape that it must have."""
        h, f = architecture.hidden, architecture.intermediate
        tables = {"word": architecture.vocab_size, "position": architecture.num_positions}
        if architecture.num_types:
            tables["token_type"] = architecture.num_types
        for table, rows in tables.items():
            yield f"{self.embeddings}{table}_embeddings.weight", (rows, h)
        yield from self._norm_shapes(f"{self.embeddings}LayerNorm", h)
        sizes = {"q": (h, h), "k": (h, h), "v": (h, h), "o": (h, h), "up": (f, h), "down": (h, f)}
        for index in range(architecture.num_layers):
            layer = self.layer.format(index)
            for part, name in self.parts.items():
                if part in sizes:
                    yield from _dense_shapes(layer + name, sizes[part])
                else:
                    yield from self._norm_shapes(layer + name, h)
        if "dense" in self.head:
            yield from _dense_shapes(self.head["dense"], (h, h))
        if "out" in self.head:
            yield from _dense_shapes(self.head["out"], (len(architecture.labels), h))

    def _norm_shapes(self, name: str, h: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        for part in self.norm:
            yield f"{name}.{part}", (h,)


def family_and_task(config: JsonFields) -> tuple[str, TextTask]:
    """The family and the task of a config.json; InputError, which names it, for an architecture that is not run."""
    model_type, class_name = model_type_and_class(config)
    family = FAMILIES.get(model_type)
    if family is None:
        words = " of the model_type ".join(repr(name) for name in (class_name, model_type) if name)
        can_convert = task_of_class(class_name) is not None and model_type and not config.get("is_encoder_decoder")
        raise InputError(
            f"the architecture {words or 'without a name'} is not run here",
            expected=f"model_type one of {', '.join(FAMILIES)}",
            fix=_CONVERT_FIX if can_convert else "give an encoder that embeds or classifies",
        )
    task = task_of_class(class_name)
    if task is None:
        raise InputError(
            f"the architecture {class_name!r} has a head that is not run here",
            expected=f"one that ends in {', '.join(TASK_BY_SUFFIX)}",
            fix="give a model with one of these",
        )
    return family, task


def task_of_class(class_name: str) -> TextTask | None:
    """The task of a class of transformers by its name, embedding where it has none. None for another task."""
    if not class_name:
        return "embedding"
    return next((task for suffix, task in TASK_BY_SUFFIX.items() if class_name.endswith(suffix)), None)


def model_type_and_class(config: JsonFields) -> tuple[str, str]:
    """The model_type of a config.json, and the first of its architectures; each "" when it is not there."""
    classes = config.get("architectures")
    names = config.get("model_type"), classes[0] if isinstance(classes, list) and classes else ""
    model_type, class_name = (name[:100] if isinstance(name, str) else "" for name in names)
    return model_type, class_name


def _check_variant(config: JsonFields) -> None:
    """InputError for a variant of the family whose graph is another one."""
    positions = config.get("position_embedding_type", "absolute")
    if positions not in ("absolute", None) or config.get("is_decoder"):
        raise InputError(
            f"{config.where}: is_decoder or position_embedding_type makes this a variant that is not run here",
            expected="an encoder with absolute positions",
            fix="give a model without it",
        )
    quantization = config.get("quantization_config")
    problem = quantization_problem(quantization) if quantization else None
    if problem:
        raise InputError(
            f"{config.where}: quantization_config names {problem}, which is not run here",
            expected="weights that are not quantised, or 8-bit floats with one scale per channel",
            fix="give the model that it was made of, or pack that with deepseek.compress.quantize.pack",
        )


def _read_activation(name: str, where: str) -> str:
    if name not in ACTIVATIONS:
        raise InputError(
            f"{where}: the activation {name[:60]!r} is not run here", expected=", ".join(ACTIVATIONS), fix=_CONVERT_FIX
        )
    return ACTIVATIONS[name]


def read_labels(config: JsonFields) -> tuple[str, ...]:
    """The labels of id2label in their order. InputError for a model that gives a number instead of labels."""
    label_of = config.field("id2label", dict, {"0": "LABEL_0", "1": "LABEL_1"})
    labels = tuple(label_of.get(str(index)) for index in range(len(label_of)))
    is_text = all(isinstance(label, str) and 0 < len(label) <= MAX_LABEL_LETTERS for label in labels)
    if not is_text or len(set(labels)) != len(labels) or len(labels) > MAX_LABELS:
        raise IntegrityError(
            f"{config.where}: id2label does not name the labels 0 to {len(label_of) - 1}, each once",
            expected='{"0": "negative", "1": "positive"}',
            fix="correct id2label",
        )
    if len(labels) < 2 or config.get("problem_type") == "regression":
        raise InputError(
            f"{config.where}: a model that gives one number instead of labels is not run here",
            expected="at least two labels in id2label, and no regression",
            fix="serve a classifier, or export the model to ONNX and serve that file",
        )
    return tuple(str(label) for label in labels)


_BERT_PARTS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "o": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm2": "output.LayerNorm",
}
_DISTILBERT_PARTS = {
    "q": "attention.q_lin",
    "k": "attention.k_lin",
    "v": "attention.v_lin",
    "o": "attention.out_lin",
    "norm1": "sa_layer_norm",
    "up": "ffn.lin1",
    "down": "ffn.lin2",
    "norm2": "output_layer_norm",
}


def _head_names(architecture: Architecture, prefix: str) -> dict[str, str]:
    """The names of the head's layers: "dense" and "out" for a text's first token, "out" for each token, or none."""
    if architecture.task == "embedding":
        return {}
    if architecture.task == "token-classification":
        return {"out": "classifier"}
    return {
        "bert": {"dense": f"{prefix}pooler.dense", "out": "classifier"},
        "distilbert": {"dense": "pre_classifier", "out": "classifier"},
        "roberta": {"dense": "classifier.dense", "out": "classifier.out_proj"},
    }[architecture.family]


def _dense_shapes(name: str, shape: tuple[int, int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]
