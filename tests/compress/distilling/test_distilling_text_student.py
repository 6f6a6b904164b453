"""A folder of a classifier becomes a smaller one, which transformers and our engine open and which agrees with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deepseek.compress.distilling import TextRows
from deepseek.compress.distilling.text_student import NOBODY_KNOWS, StudentRecipe, can_be_taught, distil_folder
from deepseek.engines.text import TextEngine, TextModel
from deepseek.errors import InputError
from deepseek.train import TrainConfig, fit
from textfolders import SENTENCE, change_json, make_text_folder, save_tensors, tensors_of, tokenizer_of

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("openvino")

TASK = "sequence-classification"
RECIPE = StudentRecipe(share=0.7, num_made=300, epochs=6, lr=2e-3, batch_size=32)


MOODS = ("bad", "good", "berlin")  # the word that decides each class


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It has learnt which of three words is in a text."""
    folder = make_text_folder(tmp_path_factory.mktemp("teacher") / "t", task=TASK, seed=5)
    tensors = {
        name: each / 3 if each.ndim > 1 else each
        for name, each in tensors_of("bert", TASK, tokenizer_of("bert").get_vocab_size(), 5).items()
    }
    save_tensors(folder, tensors)
    module = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    given, model = texts(300, 0), TextModel.open(folder)
    ids = [row.ids.tolist() for row in model.prepare(given)]
    labels = [next(number for number, word in enumerate(MOODS) if word in text.split()) for text in given]
    fit(module, TextRows(ids, labels, batch_size=32), TrainConfig(epochs=6, lr=3e-3))
    save_tensors(folder, {name: each.numpy() for name, each in module.state_dict().items()})
    assert np.mean(np.array(classes(folder, given)) == labels) > 0.95
    return folder


def texts(number: int, seed: int) -> list[str]:
    draw, words = np.random.default_rng(seed), [word for word in SENTENCE.split() if word not in MOODS]
    rows = [
        [MOODS[draw.integers(3)], *(words[index] for index in draw.integers(len(words), size=5))] for _ in range(number)
    ]
    return [" ".join(draw.permutation(row)) for row in rows]


def classes(folder: Path, of: list[str]) -> list[int]:
    model = TextModel.open(folder)
    engine = TextEngine.open(folder)
    found = engine.run(model.join(model.prepare(of)))["logits"].argmax(1).tolist()
    engine.close()
    return list(found)


def test_a_student_of_the_stated_share_agrees_with_its_teacher(teacher: Path, tmp_path: Path) -> None:
    out, held = tmp_path / "student", texts(200, 9)
    done = distil_folder(teacher, texts(200, 1), None, out, RECIPE, seed=0)
    assert done.share <= RECIPE.share
    assert (out / "model.safetensors").stat().st_size < RECIPE.share * (
        teacher / "model.safetensors"
    ).stat().st_size + 4e3
    wanted, found = classes(teacher, held), classes(out, held)
    assert np.mean(np.array(wanted) == np.array(found)) > 0.9
    # transformers reads the same folder and says the same
    model = transformers.AutoModelForSequenceClassification.from_pretrained(out).eval()
    ids = TextModel.open(out).prepare(held[:5])
    with torch.no_grad():
        logits = model(**{name: torch.from_numpy(each) for name, each in TextModel.open(out).join(ids).items()}).logits
    assert logits.argmax(1).tolist() == found[:5]
    assert sum(weight.numel() for weight in model.parameters()) == done.num_parameters
    assert TextModel.open(out).labels == TextModel.open(teacher).labels


def test_labels_are_learnt_where_they_are_known(teacher: Path, tmp_path: Path) -> None:
    given = texts(200, 1)
    labels = [2] * 100 + [NOBODY_KNOWS] * 100
    recipe = StudentRecipe(share=0.7, num_made=0, epochs=6, lr=2e-3, batch_size=32, alpha=0.0)
    distil_folder(teacher, given, labels, tmp_path / "student", recipe)
    assert set(classes(tmp_path / "student", texts(50, 9))) == {2}


def test_what_cannot_be_taught_is_refused_before_anything_is_written(teacher: Path, tmp_path: Path) -> None:
    assert can_be_taught(TextModel.open(teacher))
    for name, family, task in (
        ("roberta", "roberta", "sequence-classification"), ("distil", "distilbert", "sequence-classification"),
        ("embeds", "bert", "embedding"),
    ):  # fmt: skip
        folder = make_text_folder(tmp_path / name, family, task)
        assert not can_be_taught(TextModel.open(folder))
        with pytest.raises(InputError, match="no BERT with WordPiece"):
            distil_folder(folder, texts(20, 1), None, tmp_path / "out")
    several = make_text_folder(tmp_path / "several", task=TASK)
    change_json(several, "config.json", problem_type="multi_label_classification")
    assert not can_be_taught(TextModel.open(several))
    for recipe, words in (
        (StudentRecipe(share=0.05), "has room for"), (StudentRecipe(share=0.6, layers=2), "no room for neurons"),
        (StudentRecipe(share=0.9, layers=3), "a student of 3 layers"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            distil_folder(teacher, texts(20, 1), None, tmp_path / "out", recipe)
    assert not (tmp_path / "out").exists()
