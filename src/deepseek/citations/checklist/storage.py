"""A trained checklist as a folder, never a pickle: what is written is read back, and answers to the bit.

    checklist.save("nda")
    opened = Checklist.open("nda", FolderEmbedder("all-MiniLM"))

    nda/checklist.json        {"format": 1, "files": {name: sha256}}, in the one way in which it is written
        words.json            the sentences, the embedder's name, terms in the order of their columns
        arrays.safetensors    float64: weights, and the vectors of the sentences, by which the embedder is known again
        ranker.ubj, verdicts.ubj     xgboost's own form

A changed byte of any file is refused (IntegrityError), a missing one (MissingError), one above its limit
(TooLargeError), another format (InputError). Hashes say that nothing was changed since, not who wrote it: sign
checklist.json, which names all the others, with bundle.sign_file. Weights of the embedder stay where they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from deepseek.bundle.manifest import canonical_json, decode_object
from deepseek.bundle.place import exclusive_writer, is_vacant, replace_folder, temporary_folder
from deepseek.citations.checklist.evidence import NUM_FEATURES, EvidenceScorer
from deepseek.citations.checklist.verdict import (
    NUM_SCORES,
    NUM_SUMMARY_FEATURES,
    LabelReaders,
    ReaderWeights,
    StoredReader,
    VerdictModel,
)
from deepseek.citations.retrieval.embedder import Embedder
from deepseek.engines.tabular.ubjson import read_ubjson
from deepseek.engines.tabular.xgboost_file import check_learner
from deepseek.errors import DeepseekError, InputError, IntegrityError, MissingError, TooLargeError
from deepseek.extras import need
from deepseek.files import read_bounded

FORMAT = 1
LISTING, WORDS, ARRAYS, RANKER, VERDICTS = (
    "checklist.json", "words.json", "arrays.safetensors", "ranker.ubj", "verdicts.ubj"
)  # fmt: skip
#: Bytes of each file. 111 contracts of contract-nli with 17 sentences make 6 MB of arrays, the others less than 1 MB.
MAX_FILE_BYTES = {LISTING: 2**14, WORDS: 2**27, ARRAYS: 2**30, RANKER: 2**27, VERDICTS: 2**27}
#: Least cosine of a sentence's vectors then and now: machines and precisions differ by less, models by more.
MIN_COSINE = 0.99
NUM_LABELS = 3
_FIX_PATH = "check the path"
_FIX_COPY = "copy the folder again from where it was made, or train the checklist again"
ChecklistParts = tuple[tuple[str, ...], EvidenceScorer, Any, VerdictModel]


def save(
    folder: Path,
    hypotheses: Sequence[str],
    embedder: Embedder,
    views: EvidenceScorer,
    ranker: Any,
    verdicts: VerdictModel,
) -> Path:
    """Write the folder, whole or not at all. InputError when something is there already."""
    if not is_vacant(folder):
        raise InputError(f"{folder} is there already", expected="a new folder", fix="give another name")
    files = _serialize(hypotheses, embedder, views, ranker, verdicts)
    for name, data in files.items():
        if len(data) > MAX_FILE_BYTES[name]:
            raise TooLargeError(
                f"{name} would have {len(data)} bytes",
                expected=f"at most {MAX_FILE_BYTES[name]}",
                fix="train on fewer contracts",
            )
    listing = {"format": FORMAT, "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with exclusive_writer(folder), temporary_folder(folder) as part:
            for name, data in (files | {LISTING: canonical_json(listing)}).items():
                (part / name).write_bytes(data)
            replace_folder(part, folder)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written: {error.strerror}",
            expected="a folder in which files may be made",
            fix="choose another place",
        ) from error
    return folder


def _serialize(
    hypotheses: Sequence[str], embedder: Embedder, views: EvidenceScorer, ranker: Any, verdicts: VerdictModel
) -> dict[str, bytes]:
    terms, own = views.parts()
    arrays: dict[str, NDArray[Any]] = {f"views.{name}": array for name, array in own.items()}
    arrays["sentences"] = embedder.passages(list(hypotheses)).astype(np.float64)
    readers: list[int | list[str]] = []
    for index, part in enumerate(verdicts.readers.parts()):
        readers.append(part if isinstance(part, int) else part.terms)
        if not isinstance(part, int):
            arrays |= {f"reader{index}.{name}": np.asarray(array, np.float64) for name, array in part.arrays.items()}
    words = {"hypotheses": list(hypotheses), "embedder": embedder.name, "views": terms, "readers": readers}
    return {
        WORDS: json.dumps(words).encode(),
        ARRAYS: save_arrays({name: np.ascontiguousarray(array) for name, array in arrays.items()}),
        RANKER: bytes(ranker.get_booster().save_raw("ubj")),
        VERDICTS: bytes(verdicts.trees.get_booster().save_raw("ubj")),
    }


def open_parts(folder: Path, embedder: Embedder) -> ChecklistParts:
    """What a Checklist is made of beside its embedder: sentences, views, ranker, verdicts."""
    files = _read_files(folder)
    try:
        words = json.loads(files[WORDS])
        arrays = load_arrays(files[ARRAYS])
        if not all(array.dtype == np.float64 and np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("an array holds what is no finite float64")
        hypotheses = tuple(str(each) for each in words["hypotheses"])
        vectors = arrays["sentences"]
        if not same_vectors(embedder.passages(list(hypotheses)), vectors):
            raise _embedder_mismatch(folder, words["embedder"], embedder)
        views = EvidenceScorer.of(words["views"], _arrays_of(arrays, "views"))
        readers = [
            reader if isinstance(reader, int) else ReaderWeights(reader, _arrays_of(arrays, f"reader{index}"))
            for index, reader in enumerate(words["readers"])
        ]
        _check_shapes(len(hypotheses), vectors.shape[1], words["views"], readers, arrays)
        ranker = load_trees(files[RANKER], NUM_FEATURES)
        verdicts = VerdictModel(LabelReaders.of(readers), load_trees(files[VERDICTS], NUM_SUMMARY_FEATURES))
    except DeepseekError:
        raise
    except (
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
        SafetensorError,
    ) as error:
        raise IntegrityError(
            f"{folder} is no checklist: {type(error).__name__}: {str(error)[:120]}",
            expected="the files that Checklist.save wrote",
            fix=_FIX_COPY,
        ) from error
    return hypotheses, views, ranker, verdicts


def embedder_name(folder: Path) -> str:
    """The name of the embedder that a saved checklist needs."""
    try:
        return str(json.loads(_read_files(folder)[WORDS])["embedder"])
    except (LookupError, ValueError, TypeError) as error:
        raise _integrity_error(WORDS) from error


def _read_files(folder: Path) -> dict[str, bytes]:
    """The files, as checklist.json says that they are."""
    if not folder.is_dir():
        raise MissingError(
            f"there is no folder {folder}", expected="the folder that Checklist.save wrote", fix=_FIX_PATH
        )
    top = _read_file(folder, LISTING)
    listing = decode_object(top, LISTING)
    if listing.get("format") != FORMAT or isinstance(listing["format"], bool):
        raise InputError(
            f"{folder / LISTING} is of format {str(listing.get('format'))[:40]}",
            expected=f"format {FORMAT}",
            fix="open it with the version of deepseek that wrote it, or train the checklist again",
        )
    hashes = listing.get("files")
    if top != canonical_json(listing) or not isinstance(hashes, dict) or set(hashes) != set(MAX_FILE_BYTES) - {LISTING}:
        raise _integrity_error(LISTING)
    files = {}
    for name in hashes:
        files[name] = _read_file(folder, name)
        if hashlib.sha256(files[name]).hexdigest() != hashes[name]:
            raise _integrity_error(name)
    return files


def _read_file(folder: Path, name: str) -> bytes:
    path = folder / name
    if path.exists() and not path.is_file():
        raise IntegrityError(f"{path} is no plain file", expected="a file that Checklist.save wrote", fix=_FIX_COPY)
    return read_bounded(path, MAX_FILE_BYTES[name], what="a file of a checklist", smaller=_FIX_COPY)


def _arrays_of(arrays: Mapping[str, NDArray[Any]], owner: str) -> dict[str, NDArray[Any]]:
    own = {name.partition(".")[2]: array for name, array in arrays.items() if name.partition(".")[0] == owner}
    return own | {"classes": own["classes"].astype(np.int64)} if "classes" in own else own


def _check_shapes(
    num_sentences: int,
    size: int,
    terms: Sequence[str],
    readers: Sequence[StoredReader],
    arrays: Mapping[str, NDArray[Any]],
) -> None:
    """ValueError for arrays that do not belong to these words. `size` is that of a vector."""
    num = len(terms)
    wanted: dict[str, tuple[int, ...]] = {
        "views.idf": (num,), "views.weights": (num_sentences, 2 * num), "views.bias": (num_sentences,),
        "views.meaning": (2 * size + 1, num_sentences), "sentences": (num_sentences, size),
    }  # fmt: skip
    for index, reader in enumerate(readers):
        if isinstance(reader, int):
            if reader not in range(NUM_LABELS):
                raise ValueError(f"reader {index} says the label {reader}")
            continue
        num, classes = len(reader.terms), reader.arrays["classes"].tolist()
        if (
            not 2 <= len(classes) <= NUM_LABELS
            or not set(classes) <= set(range(NUM_LABELS))
            or classes != sorted(set(classes))
        ):
            raise ValueError(f"reader {index} tells the labels {classes} apart")
        rows = len(classes) if len(classes) > 2 else 1
        wanted |= {
            f"reader{index}.idf": (num,), f"reader{index}.coef": (rows, num + size + NUM_SCORES),
            f"reader{index}.intercept": (rows,), f"reader{index}.classes": (len(classes),),
        }  # fmt: skip
    if len(readers) != num_sentences or {name: array.shape for name, array in arrays.items()} != wanted:
        raise ValueError("its arrays do not fit its words")


def load_trees(data: bytes, num_features: int) -> Any:
    """Checked before xgboost, which is C++, reads it."""
    learner = read_ubjson(data)["learner"]
    check_learner(learner)
    if int(learner["learner_model_param"]["num_feature"]) != num_features:
        raise ValueError("its trees read other columns")
    classifier = need("xgboost", extra="explain").XGBClassifier(n_jobs=1)
    classifier.load_model(bytearray(data))
    return classifier


def same_vectors(vectors: NDArray[Any], stored: NDArray[Any]) -> bool:
    """Whether an embedder gives the vectors (N, D) that it gave when the checklist was saved; its name may be another,
    for it has the folder's."""
    if vectors.shape != stored.shape or stored.ndim != 2:
        return False
    lengths, before = np.linalg.norm(vectors, axis=1), np.linalg.norm(stored, axis=1)
    products = (vectors * stored).sum(axis=1)
    return bool(np.allclose(lengths, before, rtol=1 - MIN_COSINE) and (products >= MIN_COSINE * lengths * before).all())


def _embedder_mismatch(folder: Path, wanted: object, embedder: Embedder) -> InputError:
    return InputError(
        f"{folder} was trained with the embedder {str(wanted)[:80]}, and {embedder.name} gives other vectors",
        expected="the embedder that it was trained with",
        fix="give that one to Checklist.open, or train the checklist again",
    )


def _integrity_error(name: str) -> IntegrityError:
    return IntegrityError(f"{name} was cut or changed", expected="the bytes that Checklist.save wrote", fix=_FIX_COPY)
