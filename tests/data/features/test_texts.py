"""Free text: the weights of its n-grams are scikit-learn's, and training and serving make the same of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from deepseek.contracts import Flag
from deepseek.data import Preprocessor, find_kinds, fit_preprocessor, read_table
from deepseek.data.features.ngrams import split_characters, split_pairs, split_words
from deepseek.data.features.rows import MIN_COLUMNWISE_ROWS
from deepseek.data.features.texts import TextEncoder
from deepseek.errors import DeepseekError, InputError

WORDS = [
    "card",
    "lost",
    "my",
    "is",
    "where",
    "the",
    "bank",
    "app",
    "not",
    "works",
    "again",
    "我",
    "的",
    "卡",
    "丢",
    "了",
    "please",
]


def make_texts(num_rows: int = 80, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, random.integers(3, 9))) for _ in range(num_rows)]


def fit(texts: list[str | None]) -> Preprocessor:
    table = read_table({"note": texts, "y": [0, 1] * (len(texts) // 2)})
    kinds = find_kinds(table, target="y")
    assert kinds == {"note": "text"}
    return fit_preprocessor(table, kinds, target="y")


def test_weights_are_those_of_scikit_learn() -> None:
    texts = make_texts()
    prepared = fit(list(texts))
    encoder = prepared.columns[0].coder
    assert isinstance(encoder, TextEncoder)
    features = prepared.rows([{"note": text} for text in texts]).features
    kinds = [feature.kind for feature in prepared.features]
    for block, kind, analyzer in (
        (encoder.words, "word", split_words), (encoder.pairs, "pair", split_pairs),
        (encoder.characters, "ngram", split_characters),
    ):  # fmt: skip
        numbers, weights = kinds.index(kind), kinds.index(f"{kind}_weight")
        ours = np.zeros((len(texts), len(block.terms)))
        for place in range(block.num_tokens):
            np.add.at(
                ours, (np.arange(len(texts)), features[:, numbers + place].astype(int)), features[:, weights + place]
            )
        vectorizer = TfidfVectorizer(analyzer=analyzer, sublinear_tf=True, min_df=2, norm=None)
        theirs = vectorizer.fit_transform(texts).toarray()[:, [vectorizer.vocabulary_[term] for term in block.terms]]
        # scikit-learn brings rows to length 1 after it has dropped rare terms, too
        theirs /= np.maximum(np.linalg.norm(theirs, axis=1, keepdims=True), 1e-12)
        kept = [row for row in range(len(texts)) if (theirs[row] > 0).sum() <= block.num_tokens]
        assert len(kept) >= 0.99 * len(texts)
        assert np.allclose(ours[kept], theirs[kept], atol=1e-6)


def test_rows_tables_and_a_stored_copy_give_the_same_bits() -> None:
    texts = [*make_texts(MIN_COLUMNWISE_ROWS + 6), None, "?"]
    prepared = fit(list(texts))
    table = read_table({"note": texts})
    features = prepared.table(table).features
    stored = Preprocessor.from_bytes(prepared.to_bytes())
    assert stored.to_bytes() == prepared.to_bytes()
    assert np.array_equal(stored.rows(table.records()).features, features)
    for row, record in enumerate(table.records()):
        assert np.array_equal(stored.rows([record]).features[0], features[row])


def test_what_was_never_read_what_is_missing_and_what_is_long_is_flagged() -> None:
    prepared = fit(list(make_texts()))
    batch = prepared.rows([{"note": "zzz qqq"}, {"note": None}, {"note": "my card"}, {"note": " ".join(WORDS * 20)}])
    assert batch.flags == (Flag(0, "note", "unseen"), Flag(1, "note", "imputed"), Flag(3, "note", "truncated"))
    assert not batch.features[:2].any()
    assert batch.features[2].any()
    assert fit([*make_texts(), None, None]).rows([{"note": None}]).flags == ()


def test_chinese_questions_are_texts_though_no_blank_parts_their_words() -> None:
    random = np.random.default_rng(0)
    questions = ["".join(random.choice(list("我的银行卡丢了怎么办能不能提前还款额度多少"), 9)) for _ in range(60)]
    names = ["".join(random.choice(list("王李张刘陈杨赵黄伟芳娜敏静"), 3)) for _ in range(60)]
    table = read_table({"question": questions, "name": names, "y": [0, 1] * 30})
    assert find_kinds(table, target="y") == {"question": "text", "name": "identifier"}
    assert split_words("卡abc丢了") == ["卡", "abc", "丢", "了"]


@pytest.mark.parametrize("value", [["a", "list"], {"an": "object"}])
def test_a_value_that_is_no_text_is_named_by_its_row(value: object) -> None:
    with pytest.raises(InputError, match="row 1, column 'note'"):
        fit(list(make_texts())).rows([{"note": "my card"}, {"note": value}])


def test_two_texts_are_compared_word_for_word() -> None:
    left = make_texts(40)
    right = [
        text if row % 2 else other for row, (text, other) in enumerate(zip(left, make_texts(40, seed=1), strict=True))
    ]
    table = read_table({"ask": left, "asked": right, "y": [0, 1] * 20})
    prepared = fit_preprocessor(table, find_kinds(table, target="y"), target="y")
    prepared = Preprocessor.from_bytes(prepared.to_bytes())
    features = prepared.table(table.drop(["y"])).features
    names = list(prepared.feature_names)
    alike = features[:, names.index("asked like ask: words")]
    assert np.allclose(alike[1::2], 1, atol=1e-6)
    assert (alike[::2] < 1).any()
    num_words = len(prepared.columns[0].coder.words.terms)  # type: ignore[attr-defined]
    first, weight = names.index("asked like ask: pair 0"), names.index("asked like ask: pair weight 0")
    for row in range(40):
        numbers = features[row, first:weight][features[row, weight : weight + weight - first] > 0]
        ours, theirs = set(left[row].split()), set(right[row].split())
        assert sum(numbers < num_words) == len(ours & theirs)
        assert sum(numbers >= num_words) == len(ours ^ theirs)
    for row, record in enumerate(table.drop(["y"]).records()):
        assert np.array_equal(prepared.rows([record]).features[0], features[row])
    assert set(prepared.owners()) == {"ask", "asked"}


def test_a_document_that_does_not_fit_is_refused_in_words_or_read() -> None:
    """A preprocess.json may be a stranger's: whatever stands in the place of a value, it ends in no error of ours."""
    table = read_table({"note": make_texts(40), "age": list(range(40)), "y": [0, 1] * 20})
    fitted = fit_preprocessor(table, {"note": "text", "age": "numeric"}, target="y")
    prepared = fitted.with_support(fitted.table(table).features)
    example, num_refused = prepared.example(), 0

    def places(part: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
        items = part.items() if isinstance(part, dict) else enumerate(part[:1]) if isinstance(part, list) else ()
        return [place for key, value in items for place in ((*path, key), *places(value, (*path, key)))]

    document = json.loads(prepared.to_bytes())
    for path in places(document):
        for value in ("x", None, [], {}, -1, 0, 1e300, [[1]], 10**400):
            changed = json.loads(prepared.to_bytes())
            part = changed
            for key in path[:-1]:
                part = part[key]
            part[path[-1]] = value
            try:
                Preprocessor.from_bytes(json.dumps(changed).encode()).rows([example])
            except DeepseekError:
                num_refused += 1
    assert num_refused > 200
