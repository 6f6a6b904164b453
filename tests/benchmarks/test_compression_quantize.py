"""What the claims about quantisation are made of: pairs by seed, the worst against the best, BERT-base's shapes."""

from __future__ import annotations

import math

import pytest
from compression_quantize import accuracy_claims, fp8_claims, int4_claims
from quantize_files import bert_base_shapes

FOUND = [
    {
        "loss": 0.10, "fp32": 0.90, "fp8_ratio": 3.92, "int4_loss": 0.20, "fp8_loss": 0.10, "int4_post": 0.80,
        "int4_post_max": 0.70, "int4_qat": 0.85, "fp8_post": 0.89, "fp8_qat": 0.90, "fp8_is_kept": 1.0,
    },
    {
        "loss": 0.10, "fp32": 0.92, "fp8_ratio": 3.94, "int4_loss": 0.20, "fp8_loss": 0.12, "int4_post": 0.86,
        "int4_post_max": 0.79, "int4_qat": 0.89, "fp8_post": 0.92, "fp8_qat": 0.915, "fp8_is_kept": 0.0,
    },
]  # fmt: skip


def test_claims_are_of_pairs_and_a_lucky_seed_helps_nobody() -> None:
    groups = [make("sst2", FOUND) for make in (accuracy_claims, int4_claims, fp8_claims)]
    claims = {each["claim"]: each for group in groups for each in group}
    assert claims["fp8_accuracy_kept"]["ratio"] == pytest.approx(0.89 / 0.90)
    assert claims["fp8_accuracy_kept"]["holds"] is False
    assert claims["int4_qat_over_plain"]["ours"] == pytest.approx(12.5)
    assert claims["int4_qat_over_clipped"]["ours"] == pytest.approx(4.0)
    assert "least 3.00" in claims["int4_qat_over_clipped"]["note"]
    assert "without training -1.00" in claims["int4_qat_over_clipped"]["note"]
    assert claims["fp8_qat_gain"]["ours"] == pytest.approx(-0.5)
    assert claims["fp8_qat_gain"]["holds"] is False
    assert "mean 0.25" in claims["fp8_qat_gain"]["note"]
    assert "kept in 1 of 2 seeds" in claims["fp8_qat_gain"]["note"]
    assert claims["fp8_qat_loss"]["ratio"] == pytest.approx(1.1)
    assert claims["fp8_qat_loss"]["holds"] is False
    assert all(each["num_seeds"] == 2 for each in claims.values())


def test_the_second_size_is_of_bert_bases_shapes() -> None:
    assert sum(map(math.prod, bert_base_shapes().values())) == 109_482_240  # BertModel of bert-base-uncased
