"""`serve --encrypted`: what a row costs the server and the asker, and how far its answer is from the plain one.

    python benchmarks/encrypted.py [--quick] [--only CLAIM]

A logistic model of 30 features (breast cancer of scikit-learn, standardized), 4,096 rows that are drawn from its
columns. The rival is TenSEAL as its tutorials use it: degree 8192 with 40-bit scales and a public key, one column a
ciphertext, too. CPU seconds of this process, one thread; the network is not measured.

And sums of 100,000 numbers of ten parties by somebody without their key, beside the same parameters of the tutorials.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
import tenseal
from result import claim, finish, options
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

from deepseek.contracts import Float64
from deepseek.privacy.encrypted.ckks import CipherContext, CkksParameters
from deepseek.privacy.encrypted.sums import (
    SUM_PARAMETERS,
    EncryptedNumbers,
    SumPacking,
    add_encrypted,
    decrypt_sum,
    encrypt_numbers,
)

NUM_ROWS, NUM_FEATURES = 4096, 30
CLAIMS = ("server_time", "error", "labels", "asker_time", "bytes", "sum_bytes", "sum_time", "sum_error")
NUM_NUMBERS, NUM_PARTIES = 100_000, 10
TUTORIAL = {"poly_modulus_degree": 8192, "coeff_mod_bit_sizes": [60, 40, 40, 60]}


def fit_model() -> tuple[Float64, float, Float64]:
    """Weights (30,), bias, and rows (4096, 30) whose columns are drawn from the data's, each by itself."""
    data = load_breast_cancer()
    rows = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    model = LogisticRegression(max_iter=1000).fit(rows, data.target)
    rng = np.random.default_rng(0)
    drawn = np.stack([rng.choice(rows[:, place], NUM_ROWS) for place in range(NUM_FEATURES)], axis=1)
    return model.coef_[0], float(model.intercept_[0]), drawn


def run_ours(coef: Float64, bias: float, rows: Float64) -> tuple[dict[str, float], Float64]:
    """CPU seconds and bytes of a run, and the margins."""
    key = CipherContext.generate(CkksParameters())
    server, num_slots = CipherContext.public(key.parameters, key.key_id), key.parameters.num_slots
    figures, margins = {"asker_s": 0.0, "server_s": 0.0, "bytes": 0.0}, []
    for start in range(0, len(rows), num_slots):
        part = rows[start : start + num_slots]
        began = time.process_time()
        columns = [key.encrypt(part[:, place]) for place in range(part.shape[1])]
        encrypted = time.process_time()
        answer = server.weighted_sum(columns, coef, bias, len(part))
        computed = time.process_time()
        margins.append(key.decrypt(answer, len(part)))
        figures["asker_s"] += encrypted - began + time.process_time() - computed
        figures["server_s"] += computed - encrypted
        figures["bytes"] += sum(map(len, columns)) + len(answer)
    return figures, np.concatenate(margins)


def run_rival(coef: Float64, bias: float, rows: Float64) -> tuple[dict[str, float], Float64]:
    """The same by TenSEAL alone, as its tutorials set it."""
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, **TUTORIAL, n_threads=1)
    context.global_scale = 2**40
    public = tenseal.context_from(context.serialize(save_secret_key=False), n_threads=1)
    began = time.process_time()
    columns = [tenseal.ckks_vector(context, rows[:, place].tolist()).serialize() for place in range(rows.shape[1])]
    encrypted = time.process_time()
    total = None
    for column, weight in zip(columns, coef.tolist(), strict=True):
        part = tenseal.ckks_vector_from(public, column) * weight
        total = part if total is None else total + part
    answer = (total + bias).serialize()
    computed = time.process_time()
    margins = np.array(tenseal.ckks_vector_from(context, answer).decrypt())
    asker_s = encrypted - began + time.process_time() - computed
    size = sum(map(len, columns)) + len(answer)
    return {"asker_s": asker_s, "server_s": computed - encrypted, "bytes": float(size)}, margins


def measure(num_runs: int) -> Sequence[dict[str, Any]]:
    coef, bias, rows = fit_model()
    ours, rival = [], []
    for _ in range(num_runs):  # A, B, A, B
        ours.append(run_ours(coef, bias, rows))
        rival.append(run_rival(coef, bias, rows))
    cost = {
        name: tuple(median(figures[name] for figures, _ in runs) / NUM_ROWS for runs in (ours, rival))
        for name in ("server_s", "asker_s", "bytes")
    }
    plain = rows @ coef + bias
    errors = [np.abs(_sigmoid(margin) - _sigmoid(plain)) for _, margin in ours]
    rival_error = max(float(np.abs(_sigmoid(margin) - _sigmoid(plain)).max()) for _, margin in rival)
    worst = float(np.max(errors))
    changed = sum(
        int((((margin > 0) != (plain > 0)) & (np.abs(_sigmoid(plain) - 0.5) > 0.005)).sum()) for _, margin in ours
    )
    name = "TenSEAL at degree 8192, public key"
    note = f"{NUM_ROWS} rows of {NUM_FEATURES} features, degree 4096, symmetric; reading the ciphertexts counts"
    return (
        claim("server_time", ours=1e6 * cost["server_s"][0], rival=1e6 * cost["server_s"][1], rival_name=name,
              unit="us of CPU a row", op="<=", bar=15.0, num_seeds=num_runs, note=note),
        claim("error", ours=worst, rival=rival_error, rival_name=name, unit="largest error of a probability", op="<=",
              bar=0.005, num_seeds=num_runs),
        claim("labels", ours=float(changed), unit="labels changed over .005 from the threshold",
              op="<=", bar=0.0, num_seeds=num_runs),
        claim("asker_time", ours=1e6 * cost["asker_s"][0], rival=1e6 * cost["asker_s"][1], rival_name=name,
              unit="us of CPU a row", num_seeds=num_runs),
        claim("bytes", ours=cost["bytes"][0], rival=cost["bytes"][1], rival_name=name, unit="bytes a row, both ways",
              num_seeds=num_runs),
    )  # fmt: skip


