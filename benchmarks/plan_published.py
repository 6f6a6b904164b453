"""Figures that others have measured and published, with model, devices, split, batch, lengths and type.

Every row of each table, or of the lengths or batches that its source names here: none is left out because the forecast
misses it.

A row: model, tensor parallel, batch, prompt, new tokens, figure. What the figure is stands with its table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Row = tuple[str, int, int, int, int, float]
#: Models that `deepseek plan` has no name for.
CONFIGS: dict[str, dict[str, Any]] = {
    "mistral-7b": {"model_type": "mistral", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
                   "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 32000},
    "falcon-180b": {"model_type": "falcon", "num_hidden_layers": 80, "hidden_size": 14848, "num_attention_heads": 232,
                    "num_kv_heads": 8, "new_decoder_architecture": True, "vocab_size": 65024},
    "gpt-89b": {"model_type": "gpt2", "n_layer": 48, "n_embd": 12288, "n_head": 96, "vocab_size": 51200,
                "n_positions": 2048},
    "megatron-530b": {"model_type": "gpt2", "n_layer": 105, "n_embd": 20480, "n_head": 128, "vocab_size": 51200,
                      "n_positions": 2048},
}  # fmt: skip
TRT = "TensorRT-LLM v0.9, docs/source/performance.md"
FT = "FasterTransformer, docs/gpt_guide.md"
GPT_J, L7, L70, M7, MIX, F180 = "gpt-j-6b", "llama-2-7b", "llama-2-70b", "mistral-7b", "mixtral-8x7b", "falcon-180b"
G89, G175, G530 = "gpt-89b", "gpt-3-175b", "megatron-530b"


@dataclass(frozen=True)
class Table:
    """One table of one page."""

    name: str
    source: str
    device: str
    dtype: str
    figure: str  # "tokens_per_s", "tokens_per_s_each" (of a device), "total_ms", "first_ms" or "token_ms"
    rows: tuple[Row, ...]
    pp: int = 1
    note: str = ""


WEAK = "That page calls the kernels for grouped queries of v0.9 experimental"
TABLES = (
    Table("gpt-fast, A100", "pytorch-labs/gpt-fast, README", "A100-80", "bf16", "tokens_per_s", (
        (L7, 1, 1, 5, 200, 104.9), (L7, 2, 1, 5, 200, 168.84), (L7, 4, 1, 5, 200, 254.02), (L7, 8, 1, 5, 200, 328.43),
        (L70, 2, 1, 5, 200, 21.32), (L70, 4, 1, 5, 200, 38.01), (L70, 8, 1, 5, 200, 62.50))),
    Table("TensorRT-LLM, H100", TRT, "H100", "fp8", "tokens_per_s_each", (
        (GPT_J, 1, 1024, 128, 128, 25860), (GPT_J, 1, 120, 128, 2048, 7350), (GPT_J, 1, 64, 2048, 128, 2570),
        (GPT_J, 1, 64, 2048, 2048, 3212), (M7, 1, 896, 128, 128, 20404), (M7, 1, 120, 128, 2048, 8623),
        (M7, 1, 84, 2048, 128, 2405), (M7, 1, 56, 2048, 2048, 3731), (MIX, 2, 512, 128, 128, 5255),
        (MIX, 2, 128, 128, 2048, 3408), (MIX, 2, 64, 2048, 128, 588), (MIX, 2, 32, 2048, 2048, 1317),
        (L7, 1, 896, 128, 128, 19854), (L7, 1, 120, 128, 2048, 6944), (L7, 1, 84, 2048, 128, 2163),
        (L7, 1, 56, 2048, 2048, 2826), (L70, 2, 1024, 128, 128, 3214), (L70, 4, 512, 128, 2048, 2725),
        (L70, 2, 96, 2048, 128, 346), (L70, 2, 64, 2048, 2048, 1011), (F180, 4, 1024, 128, 128, 1100),
        (F180, 8, 1024, 128, 2048, 837), (F180, 4, 64, 2048, 128, 112), (F180, 4, 64, 2048, 2048, 246)), note=WEAK),
    Table("TensorRT-LLM, H200", TRT, "H200", "fp8", "tokens_per_s_each", (
        (GPT_J, 1, 1024, 128, 128, 27304), (GPT_J, 1, 120, 128, 2048, 8530), (GPT_J, 1, 64, 2048, 128, 2785),
        (GPT_J, 1, 64, 2048, 2048, 3753), (M7, 1, 896, 128, 128, 20460), (M7, 1, 120, 128, 2048, 8950),
        (M7, 1, 64, 2048, 128, 2423), (M7, 1, 56, 2048, 2048, 3867), (MIX, 2, 1024, 128, 128, 5444),
        (MIX, 2, 256, 128, 2048, 4973), (MIX, 2, 64, 2048, 128, 605), (MIX, 2, 64, 2048, 2048, 1821),
        (L7, 1, 896, 128, 128, 20618), (L7, 1, 120, 128, 2048, 8348), (L7, 1, 64, 2048, 128, 2391),
        (L7, 1, 56, 2048, 2048, 3522), (L70, 1, 1024, 128, 128, 3989), (L70, 2, 512, 128, 2048, 3963),
        (L70, 1, 64, 2048, 128, 418), (L70, 1, 64, 2048, 2048, 1458), (F180, 4, 1024, 128, 128, 1118),
        (F180, 4, 1024, 128, 2048, 990), (F180, 4, 64, 2048, 128, 118), (F180, 4, 64, 2048, 2048, 265)), note=WEAK),
    Table("TensorRT-LLM, A100", TRT, "A100-80", "fp16", "tokens_per_s_each", (
        (GPT_J, 1, 512, 128, 128, 5876), (GPT_J, 1, 32, 128, 2048, 1549), (GPT_J, 1, 32, 2048, 128, 545),
        (GPT_J, 1, 32, 2048, 2048, 815), (M7, 1, 896, 128, 128, 6251), (M7, 1, 120, 128, 2048, 3776),
        (M7, 1, 64, 2048, 128, 698), (M7, 1, 56, 2048, 2048, 1576), (MIX, 2, 512, 128, 128, 2842),
        (MIX, 2, 128, 128, 2048, 1724), (MIX, 2, 64, 2048, 128, 319), (MIX, 2, 32, 2048, 2048, 801),
        (L7, 1, 256, 128, 128, 5390), (L7, 1, 32, 128, 2048, 1484), (L7, 1, 32, 2048, 128, 533),
        (L7, 1, 16, 2048, 2048, 603), (L70, 4, 1024, 128, 128, 686), (L70, 8, 512, 128, 2048, 684),
        (L70, 4, 96, 2048, 128, 80), (L70, 4, 64, 2048, 2048, 289), (F180, 8, 1024, 128, 128, 254),
        (F180, 8, 512, 128, 2048, 266), (F180, 8, 64, 2048, 128, 29), (F180, 8, 64, 2048, 2048, 93)), note=WEAK),
    Table("TensorRT-LLM, L40S", TRT, "L40S", "fp8", "tokens_per_s_each", (
        (GPT_J, 1, 512, 128, 128, 7859), (GPT_J, 1, 64, 128, 2048, 1904), (GPT_J, 1, 32, 2048, 128, 684),
        (GPT_J, 1, 32, 2048, 2048, 768), (M7, 1, 896, 128, 128, 9562), (M7, 1, 120, 128, 2048, 4387),
        (M7, 1, 84, 2048, 128, 971), (M7, 1, 56, 2048, 2048, 1721), (MIX, 4, 256, 128, 128, 1266),
        (MIX, 4, 256, 128, 2048, 1490), (MIX, 4, 64, 2048, 128, 155), (MIX, 4, 32, 2048, 2048, 412),
        (L7, 1, 256, 128, 128, 5885), (L7, 1, 64, 128, 2048, 1654), (L7, 1, 32, 2048, 128, 574),
        (L7, 1, 16, 2048, 2048, 537), (L70, 2, 256, 128, 128, 562), (L70, 4, 256, 128, 2048, 478),
        (L70, 2, 16, 2048, 128, 49), (L70, 4, 64, 2048, 2048, 185), (F180, 8, 512, 128, 128, 152),
        (F180, 8, 256, 128, 2048, 200), (F180, 8, 32, 2048, 128, 15), (F180, 8, 32, 2048, 2048, 52)), note=WEAK),
    Table("TensorRT-LLM, H100, first token", TRT, "H100", "fp8", "first_ms", (
        (GPT_J, 1, 1, 128, 1, 5.5), (GPT_J, 1, 1, 2048, 1, 23.8), (M7, 1, 1, 128, 1, 6.5), (M7, 1, 1, 2048, 1, 32.4),
        (MIX, 2, 1, 128, 1, 13.4), (MIX, 2, 1, 2048, 1, 89.5), (L7, 1, 1, 128, 1, 6.3), (L7, 1, 1, 2048, 1, 30.8),
        (L70, 4, 1, 128, 1, 19.6), (L70, 8, 1, 2048, 1, 85.1), (F180, 4, 1, 128, 1, 41.1),
        (F180, 8, 1, 2048, 1, 129.9))),
    Table("TensorRT-LLM, A100, first token", TRT, "A100-80", "fp16", "first_ms", (
        (GPT_J, 1, 1, 128, 1, 14.8), (GPT_J, 1, 1, 2048, 1, 136.4), (M7, 1, 1, 128, 1, 16.3),
        (M7, 1, 1, 2048, 1, 139.6), (MIX, 2, 1, 128, 1, 23.8), (MIX, 2, 1, 2048, 1, 160.9), (L7, 1, 1, 128, 1, 16.2),
        (L7, 1, 1, 2048, 1, 132.4), (L70, 4, 1, 128, 1, 45.6), (L70, 8, 1, 2048, 1, 249.2), (F180, 8, 1, 128, 1, 76.5),
        (F180, 8, 1, 2048, 1, 456.0))),
    Table("lmdeploy, A100", "InternLM/lmdeploy v0.1.0a1, docs/en/benchmark/a100_fp16.md, rows of 128 + 2048",
          "A100-80", "fp16", "tokens_per_s", (
        (L7, 1, 1, 128, 2048, 98.92), (L7, 1, 16, 128, 2048, 1010.62), (L7, 1, 32, 128, 2048, 1462.12),
        (L7, 1, 64, 128, 2048, 1852.06), (L70, 4, 1, 128, 2048, 32.38), (L70, 4, 16, 128, 2048, 482.99),
        (L70, 4, 32, 128, 2048, 853.56), (L70, 4, 64, 128, 2048, 1391.8)),
        note="Batch 64 of the 7B did not fit at once there"),
    Table("FasterTransformer, 175B", FT, "A100-80", "fp16", "total_ms", (
        (G175, 8, 1, 128, 8, 488.86), (G175, 8, 2, 128, 8, 509.47), (G175, 8, 4, 128, 8, 629.64),
        (G175, 8, 8, 128, 8, 749.86), (G175, 8, 12, 128, 8, 886.24), (G175, 8, 16, 128, 8, 1037.47),
        (G175, 8, 20, 128, 8, 1135.72), (G175, 8, 32, 128, 8, 1547.44), (G175, 8, 1, 512, 32, 1719.96),
        (G175, 8, 2, 512, 32, 1830.56), (G175, 8, 4, 512, 32, 2092.56), (G175, 8, 8, 512, 32, 2629.97),
        (G175, 8, 16, 512, 32, 3706.23)),
        note="Its own figures: 40 % of the memory bandwidth at batch 1 on 8 devices, 70 % on one (20B)"),
    Table("FasterTransformer, 89B", FT, "A100-80", "fp16", "total_ms", (
        (G89, 8, 1, 128, 8, 279.44), (G89, 8, 2, 128, 8, 280.24), (G89, 8, 4, 128, 8, 317.71),
        (G89, 8, 8, 128, 8, 377.50), (G89, 8, 12, 128, 8, 445.46), (G89, 8, 16, 128, 8, 524.80),
        (G89, 8, 20, 128, 8, 575.83), (G89, 8, 32, 128, 8, 786.57), (G89, 8, 1, 512, 32, 887.52),
        (G89, 8, 2, 512, 32, 940.11), (G89, 8, 4, 512, 32, 1133.22), (G89, 8, 8, 512, 32, 1415.02),
        (G89, 8, 16, 512, 32, 1952.2)), note="As of the 175B"),
    Table("FasterTransformer, 530B, TP 8 x PP 3", f"{FT}, batches 1, 16, 64", "A100-80", "fp16", "total_ms", (
        (G530, 8, 1, 20, 8, 842), (G530, 8, 16, 20, 8, 1049), (G530, 8, 64, 20, 8, 1722), (G530, 8, 1, 60, 20, 2085),
        (G530, 8, 16, 60, 20, 2753), (G530, 8, 64, 60, 20, 4117), (G530, 8, 1, 128, 8, 866),
        (G530, 8, 16, 128, 8, 2104), (G530, 8, 64, 128, 8, 3578)), pp=3),
    Table("FasterTransformer, 530B, TP 16", f"{FT}, batches 1, 16, 64", "A100-80", "fp16", "total_ms", (
        (G530, 16, 1, 20, 8, 565), (G530, 16, 16, 20, 8, 730), (G530, 16, 64, 20, 8, 1191),
        (G530, 16, 1, 60, 20, 1379), (G530, 16, 16, 60, 20, 1868), (G530, 16, 64, 60, 20, 3383),
        (G530, 16, 1, 128, 8, 585), (G530, 16, 16, 128, 8, 1377), (G530, 16, 64, 128, 8, 4002))),
    # Compared only after the factors were set.
    Table("held out: NIM 1.8, token", "docs.nvidia.com/nim/benchmarking/llm/1.0.0/performance", "H100", "fp8",
          "token_ms", (("llama-3.1-70b", 2, 1, 5000, 500, 18.58), ("llama-3.1-70b", 2, 1, 500, 2000, 18.91))),
    Table("held out: NIM 1.8, first token", "docs.nvidia.com/nim/benchmarking/llm/1.0.0/performance", "H100", "fp8",
          "first_ms", (("llama-3.1-70b", 2, 1, 5000, 500, 406.77), ("llama-3.1-70b", 2, 1, 500, 2000, 47.77))),
    Table("held out: vLLM, H200", "buildkite.com/vllm/performance-benchmark/builds/9515", "H200", "bf16", "total_ms", (
        ("llama-3.1-70b", 4, 8, 32, 128, 2077.5), ("llama-3.1-8b", 1, 8, 32, 128, 833.4),
        (MIX, 2, 8, 32, 128, 1917.4))),
)  # fmt: skip
