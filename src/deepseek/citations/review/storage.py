"""A trained review as files of a bundle, never a pickle, and back: equal answers to the bit.

files = model_files(model, encoder)                     # bytes by path
model, encoder = open_model(open_bundle(path))          # the encoder that it was trained with is looked for

checklist.json                the lines
review.json                   what judges, which lines are trained, the encoder, terms in the order of their columns
weights/arrays.safetensors    weights, and the vectors of the lines, by which the encoder is known again
weights/ranker.ubj, weights/verdicts.ubj     xgboost's own form, where there were documents enough for trees
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from deepseek.bundle import Bundle
from deepseek.bundle.manifest import canonical_json
from deepseek.citations.checklist.evidence import NUM_FEATURES
from deepseek.citations.checklist.storage import load_trees, same_vectors
from deepseek.citations.checklist.verdict import NUM_SUMMARY_FEATURES, LabelReaders, ReaderWeights, VerdictModel
from deepseek.citations.retrieval.embedder import Embedder, FolderEmbedder
from deepseek.citations.retrieval.tfidf import column_terms
from deepseek.citations.review.embedders import EncoderChoice, open_embedder
from deepseek.citations.review.lines import Checklist, checklist_of
from deepseek.citations.review.model import ReviewModel, StateRegression, TrainedLines, TreeVerdicts
from deepseek.citations.review.tuning import TunedView
from deepseek.citations.review.views import TERM_VIEWS, PassageClassifier, TermView, VectorView, make_vectorizer
from deepseek.contracts import JsonObject
from deepseek.errors import DeepseekError, InputError, IntegrityError

TASK: Final = "review"
FORMAT = 1
LINES, MODEL, ARRAYS = "checklist.json", "review.json", "weights/arrays.safetensors"
RANKER, VERDICTS, TUNED = "weights/ranker.ubj", "weights/verdicts.ubj", "encoders"


def model_files(model: ReviewModel, encoder: EncoderChoice) -> dict[str, bytes]:
    """The bytes of each file by its path."""
    arrays: dict[str, NDArray[Any]] = {"lines": _line_vectors(model.checklist, model.embedder)}
    document: JsonObject = {
        "format": FORMAT, "trained": [], "encoder": {"kind": encoder.kind, "path": encoder.path},
        "encoder_name": model.embedder.name, "terms": {}, "readers": [], "num_tuned": 0,
    }  # fmt: skip
    files: dict[str, bytes] = {LINES: canonical_json(model.checklist.to_dict())}
    if model.trained is not None:
        files |= _trained_files(model.trained, document, arrays)
    files[MODEL] = json.dumps(document, ensure_ascii=False).encode()
    files[ARRAYS] = save_arrays({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return files


def _trained_files(trained: TrainedLines, document: JsonObject, arrays: dict[str, NDArray[Any]]) -> dict[str, bytes]:
    """Puts what was trained into the document and the arrays; files of their own of trees and encoders."""
    files: dict[str, bytes] = {}
    document["trained"], document["denial_weight"] = list(trained.lines), trained.denial_weight
    classifier = trained.classifier
    for name, view in classifier.terms.items():
        document["terms"][name] = column_terms(view.vectorizer)
        arrays |= {f"{name}.idf": view.vectorizer.idf_, f"{name}.weights": view.weights}
    arrays |= {
        "meaning.weights": classifier.meaning.weights, "slopes": classifier.slopes, "offsets": classifier.offsets,
        "thresholds": classifier.thresholds,
        "states.weights": trained.states.weights, "states.bias": trained.states.bias,
    }  # fmt: skip
    if trained.trees is not None:
        for index, part in enumerate(trained.trees.verdicts.readers.parts()):
            document["readers"].append(part if isinstance(part, int) else part.terms)
            if not isinstance(part, int):
                arrays |= {f"reader{index}.{name}": np.asarray(array) for name, array in part.arrays.items()}
        files[RANKER] = bytes(trained.trees.ranker.get_booster().save_raw("ubj"))
        files[VERDICTS] = bytes(trained.trees.verdicts.trees.get_booster().save_raw("ubj"))
    if trained.tuned is not None:
        document["num_tuned"] = len(trained.tuned.encoders)
        arrays |= {"tuned.weights": trained.tuned.weights, "tuned.bias": trained.tuned.bias}
        for number, folder in enumerate(trained.tuned.folders):
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    files[f"{TUNED}/{number}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    return files


def _line_vectors(checklist: Checklist, embedder: Embedder) -> NDArray[np.float32]:
    """The vectors (H, D) of the lines, by which the encoder is known again."""
    return embedder.queries([line.text for line in checklist.lines]).astype(np.float32)


def open_model(bundle: Bundle, encoder: EncoderChoice | None = None) -> ReviewModel:
    """The model in a bundle, with the encoder that it says, or another place of the same one. InputError for a bundle
    of another kind or an encoder that is not the one, IntegrityError for files that do not fit each other."""
    if bundle.manifest.task != TASK:
        raise InputError(
            f"{bundle.path} judges no documents ({bundle.manifest.task})", expected="a bundle of recipe compliance",
            fix="deepseek recipe compliance CHECKLIST.toml --train DOCS --out review",
        )  # fmt: skip
    try:
        return _open_model(bundle, encoder)
    except DeepseekError:
        raise
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise IntegrityError(
            f"{bundle.path} does not fit itself: {type(error).__name__}: {str(error)[:120]}",
            expected="the files that recipe compliance wrote", fix="copy the bundle again, or train it again",
        ) from error  # fmt: skip


def _open_model(bundle: Bundle, encoder: EncoderChoice | None) -> ReviewModel:
    checklist = checklist_of(json.loads(bundle.read(LINES)), LINES)
    document: JsonObject = json.loads(bundle.read(MODEL))
    if document["format"] != FORMAT:
        raise InputError(
            f"{bundle.path} is of format {document['format']!r:.40}", expected=f"format {FORMAT}", fix="train it again"
        )
    arrays = load_arrays(bundle.read(ARRAYS))
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ValueError("an array holds what is not finite")
    stored = EncoderChoice(str(document["encoder"]["kind"]), str(document["encoder"]["path"]))  # type: ignore[arg-type]
    embedder = open_embedder(encoder or stored)
    if not same_vectors(_line_vectors(checklist, embedder), arrays["lines"]):
        raise InputError(
            f"{bundle.path} was trained with the encoder {document['encoder_name']!r:.80}, and {embedder.name} gives "
            "other vectors", expected="the encoder that it was trained with", fix="give that one: --embed FOLDER",
        )  # fmt: skip
    lines = tuple(int(line) for line in document["trained"])
    if not lines:
        return ReviewModel(checklist, embedder, None)
    if not set(lines) <= set(range(len(checklist.lines))):
        raise ValueError("a trained line is not in the checklist")
    denial_weight = float(document.get("denial_weight", 1.0))
    if not 0 < denial_weight < np.inf:
        raise ValueError(f"denials count {denial_weight}")
    num_views = len(TERM_VIEWS) + 1 + bool(document["num_tuned"])
    classifier = _open_classifier(document["terms"], arrays, 2 * len(lines), num_views)
    trained = TrainedLines(
        lines, classifier, StateRegression(arrays["states.weights"], arrays["states.bias"]),
        _open_trees(bundle, document["readers"], arrays, len(lines)),
        _open_tuned(bundle, int(document["num_tuned"]), arrays), denial_weight,
    )  # fmt: skip
    return ReviewModel(checklist, embedder, trained)


def _open_trees(
    bundle: Bundle, stored: Sequence[Any], arrays: Mapping[str, NDArray[Any]], num_lines: int
) -> TreeVerdicts | None:
    if RANKER not in bundle.manifest.files:
        return None
    readers = [
        reader if isinstance(reader, int) else ReaderWeights(reader, _arrays_of(arrays, f"reader{index}"))
        for index, reader in enumerate(stored)
    ]
    if len(readers) != num_lines:
        raise ValueError("its readers do not fit its lines")
    ranker = load_trees(bundle.read(RANKER), NUM_FEATURES)
    verdicts = VerdictModel(LabelReaders.of(readers), load_trees(bundle.read(VERDICTS), NUM_SUMMARY_FEATURES))
    return TreeVerdicts(ranker, verdicts)


def _open_tuned(bundle: Bundle, num: int, arrays: Mapping[str, NDArray[Any]]) -> TunedView | None:
    """The encoders that learned the lines, from their folders in the bundle, every byte of which is checked first."""
    if not num:
        return None
    for name in bundle.manifest.files:
        if name.startswith(f"{TUNED}/"):
            bundle.read(name)
    folders = tuple(bundle.path / TUNED / str(number) for number in range(num))
    return TunedView(tuple(map(FolderEmbedder, folders)), folders, arrays["tuned.weights"], arrays["tuned.bias"])


def _open_classifier(
    terms: Mapping[str, list[str]], arrays: Mapping[str, NDArray[Any]], num_columns: int, num_views: int
) -> PassageClassifier:
    """ValueError for arrays that do not fit their terms."""
    views = {}
    for name in TERM_VIEWS:
        own = _arrays_of(arrays, name)
        if own["weights"].shape != (num_columns, 2 * len(terms[name]) + 1):
            raise ValueError(f"the weights of {name} do not fit their terms")
        vectorizer = make_vectorizer(name, vocabulary=terms[name], max_features=None)
        vectorizer.idf_ = own["idf"]
        views[name] = TermView(vectorizer, own["weights"])
    meaning = VectorView(arrays["meaning.weights"])
    if meaning.weights.shape != (num_columns, 2 * arrays["lines"].shape[1] + 1):
        raise ValueError("the weights of meaning do not fit the encoder")
    offsets, thresholds = arrays["offsets"], arrays["thresholds"]
    if not offsets.shape == thresholds.shape == (num_columns,) or arrays["slopes"].shape != (num_views,):
        raise ValueError("the calibration does not fit the lines")
    return PassageClassifier(views, meaning, arrays["slopes"], offsets, thresholds)


def _arrays_of(arrays: Mapping[str, NDArray[Any]], owner: str) -> dict[str, NDArray[Any]]:
    return {name.partition(".")[2]: array for name, array in arrays.items() if name.partition(".")[0] == owner}