def sum_ours(parties: Float64) -> tuple[dict[str, float], Float64]:
    """CPU seconds and bytes of one party, and the sum over all."""
    key, packing = CipherContext.generate(SUM_PARAMETERS), SumPacking(NUM_PARTIES, bound=1.0)
    adder, seconds, messages = CipherContext.public(SUM_PARAMETERS, ""), [], []
    for numbers in parties:
        began = time.process_time()
        messages.append(encrypt_numbers(key, numbers, packing).to_bytes())
        seconds.append(time.process_time() - began)
    total = add_encrypted(adder, [EncryptedNumbers.from_bytes(each) for each in messages])
    return {"encrypt_s": median(seconds), "bytes": float(len(messages[0]))}, decrypt_sum(key, total, packing)


def sum_rival(parties: Float64) -> tuple[dict[str, float], Float64]:
    """The same by TenSEAL alone, as its tutorials set it: one number a slot."""
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, **TUTORIAL, n_threads=1)
    context.global_scale = 2**40
    seconds, messages = [], []
    for numbers in parties:
        began = time.process_time()
        messages.append(
            [
                tenseal.ckks_vector(context, numbers[start : start + 4096].tolist()).serialize()
                for start in range(0, NUM_NUMBERS, 4096)
            ]
        )
        seconds.append(time.process_time() - began)
    totals = []
    for parts in zip(*messages, strict=True):
        total = tenseal.ckks_vector_from(context, parts[0])
        for part in parts[1:]:
            total.add_(tenseal.ckks_vector_from(context, part))
        totals.append(np.array(total.decrypt()))
    return {"encrypt_s": median(seconds), "bytes": float(sum(map(len, messages[0])))}, np.concatenate(totals)


def measure_sums(num_runs: int) -> Sequence[dict[str, Any]]:
    rng, plain_bytes = np.random.default_rng(0), 4.0 * NUM_NUMBERS
    ours: list[dict[str, float]] = []
    rival: list[dict[str, float]] = []
    worst = {"ours": 0.0, "rival": 0.0}
    for _ in range(num_runs):  # A, B, A, B
        parties = rng.uniform(-1, 1, (NUM_PARTIES, NUM_NUMBERS))
        for name, run, figures in (("ours", sum_ours, ours), ("rival", sum_rival, rival)):
            cost, total = run(parties)
            figures.append(cost)
            worst[name] = max(worst[name], float(np.abs(total - parties.sum(axis=0)).max()))
    name = "TenSEAL at degree 8192, public key"
    seconds, size = (
        [median(each[figure] for each in runs) for runs in (ours, rival)] for figure in ("encrypt_s", "bytes")
    )
    note = f"{NUM_NUMBERS:,} numbers, {NUM_PARTIES} parties, degree 4096, symmetric, two numbers a slot"
    return (
        claim("sum_bytes", ours=size[0] / plain_bytes, rival=size[1] / plain_bytes, rival_name=name,
              unit="times the bytes of float32, of one party", op="<=", bar=4.0, num_seeds=num_runs, note=note),
        claim("sum_time", ours=1e3 * seconds[0], rival=1e3 * seconds[1], rival_name=name,
              unit="ms of one party's CPU to pack, encrypt and serialize", op="<=", bar=40.0, num_seeds=num_runs),
        claim("sum_error", ours=worst["ours"], rival=worst["rival"], rival_name=name,
              unit="largest error of a sum of numbers within 1", op="<=", bar=1e-4, num_seeds=num_runs),
    )  # fmt: skip


def _sigmoid(margin: Float64) -> Float64:
    return np.asarray(1 / (1 + np.exp(-margin)))


def main() -> int:
    args = options(__doc__, CLAIMS, quick="3 runs instead of 9, the same bars.").parse_args()
    num_runs = 3 if args.quick else 9
    is_sum = args.only is not None and args.only.startswith("sum_")  # one run gives all three
    claims = [] if is_sum else [each for each in measure(num_runs) if args.only in (None, each["claim"])]
    claims += measure_sums(num_runs) if is_sum or args.only is None else []
    names = {each["claim"] for each in claims}
    return finish("encrypted", claims, not_run=[name for name in CLAIMS if name not in names])


if __name__ == "__main__":
    sys.exit(main())
