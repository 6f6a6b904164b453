"""Makes src/deepseek/citations/provisions/duty_model.json, which decides where signal words do not.

    python benchmarks/checklist_model.py

Its examples are sentences whose signal words decide, with these words taken out: duties from 应当 and 必须, shall, must
and agrees to; no duties from what is declared (由当事人约定, shall be governed by). From zh-law without the
articles and from
contract-nli (CC BY 4.0) without the contracts that checklist_units.tsv names. No label is used. Prints the accuracy on
a fifth of the examples.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from checklist_data import HERE, articles, contracts
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from deepseek.citations.provisions import chinese, english
from deepseek.citations.provisions.chinese_cues import is_condition
from deepseek.citations.provisions.chinese_subject import subject_end
from deepseek.citations.provisions.english_subject import subject_of
from deepseek.citations.provisions.model import NUM_BUCKETS, bucket_of, duty_features
from deepseek.citations.provisions.provision import Provision, Span
from deepseek.citations.provisions.segments import mask_quotes, split_pieces, split_segments

OUT = HERE.parent / "src" / "deepseek" / "citations" / "provisions" / "duty_model.json"
Example = tuple[list[str], int]
DECIDES_ZH, DECIDES_EN = ("应当", "必须"), re.compile(r"(?:shall|must|(?:agrees?|undertakes?).*\bto)$", re.IGNORECASE)


def labeled() -> set[str]:
    """The names of the units of checklist.py."""
    lines = Path(HERE / "checklist_units.tsv").read_text("utf-8").splitlines()[1:]
    return {line.split("\t")[0] for line in lines}


def chinese_examples() -> Iterator[Example]:
    names = labeled()
    for (law, article), text in articles().items():
        if f"zh-law/{law}/{article}" in names or law.endswith("刑法"):
            continue
        provisions = chinese.read_chinese(text)
        for each in provisions:
            if each.kind == "obligation" and each.cue.of(text) in DECIDES_ZH:
                yield list(duty_features(text, each, "zh")), 1
        masked = mask_quotes(text)
        for segment in split_segments(text):
            if any(segment.start <= each.cue.start < segment.end for each in provisions):
                continue
            pieces = split_pieces(masked, segment.start, segment.end)
            for place, piece in enumerate(pieces):
                words = masked[piece.start : piece.end]
                if is_condition(words.rstrip("。；"), ends_segment=piece is pieces[-1]):
                    continue
                actor = re.match(r"(?:.{0,12}由)?", words).end()
                size = subject_end(words[actor:]) or 0
                start = piece.start + actor + size
                subject = Span(piece.start + actor, start) if size else None
                draft = Provision("obligation", Span(segment.start, segment.end), Span(start, start), subject,
                                  (pieces[0],) if place else ())  # fmt: skip
                yield list(duty_features(text, draft, "zh")), 0


def english_examples() -> Iterator[Example]:
    used = {name.split("/")[1] for name in labeled() if name.startswith("contract-nli")}
    for name, document in contracts().items():
        if name in used:
            continue
        for text in document.split("\n"):
            for segment in split_segments(text):
                words = text[segment.start : segment.end]
                masked = mask_quotes(words)
                for cue in english._find_cues(masked, 0):
                    signal = masked[cue.span.start : cue.span.end]
                    if not DECIDES_EN.match(signal) or (cue.kind is not None and cue.kind != "obligation"):
                        continue
                    subject = subject_of(masked, 0, cue.span.start)
                    draft = Provision("obligation", Span(0, len(words)), cue.span, subject)
                    yield list(duty_features(words, draft, "en")), int(cue.kind is not None)


def fit(examples: list[Example]) -> tuple[dict[str, object], float]:
    """Weights as the package reads them, and the accuracy on a fifth."""
    rows, columns, values = [], [], []
    for row, (features, _) in enumerate(examples):
        buckets = [bucket_of(feature) for feature in set(features)]
        rows += [row] * len(buckets)
        columns += buckets
        values += [1 / np.sqrt(max(1, len(buckets)))] * len(buckets)
    table = csr_matrix((values, (rows, columns)), (len(examples), NUM_BUCKETS))
    target = np.array([label for _, label in examples])
    held = np.array([zlib.crc32(" ".join(features).encode()) % 5 == 0 for features, _ in examples])
    model = LogisticRegression(C=20.0, max_iter=500, class_weight="balanced").fit(table[~held], target[~held])
    accuracy = float((model.predict(table[held]) == target[held]).mean())
    scale = float(np.abs(model.coef_).max()) / 127
    weights = np.round(model.coef_[0] / scale).astype(np.int8)
    text = base64.b64encode(weights.tobytes()).decode()
    return {"weights": text, "scale": scale, "bias": float(model.intercept_[0]), "threshold": 0.5}, accuracy


def main() -> None:
    languages = {}
    for name, examples in (("zh", list(chinese_examples())), ("en", list(english_examples()))):
        languages[name], accuracy = fit(examples)
        share = sum(label for _, label in examples) / len(examples)
        print(f"{name}: {len(examples)} examples, {share:.2f} of them duties; accuracy on a fifth {accuracy:.3f}")
    OUT.write_text(json.dumps({"num_buckets": NUM_BUCKETS, "languages": languages}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
