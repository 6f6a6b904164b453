"""Items as numbers in which distances mean something and a linear model learns from few labels.

Tables and texts are prepared as `ship` prepares them; the TF-IDF of texts is then projected on its NUM_TOPICS strongest
directions (latent semantic analysis, Deerwester et al. 1990), which all items have taught, labeled or not. Where the
text encoder that comes as a package is installed (engines/text/source/installed.py), its vectors stand beside the
topics: the former know other words for the same thing, the latter the words that decide in one trade. Pictures are
small histograms of their edges by place (after Dalal and Triggs 2005) and their colors, beside what a net sees in them
where one is installed (picture_net.py), sounds the energy of bands by stretch of time. A directed word stands beside
each number, so that a model can say what spoke for its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.label.choose.picture_net import SIDE_PX, open_picture_net
from deepseek.automl.label.project.project import Project
from deepseek.automl.label.project.records import FILE_KINDS, Item
from deepseek.contracts import Float64
from deepseek.data.features.prepare import Preprocessor, fit_preprocessor
from deepseek.data.features.texts import TextEncoder
from deepseek.data.media.source import Source
from deepseek.data.samples.preparer import open_cell
from deepseek.data.table.read import read_table
from deepseek.engines.text.source.installed import installed_encoder
from deepseek.errors import DeepseekError, InputError
from deepseek.extras import need
from deepseek.train.candidates import FitData
from deepseek.train.candidates.texts import TokenColumns, TokenMatrix

NUM_TOPICS = 200
BLOCK_SCALES = {"word": 1.0, "pair": 0.7, "ngram": 1.0}  # as ship's linear model of texts begins
PICTURE_PX, CELL_PX, NUM_DIRECTIONS = 32, 8, 8
NUM_BANDS, NUM_STRETCHES = 32, 8
MAX_FITTED_FILES = 32
#: Squared length of a mean item, of its topics and of its vector: chosen by accuracy from 50 to 1,500 labels on intents
#: and domains of clinc150, radiology reports and clauses of terms of service; pictures alike. Topics alone: NUM_TOPICS.
ENCODED_NORM = 50.0
MAX_ENCODED_CHARS = 1_000  # of a text that the encoder reads: a label is asked of what a person sees at once


@dataclass(frozen=True, slots=True)
class ItemFeatures:
    """Numbers of N items. `dense` is what a model reads; `terms` and `topics` say what the first of them come from."""

    numbers: NDArray[np.int64]  # (N,) of the items
    dense: Float64  # (N, D)
    names: tuple[str, ...]  # (D - K,) of the numbers behind the topics
    terms: Any  # sparse (N, V), or None where there are no texts
    topics: Float64  # (V, K): dense[:, :K] = terms @ topics
    term_names: tuple[str, ...]  # (V,)

    def place_of(self) -> dict[int, int]:
        """The row of each item."""
        return {number: row for row, number in enumerate(self.numbers.tolist())}

    def reasons(self, row: int, direction: Float64, most: int) -> tuple[tuple[str, float], ...]:
        """What adds most to dense[row] @ direction: words and columns, with what they add."""
        num_topics = self.topics.shape[1]
        behind = self.dense[row, num_topics:] * direction[num_topics:]
        shares = {name: float(share) for name, share in zip(self.names, behind, strict=True) if name}
        if self.terms is not None:
            cells = self.terms[[row]]
            added = cells.data * (self.topics[cells.indices] @ direction[:num_topics])
            for place, share in zip(cells.indices.tolist(), added.tolist(), strict=True):
                name = self.term_names[place]
                if name:
                    shares[name] = shares.get(name, 0.0) + share
        best = sorted(shares.items(), key=lambda pair: -abs(pair[1]))[:most]
        return tuple((name, share) for name, share in best if share)


def make_features(project: Project, items: Sequence[Item], seed: int) -> ItemFeatures:
    """Numbers of these items. Files that cannot be read are zeros. InputError where no column says anything."""
    definition = project.definition
    columns = {name: [item.content[name] for item in items] for name in definition.kinds}
    root = Path(definition.root) if definition.root else None
    return describe_rows([item.number for item in items], columns, definition.kinds, root, seed)


def describe_rows(
    row_numbers: Sequence[int], columns: Mapping[str, list[Any]], kinds: Mapping[str, str], root: Path | None, seed: int
) -> ItemFeatures:
    """Numbers of N rows: their columns, the kind of each, and the folder of the files."""
    media = [_describe_column(columns[name], name, kind, root) for name, kind in kinds.items() if kind in FILE_KINDS]
    table = {name: columns[name] for name, kind in kinds.items() if kind not in FILE_KINDS}
    prepared = _prepare(table, {name: kinds[name] for name in table}, must_work=not media) if table else None
    numbers = np.array(row_numbers, np.int64)
    if prepared is None:
        dense = np.hstack(media)
        return ItemFeatures(numbers, dense, ("",) * dense.shape[1], None, np.zeros((0, 0)), ())
    preprocessor, data = prepared
    terms, term_names, topics = _find_topics(preprocessor, data, seed)
    vectors = _encode_texts([table[name] for name, kind in kinds.items() if kind == "text"])
    if vectors is not None:
        topics = topics * np.sqrt(ENCODED_NORM / NUM_TOPICS)
        media.append(vectors)
    tokens = TokenColumns(data)
    plain = data.features[:, tokens.plain_numbers].astype(np.float64)
    spread = plain.std(axis=0)
    scaled = (plain - plain.mean(axis=0)) / np.where(spread > 0, spread, np.inf)
    names = [preprocessor.feature_names[place] for place in tokens.plain_numbers]
    parts = [terms @ topics if terms is not None else np.zeros((len(numbers), 0)), scaled, *media]
    names += [""] * sum(part.shape[1] for part in media)
    return ItemFeatures(numbers, np.hstack(parts), tuple(names), terms, topics, term_names)


def _prepare(
    table: Mapping[str, list[Any]], kinds: Mapping[str, str], *, must_work: bool
) -> tuple[Preprocessor, FitData] | None:
    """Rows as `ship` prepares them; None where no column says anything and pictures or sounds stand beside them."""
    rows = read_table(table)
    try:
        preprocessor = fit_preprocessor(rows, kinds, target="")
    except InputError:
        if must_work:
            raise
        return None
    features = preprocessor.table(rows).features
    parts = preprocessor.features
    data = FitData(
        features, np.zeros(len(features)), np.ones(len(features)), "regression", 0, tuple(part.kind for part in parts),
        tuple(part.num_levels for part in parts), (0,) * len(parts),
    )  # fmt: skip
    return preprocessor, data


def _find_topics(preprocessor: Preprocessor, data: FitData, seed: int) -> tuple[Any, tuple[str, ...], Float64]:
    """The TF-IDF of the texts (N, V), its terms, and the directions (V, K) that hold most of it."""
    columns = TokenColumns(data)
    if not len(columns.blocks) or not columns.blocks[:, 3].sum():
        return None, (), np.zeros((0, 0))
    scales = tuple(BLOCK_SCALES[kind] for kind in columns.kinds)
    empty = np.zeros(0, np.int64)
    matrix = TokenMatrix(columns.blocks, scales, empty, np.zeros(0), np.zeros(0)).of(data.features)
    names = [
        term if sort == 0 else ""
        for column in preprocessor.columns
        if isinstance(column.coder, TextEncoder)
        for sort, block in enumerate(column.coder.blocks)
        for term in block.terms
    ]
    num_topics = min(NUM_TOPICS, min(matrix.shape) - 1)
    if num_topics < 1:
        return None, (), np.zeros((0, 0))
    svd = need("sklearn.decomposition", extra="tabular").TruncatedSVD(num_topics, random_state=seed)
    svd.fit(matrix)
    scale = np.sqrt(matrix.shape[0] / max(float(np.square(svd.singular_values_).sum()), 1e-12) * num_topics)
    return matrix, tuple(names), np.asarray(svd.components_.T * scale, np.float64)


def _encode_texts(columns: Sequence[Sequence[Any]]) -> Float64 | None:
    """Vectors (N, D) of columns of N texts by the installed encoder; None without texts or without an encoder."""
    folder = installed_encoder() if columns else None
    if folder is None:
        return None
    from deepseek.engines.text.serve.embedding import FolderEncoder

    encoder = FolderEncoder(folder, precision="bf16")
    rows = []
    for column in columns:
        texts = ["" if value is None else str(value)[:MAX_ENCODED_CHARS] for value in column]
        unique = list(dict.fromkeys(texts))
        place = {text: number for number, text in enumerate(unique)}
        rows.append(encoder.embed(unique)[[place[text] for text in texts]])
    return _standardize(np.hstack(rows).astype(np.float64), ENCODED_NORM)


def _standardize(matrix: Float64, norm: float) -> Float64:
    """Columns of one spread, so that a mean row has this squared length."""
    spread = matrix.std(axis=0)
    scaled = (matrix - matrix.mean(axis=0)) / np.where(spread > 0, spread, np.inf)
    return np.asarray(scaled * np.sqrt(norm / matrix.shape[1]))


def _describe_column(values: Sequence[Any], name: str, kind: str, root: Path | None) -> Float64:
    """A column of files (N, D), standardized. Zeros where a file is missing, broken or of a kind without numbers."""
    descriptors = _descriptors(values, name, kind, root)
    parts = []
    for describe in descriptors:
        rows = [None if value is None else _describe_file(value, name, kind, root, describe) for value in values]
        width = next((len(row) for row in rows if row is not None), 1)
        matrix = np.array([np.zeros(width) if row is None else row for row in rows])
        there = np.array([row is not None for row in rows])
        if there.any():
            norm = min(width, NUM_TOPICS) if len(descriptors) == 1 else ENCODED_NORM
            matrix[there] = _standardize(matrix[there], norm)
        parts.append(matrix)
    return np.hstack(parts) if parts else np.zeros((len(values), 1))


def _describe_file(
    value: Any, name: str, kind: str, root: Path | None, describe: Callable[[Source], Float64]
) -> Float64 | None:
    from deepseek.data.media.source import Limits

    try:
        return describe(open_cell(value, kind, root=root, row=0, column=name, limits=Limits()))
    except DeepseekError:
        return None


def _descriptors(values: Sequence[Any], name: str, kind: str, root: Path | None) -> list[Callable[[Source], Float64]]:
    """What makes numbers of a file; none for kinds that have none here: they are asked in the order of chance."""
    if kind == "image":
        return _picture_descriptors()
    return [_sound_descriptor(values, name, root)] if kind == "audio" else []


def _picture_descriptors() -> list[Callable[[Source], Float64]]:
    """Edges and colors, and what a net sees where one is installed."""
    from deepseek.data.media.image import ImageReader

    small, net = ImageReader(size=(PICTURE_PX, PICTURE_PX), channels=3), open_picture_net()
    descriptors: list[Callable[[Source], Float64]] = [lambda source: describe_picture(small.read(source))]
    if net is not None:
        large = ImageReader(size=(SIDE_PX, SIDE_PX), channels=3)
        descriptors.append(lambda source: net.describe(large.read(source)))
    return descriptors


def describe_picture(pixels: NDArray[np.uint8]) -> Float64:
    """(3, H, W) -> histograms of the directions of edges in cells, and the mean color of each cell."""
    colors = pixels.astype(np.float64) / 255
    gray = colors.mean(axis=0)
    down, across = np.gradient(gray)
    strength = np.hypot(down, across)
    sector = np.floor((np.arctan2(down, across) % np.pi) / np.pi * NUM_DIRECTIONS).astype(int) % NUM_DIRECTIONS
    cells = gray.shape[0] // CELL_PX

    def by_cell(values: Float64) -> Float64:
        parts = values[: cells * CELL_PX, : cells * CELL_PX].reshape(cells, CELL_PX, cells, CELL_PX)
        return np.asarray(parts.mean(axis=(1, 3))).ravel()

    edges = np.stack([by_cell(strength * (sector == each)) for each in range(NUM_DIRECTIONS)])
    edges = np.sqrt(edges / (edges.sum(axis=0) + 0.02))  # of a cell: the share of each direction, without the contrast
    return np.concatenate([edges.ravel(), *(by_cell(color) for color in colors)])


def _sound_descriptor(values: Sequence[Any], name: str, root: Path | None) -> Callable[[Source], Float64]:
    from deepseek.data.media.audio import AudioReader
    from deepseek.data.media.mel import log_mel
    from deepseek.data.media.source import Limits

    sources = []
    for value in [value for value in values if value is not None][:: max(1, len(values) // MAX_FITTED_FILES)]:
        try:
            sources.append(open_cell(value, "audio", root=root, row=0, column=name, limits=Limits()))
        except DeepseekError:
            continue
    reader = AudioReader.fit(sources)

    def describe(source: Source) -> Float64:
        sound = reader.read(source).mean(axis=0)
        heard = np.flatnonzero(np.abs(sound) > 0)  # silence behind a short sound is the reader's
        sound = sound[: heard[-1] + 1] if len(heard) else sound
        bands = log_mel(sound, reader.rate_hz, num_mels=NUM_BANDS, least_points=512)
        stretches = np.array_split(bands, NUM_STRETCHES, axis=1)
        means = [part.mean(axis=1) if part.shape[1] else bands.mean(axis=1) for part in stretches]
        return np.concatenate([*means, bands.std(axis=1)])

    return describe
