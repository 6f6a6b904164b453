"""A folder of a classifier becomes a smaller one, which transformers and our engine open and which agrees with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deepseek.compress.distilling.config import UNLABELED
from deepseek.compress.distilling.text_student import StudentRecipe, distill_folder, prune_neurons
from deepseek.compress.distilling.vocabulary import check_distillable
from deepseek.engines.text import TextEngine, TextModel
from deepseek.errors import InputError
from support.nets.textfolders import change_json, make_text_folder
from support.rows.moods import make_moods, texts

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("openvino")

RECIPE = StudentRecipe(share=0.15, augmented_per_text=1.5, min_augmented=0, epochs=6, lr=2e-3, batch_size=32)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_moods(tmp_path_factory.mktemp("teacher") / "t")


def found_in(folder: Path, of: list[str]) -> list[int]:
    """Classes by our engine."""
    model = TextModel.open(folder)
    engine = TextEngine.open(folder)
    labels = engine.run(model.join(model.prepare(of)))["logits"].argmax(1).tolist()
    engine.close()
    return list(labels)


def test_a_student_of_the_stated_share_agrees_with_its_teacher(teacher: Path, tmp_path: Path) -> None:
    out, held = tmp_path / "student", texts(200, 9)
    done = distill_folder(teacher, texts(200, 1), None, out, RECIPE, seed=0)
    assert done.share <= RECIPE.share
    assert (out / "model.safetensors").stat().st_size < RECIPE.share * (
        teacher / "model.safetensors"
    ).stat().st_size + 4e3
    wanted, student_labels = found_in(teacher, held), found_in(out, held)
    assert np.mean(np.array(wanted) == np.array(student_labels)) > 0.9
    # transformers reads the same folder and says the same
    model = transformers.AutoModelForSequenceClassification.from_pretrained(out).eval()
    ids = TextModel.open(out).prepare(held[:5])
    with torch.no_grad():
        logits = model(**{name: torch.from_numpy(each) for name, each in TextModel.open(out).join(ids).items()}).logits
    assert logits.argmax(1).tolist() == student_labels[:5]
    assert sum(weight.numel() for weight in model.parameters()) == done.num_parameters
    assert TextModel.open(out).labels == TextModel.open(teacher).labels


def test_the_strongest_neurons_stay(teacher: Path) -> None:
    module = transformers.AutoModelForSequenceClassification.from_pretrained(teacher).eval()
    chosen = torch.randperm(1024, generator=torch.Generator().manual_seed(0))[:64]
    weak = torch.ones(1024, dtype=torch.bool).index_fill(0, chosen, value=False)
    with torch.no_grad():
        for layer in module.bert.encoder.layer:
            layer.output.dense.weight[:, weak] = 0
    ids = torch.tensor([[2, 6, 7, 3]])
    before = module(input_ids=ids).logits
    prune_neurons(module, 64)
    assert module.bert.encoder.layer[1].intermediate.dense.weight.shape == (64, 32)
    assert torch.allclose(module(input_ids=ids).logits, before, atol=1e-5)


def test_labels_are_learnt_where_they_are_known(teacher: Path, tmp_path: Path) -> None:
    training_texts = texts(200, 1)
    labels = [2] * 100 + [UNLABELED] * 100
    recipe = StudentRecipe(share=0.15, augmented_per_text=0, epochs=6, lr=2e-3, batch_size=32, alpha=0.0)
    distill_folder(teacher, training_texts, labels, tmp_path / "student", recipe)
    assert set(found_in(tmp_path / "student", texts(50, 9))) == {2}


def test_what_cannot_be_taught_is_refused_before_anything_is_written(teacher: Path, tmp_path: Path) -> None:
    for name, family, task in (
        ("roberta", "roberta", "sequence-classification"), ("distil", "distilbert", "sequence-classification"),
        ("embeds", "bert", "embedding"),
    ):  # fmt: skip
        folder = make_text_folder(tmp_path / name, family, task)
        with pytest.raises(InputError, match="no BERT with WordPiece"):
            distill_folder(folder, texts(20, 1), None, tmp_path / "out")
    several = make_text_folder(tmp_path / "several", task="sequence-classification")
    change_json(several, "config.json", problem_type="multi_label_classification")
    with pytest.raises(InputError, match="one label to a text"):
        check_distillable(TextModel.open(several))
    for recipe, words in (
        (StudentRecipe(share=0.01), "has room for"), (StudentRecipe(share=0.08), "no room for neurons"),
        (StudentRecipe(share=0.9, layers=3), "a student of 3 layers"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            distill_folder(teacher, texts(20, 1), None, tmp_path / "out", recipe)
    assert not (tmp_path / "out").exists()
