"""Free texts and files drift by what can be measured of them, and by the words that the bundle knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deepseek.bundle.read import open_bundle
from deepseek.observe.drift.change import ALARM, ChangeDetector
from deepseek.observe.drift.scores import ColumnValues, LevelColumn, NumberColumn
from deepseek.observe.drift.texts import TextDescriber, read_text_encoders
from support.servers.fixtures import build

CARDS = "my card was declined at the shop|the card does not work abroad|where is my new card"
MONEY = "the transfer to my friend is late|when does the money arrive|a transfer failed again today"


def texts(subjects: str, num_rows: int, seed: int) -> np.ndarray:
    """Sentences on some subjects, each with a number of its own, so that they are free text."""
    rng = np.random.default_rng(seed)
    return np.array([f"{rng.choice(subjects.split('|'))} {rng.integers(10_000)}" for _ in range(num_rows)], object)


@pytest.fixture(scope="module")
def text_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    said = np.concatenate([texts(CARDS, 150, 0), texts(MONEY, 150, 1)])
    columns = {"said": said, "about": np.repeat(np.array(["card", "money"], object), 150)}
    folder = tmp_path_factory.mktemp("texts") / "texts"
    return build(folder, columns, target="about", labels=("card", "money"), kinds={"said": "text"})


def names_of(columns: list[ColumnValues]) -> list[str]:
    return [each.name for each in columns]


def test_what_texts_are_about_is_seen_by_the_words_that_the_bundle_knows(text_bundle: Path) -> None:
    encoders = read_text_encoders(open_bundle(text_bundle))
    past: list[ColumnValues] = [LevelColumn("input.said", texts(f"{CARDS}|{MONEY}", 600, 2))]
    describer = TextDescriber(past, encoders, "input.")
    described = describer.describe(past)
    assert {"input.said: length", "input.said: unknown words", "input.said: subject 1"} <= set(names_of(described))
    detector = ChangeDetector(described)

    def p_value(values: np.ndarray) -> float:
        return detector.measure(detector.summarize(describer.describe([LevelColumn("input.said", values)]))).p_value

    assert p_value(texts(f"{CARDS}|{MONEY}", 150, 3)) > ALARM
    assert p_value(texts(MONEY, 150, 4)) < ALARM
    assert p_value(texts("mi tarjeta no funciona|no llega el dinero", 150, 5)) < ALARM


def test_a_text_without_an_encoder_has_a_length_and_signs() -> None:
    said = np.array(
        ["Refund NOW!! 12", None, "我的卡坏了", *(f"a plain question number {n}" for n in range(20))], object
    )
    past: list[ColumnValues] = [
        LevelColumn("said", said),
        LevelColumn("city", np.array(["Bern", "Rome"] * 11 + ["Bern"])),
    ]
    described = {each.name: each for each in TextDescriber(past, {}).describe(past)}
    assert described["said: length"].values[:1] == [15]
    assert np.isnan(described["said: length"].values[1])
    assert described["said: Chinese"].values[2] == 1
    assert described["said: digits"].values[0] == pytest.approx(2 / 15)
    assert isinstance(described["city"], LevelColumn)


def test_a_file_has_the_size_that_the_log_kept() -> None:
    pictures = np.array([f"<bytes of {1_000 + n}>" for n in range(30)], object)
    cut = np.array([f"iVBORw0KGgo{n}… ({50_000 + n} characters)" for n in range(30)], object)
    columns: list[ColumnValues] = [LevelColumn("photo", pictures), LevelColumn("scan", cut)]
    described = {each.name: each for each in TextDescriber(columns, {}).describe(columns)}
    assert isinstance(described["photo: size"], NumberColumn)
    assert described["photo: size"].values[:2].tolist() == [1_000, 1_001]
    assert described["scan: length"].values[0] == 50_000
