"""What is read out of a config.json: counts by hand, against transformers' own modules, and hostile files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deepseek.engines.parallel.shape import BUILT_IN_CONFIGS, read_shape, shape_from_config
from deepseek.errors import InputError, MalformedError, MissingError

TINY = {
    "model_type": "llama", "hidden_size": 8, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 10,
    "num_hidden_layers": 3, "intermediate_size": 20,
}  # fmt: skip


def written(folder: Path, config: object) -> Path:
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return folder


def test_parameters_of_a_tiny_decoder_by_hand() -> None:
    shape = shape_from_config(TINY, "tiny")
    assert shape.attention_parameters == 8 * 8 + 8 * 4 + 8 * 4 + 8 * 8  # q, k, v, o; two heads of keys of two values
    assert shape.mlp_parameters == 3 * 8 * 20
    assert shape.num_parameters == 3 * (192 + 480) + 2 * 80
    assert shape.kv_values == 2 * 2 * 2
    assert shape.score_flops == 4 * 4 * 2


def test_names_stand_for_models_of_that_size() -> None:
    billions = {name: read_shape(name).num_parameters / 1e9 for name in BUILT_IN_CONFIGS}
    want = {
        "100b": 100, "llama-2-7b": 6.74, "llama-2-70b": 68.98, "llama-3.1-8b": 8.03, "llama-3.1-70b": 70.55,
        "llama-3.1-405b": 405.8, "mixtral-8x7b": 46.7, "gpt-j-6b": 6.05, "gpt-3-175b": 174.6,
    }  # fmt: skip
    assert billions == pytest.approx(want, rel=0.005)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("gpt2", {"n_embd": 64, "n_layer": 3, "n_head": 4, "vocab_size": 101, "n_positions": 32}),
        ("llama", TINY | {"hidden_size": 64, "intermediate_size": 96}),
        ("mixtral", TINY | {"hidden_size": 64, "num_local_experts": 4, "num_experts_per_tok": 2}),
        ("qwen2_moe", TINY | {"hidden_size": 64, "num_experts": 6, "num_experts_per_tok": 2,
                              "moe_intermediate_size": 24, "shared_expert_intermediate_size": 48}),
        ("qwen3", TINY | {"hidden_size": 64, "head_dim": 32, "tie_word_embeddings": True}),
        ("falcon", {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 101,
                    "new_decoder_architecture": True, "num_kv_heads": 2}),
        ("opt", {"hidden_size": 64, "ffn_dim": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
                 "vocab_size": 101, "max_position_embeddings": 32, "word_embed_proj_dim": 64}),
        ("deepseek_v3", TINY | {"hidden_size": 64, "num_key_value_heads": 4, "n_routed_experts": 8, "n_group": 2,
                                "topk_group": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
                                "n_shared_experts": 1, "first_k_dense_replace": 1, "kv_lora_rank": 16,
                                "q_lora_rank": 24, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16}),
    ],
)  # fmt: skip
def test_counts_are_those_of_transformers(kind: str, config: dict) -> None:
    transformers = pytest.importorskip("transformers")
    import torch

    configuration = transformers.AutoConfig.for_model(kind, **{k: v for k, v in config.items() if k != "model_type"})
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(configuration)
    # routers are as small as norms, and counted no more than those
    matrices = sum(p.numel() for name, p in model.named_parameters() if p.ndim > 1 and ".gate.weight" not in name)
    assert shape_from_config(configuration.to_dict(), kind).num_parameters == pytest.approx(matrices, rel=0.01)


def test_a_step_reads_the_experts_that_its_tokens_choose() -> None:
    shape = read_shape("mixtral-8x7b")
    none = shape.layer_parameters - 32 * 8 * shape.expert_parameters
    assert shape.touched_parameters(1) - none == pytest.approx(32 * 2 * shape.expert_parameters)
    assert shape.touched_parameters(2) - none == pytest.approx(32 * 3.5 * shape.expert_parameters)  # 8(1 - (3/4)^2)
    assert shape.touched_parameters(1000) == pytest.approx(shape.layer_parameters)


def test_latent_attention_keeps_one_vector_for_all_heads(tmp_path: Path) -> None:
    config = TINY | {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}
    shape = read_shape(written(tmp_path, config))
    assert (shape.kv_values, shape.num_kv_heads) == (576, 1)


def test_a_text_model_inside_a_larger_one_is_found() -> None:
    assert shape_from_config({"model_type": "gemma3", "text_config": TINY}, "tiny").num_layers == 3


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{", "is no JSON"),
        ("[1]", "holds no object"),
        ("[" * 100_000, "is no JSON"),
        ({"model_type": "bert"}, "no token after token"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "no token after token"),
        (TINY | {"hidden_size": -8}, "hidden_size is '-8'"),
        (TINY | {"hidden_size": True}, "hidden_size is 'True'"),
        (TINY | {"num_hidden_layers": 10**30}, "num_hidden_layers is"),
        (TINY | {"vocab_size": "a" * 10_000}, "vocab_size is"),
        (TINY | {"num_key_value_heads": 3}, "3 heads of keys"),
        (TINY | {"num_local_experts": 2, "num_experts_per_tok": 3}, "3 experts per token out of 2"),
        ({"model_type": "llama"}, "has no hidden_size"),
    ],
)
def test_a_hostile_configuration_is_refused_with_the_field(tmp_path: Path, config: object, said: str) -> None:
    with pytest.raises((InputError, MalformedError)) as caught:
        read_shape(written(tmp_path, config))
    assert said in caught.value.message
    assert caught.value.fix
    assert len(caught.value.message) < 500


def test_weights_given_instead_of_a_configuration_are_not_read(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"0" * ((1 << 20) + 1))
    with pytest.raises(InputError, match="not its weights"):
        read_shape(file)


def test_an_unknown_name_is_told_the_near_one() -> None:
    with pytest.raises(MissingError, match=r"Did you mean 'llama-2-70b'"):
        read_shape("llama-2-70")


def test_the_package_gives_functions_and_no_modules_of_the_same_name() -> None:
    from types import ModuleType

    from deepseek.engines import parallel

    assert not [name for name in parallel.__all__ if isinstance(getattr(parallel, name), ModuleType)]
    assert not set(parallel.__all__) & set(parallel._MODULES.values())
