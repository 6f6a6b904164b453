"""A checklist that was saved and opened again: the same to the bit, and refused when anything is not as it was."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deepseek.bundle.manifest import canonical_json
from deepseek.citations import Checklist, Contract, Corpus
from deepseek.citations.checklist import storage as saved
from deepseek.errors import InputError, IntegrityError, MissingError, TooLargeError
from support.rows.checklists import COPY, FILLER, LIST, Hashed, contract

DATA = [name for name in saved.MAX_FILE_BYTES if name != saved.LISTING]


@pytest.fixture(scope="module")
def trained() -> Checklist:
    return Checklist.fit([contract(seed) for seed in range(40)], LIST, Hashed())


@pytest.fixture(scope="module")
def kept(trained: Checklist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained.save(tmp_path_factory.mktemp("kept") / "nda")


@pytest.fixture
def copy(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept, tmp_path / "nda"))


def relisted(folder: Path, name: str, data: bytes) -> None:
    """The file written anew, with the hash that belongs to it, as whoever made the folder could."""
    (folder / name).write_bytes(data)
    listing = json.loads((folder / saved.LISTING).read_bytes())
    listing["files"][name] = hashlib.sha256(data).hexdigest()
    (folder / saved.LISTING).write_bytes(canonical_json(listing))


def test_answers_after_opening_equal_those_before_to_the_bit(trained: Checklist, kept: Path) -> None:
    again = Checklist.open(kept, Hashed())
    assert again.hypotheses == LIST
    assert again.name == trained.name == "checklist+hashed"
    for seed in range(200, 220):
        assert again.check(contract(seed).clauses) == trained.check(contract(seed).clauses)  # floats by ==
    clauses = Corpus.of({"NDA": f"Article 1 {COPY[1]}\nArticle 2 {FILLER[0]}\nArticle 3 {FILLER[1]}\n"}).clauses
    for sentence in LIST:
        assert again.scores(sentence, clauses).tobytes() == trained.scores(sentence, clauses).tobytes()


def test_saving_an_opened_one_gives_the_same_bytes(kept: Path, tmp_path: Path) -> None:
    again = Checklist.open(kept, Hashed()).save(tmp_path / "again")
    assert sorted(file.name for file in again.iterdir()) == sorted(saved.MAX_FILE_BYTES)
    for name in saved.MAX_FILE_BYTES:
        assert (again / name).read_bytes() == (kept / name).read_bytes()


def test_a_sentence_on_which_all_contracts_agree_is_kept_as_its_label(tmp_path: Path) -> None:
    contracts = [contract(seed) for seed in range(30)]
    same = [
        Contract((*each.clauses, GIVEN), np.pad(each.evidence, ((0, 1), (0, 1))), np.append(each.labels, 0))
        for each in contracts
    ]
    trained = Checklist.fit(same, (*LIST, "The receiver pays a fine."), Hashed())
    again = Checklist.open(trained.save(tmp_path / "nda"), Hashed())
    assert again.check(contracts[0].clauses) == trained.check(contracts[0].clauses)
    assert again.check(contracts[0].clauses)[2].label == "NotMentioned"


GIVEN = "Either party may end this agreement."


@pytest.mark.parametrize("name", DATA)
def test_a_changed_byte_of_a_file_is_refused(copy: Path, name: str) -> None:
    data = (copy / name).read_bytes()
    for place in np.linspace(0, len(data) - 1, 9).astype(int).tolist():
        changed = bytearray(data)
        changed[place] ^= 1
        (copy / name).write_bytes(changed)
        with pytest.raises(IntegrityError, match=f"{name} was cut or changed"):
            Checklist.open(copy, Hashed())
    (copy / name).write_bytes(data[:-1])
    with pytest.raises(IntegrityError, match=f"{name} was cut or changed"):
        Checklist.open(copy, Hashed())


def test_any_changed_byte_of_the_listing_is_refused(copy: Path) -> None:
    listing = (copy / saved.LISTING).read_bytes()
    for place in range(len(listing)):
        changed = bytearray(listing)
        changed[place] ^= 1
        (copy / saved.LISTING).write_bytes(changed)
        with pytest.raises((IntegrityError, InputError)):
            Checklist.open(copy, Hashed())


@pytest.mark.parametrize("name", saved.MAX_FILE_BYTES)
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(MissingError, match=name):
        Checklist.open(copy, Hashed())
    (copy / name).mkdir()
    with pytest.raises(IntegrityError, match="is no plain file"):
        Checklist.open(copy, Hashed())


@pytest.mark.parametrize("name", saved.MAX_FILE_BYTES)
def test_a_file_that_is_too_large_is_refused(copy: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (copy / name).stat().st_size
    monkeypatch.setitem(saved.MAX_FILE_BYTES, name, size)
    Checklist.open(copy, Hashed())
    monkeypatch.setitem(saved.MAX_FILE_BYTES, name, size - 1)
    with pytest.raises(TooLargeError, match=f"{name} is too large"):
        Checklist.open(copy, Hashed())


def test_what_could_not_be_opened_is_not_written(
    trained: Checklist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(saved.MAX_FILE_BYTES, saved.ARRAYS, 100)
    with pytest.raises(TooLargeError, match=r"arrays.safetensors would have \d+ bytes"):
        trained.save(tmp_path / "nda")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format_version", [2, 0, "1", True, None])
def test_another_format_is_refused(copy: Path, format_version: object) -> None:
    listing = json.loads((copy / saved.LISTING).read_bytes())
    (copy / saved.LISTING).write_bytes(canonical_json(listing | {"format": format_version}))
    with pytest.raises(InputError, match=f"is of format {format_version}"):
        Checklist.open(copy, Hashed())


def words_with(**changes: object) -> Callable[[bytes], bytes]:
    return lambda data: json.dumps(json.loads(data) | changes).encode()


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        (saved.WORDS, words_with(hypotheses=["One."]), "gives other vectors"),
        (saved.WORDS, words_with(readers=[7, 0]), "says the label 7"),
        (saved.WORDS, words_with(views=["a", "a"]), "is no checklist"),
        (saved.WORDS, lambda _: b"[" * 100_000, "is no checklist: RecursionError"),
        (saved.ARRAYS, lambda data: data[:-8], "is no checklist: SafetensorError"),
        (saved.RANKER, lambda data: data[: len(data) // 2], "ends too early"),
        (saved.RANKER, lambda _: b"{}", "is no checklist: KeyError"),
    ],
)
def test_files_that_do_not_fit_each_other_are_refused_though_their_hashes_do(
    copy: Path, name: str, change: Callable[[bytes], bytes], problem: str
) -> None:
    relisted(copy, name, change((copy / name).read_bytes()))
    with pytest.raises((IntegrityError, InputError), match=problem):
        Checklist.open(copy, Hashed())


def test_trees_of_the_wrong_place_are_refused(copy: Path) -> None:
    relisted(copy, saved.RANKER, (copy / saved.VERDICTS).read_bytes())
    with pytest.raises(IntegrityError, match="its trees read other columns"):
        Checklist.open(copy, Hashed())


class Renamed(Hashed):
    name = "renamed"


class Reversed(Hashed):
    def passages(self, texts):  # type: ignore[no-untyped-def]
        return np.ascontiguousarray(super().passages(texts)[:, ::-1])


def test_the_embedder_must_be_the_one_that_it_was_trained_with(copy: Path) -> None:
    with pytest.raises(InputError, match="trained with the embedder hashed, and none is given"):
        Checklist.open(copy)
    with pytest.raises(InputError, match="with the embedder hashed, and hashed gives other vectors"):
        Checklist.open(copy, Reversed())


def test_an_embedder_is_known_by_its_vectors_and_not_by_the_name_of_its_folder(copy: Path, trained: Checklist) -> None:
    again = Checklist.open(copy, Renamed())
    assert again.name == "checklist+renamed"
    assert again.check(contract(300).clauses) == trained.check(contract(300).clauses)


def test_nothing_is_written_over(trained: Checklist, copy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is there already"):
        trained.save(copy)
    with pytest.raises(MissingError, match="there is no folder"):
        Checklist.open(tmp_path / "no")


@pytest.mark.slow
def test_contracts_of_contract_nli_are_judged_as_before(shared_data: Path, tmp_path: Path) -> None:
    """Sixteen contracts to learn from and three to judge, all 17 sentences."""
    with zipfile.ZipFile(shared_data / "contract-nli" / "contract_nli.zip") as file:
        name = next(name for name in file.namelist() if name.endswith("train_truncated.json"))
        documents = json.loads(file.read(name))
    keys, contracts = sorted(documents["labels"]), []
    for document in documents["documents"][:19]:
        notes = document["annotation_sets"][0]["annotations"]
        labels = np.array([("NotMentioned", "Entailment", "Contradiction").index(notes[key]["choice"]) for key in keys])
        evidence = np.zeros((len(document["spans"]), len(keys)), np.int64)
        for column, key in enumerate(keys):
            evidence[notes[key]["spans"], column] = labels[column]
        clauses = tuple(document["text"][start:end] for start, end in document["spans"])
        contracts.append(Contract(clauses, evidence, labels))
    hypotheses = [documents["labels"][key]["hypothesis"] for key in keys]
    trained = Checklist.fit(contracts[:16], hypotheses, Hashed())
    again = Checklist.open(trained.save(tmp_path / "nda"), Hashed())
    for new in contracts[16:]:
        assert again.check(new.clauses) == trained.check(new.clauses)
