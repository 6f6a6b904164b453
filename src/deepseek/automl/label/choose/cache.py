"""The numbers of a project's items, kept beside it, so that a new queue takes seconds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from deepseek.automl.label.choose.features import ItemFeatures, make_features
from deepseek.automl.label.choose.picture_net import picture_net_name
from deepseek.automl.label.project.project import Project
from deepseek.automl.label.project.records import Item
from deepseek.engines.text.source.installed import installed_encoder
from deepseek.extras import need
from deepseek.files import atomic_file

FILE_NAME = "features.safetensors"
VERSION = 2
MAX_POOL = 20_000  # items that a queue is chosen among, drawn at random


def choose_pool(project: Project) -> list[Item]:
    """The items whose numbers are made: all of them, or of more than MAX_POOL those to test on and others by chance."""
    numbers = {
        row[0]
        for row in project.store.connection.execute(
            "SELECT number FROM items WHERE same_as IS NULL AND fault = '' ORDER BY is_test DESC, place LIMIT ?",
            (MAX_POOL,),
        )
    }
    return [item for item in project.store.items() if item.number in numbers]


def load_features(project: Project) -> ItemFeatures:
    """The numbers of choose_pool(), read where they are kept, else made and kept."""
    items = choose_pool(project)
    path, key = project.folder / FILE_NAME, _key_of(project, items)
    kept = _read(path, key)
    if kept is not None:
        return kept
    features = make_features(project, items, project.definition.seed)
    _write(path, key, features)
    return features


def _key_of(project: Project, items: Sequence[Item]) -> str:
    kinds = set(project.definition.kinds.values())
    # What describes other kinds is not asked for: the net of pictures would import torch.
    encoder = installed_encoder() if "text" in kinds else None
    described_by = ["" if encoder is None else encoder.name, picture_net_name() if "image" in kinds else ""]
    document = [
        VERSION, described_by, project.definition.source_digest, project.definition.seed,
        [item.number for item in items],
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()


def _write(path: Path, key: str, features: ItemFeatures) -> None:
    arrays = {"numbers": features.numbers, "dense": features.dense, "topics": features.topics}
    if features.terms is not None:
        terms = features.terms
        arrays |= {"data": terms.data, "indices": terms.indices.astype(np.int64), "ends": terms.indptr.astype(np.int64)}
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    metadata = {"key": key, "names": json.dumps(features.names), "terms": json.dumps(features.term_names)}
    with atomic_file(path) as part:
        save_file(arrays, part, metadata)


def _read(path: Path, key: str) -> ItemFeatures | None:
    """What is kept under this key; None where nothing is, or where it cannot be read."""
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            if metadata.get("key") != key:
                return None
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
    except (OSError, SafetensorError):
        return None
    terms = None
    if "data" in arrays:
        sparse = need("scipy.sparse", extra="tabular")
        shape = (len(arrays["numbers"]), len(arrays["topics"]))
        terms = sparse.csr_matrix((arrays["data"], arrays["indices"], arrays["ends"]), shape=shape)
    names, term_names = (tuple(json.loads(metadata[name])) for name in ("names", "terms"))
    return ItemFeatures(arrays["numbers"], arrays["dense"], names, terms, arrays["topics"], term_names)
