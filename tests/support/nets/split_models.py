"""Tiny models of transformers, saved, split over real gloo processes and compared with transformers' own forward.

    python tests/support/nets/split_models.py FOLDER [--slow]     # writes FOLDER/found.json

Run by tests/engines/parallel/test_parallel_forward.py in one process of its own: transformers is imported once there,
and all processes are forked from it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import transformers
from torch import Tensor, nn

from deepseek.engines.parallel.forward import run
from deepseek.engines.parallel.part import make_mesh, shard
from deepseek.errors import DeepseekError

VOCABULARY, LENGTH = 101, 7
LLAMA = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
         "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 64}  # fmt: skip
BERT = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
        "num_attention_heads": 4, "max_position_embeddings": 64, "num_labels": 3}  # fmt: skip
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", "LlamaForCausalLM", LLAMA),
    "llama, grouped": ("LlamaConfig", "LlamaForCausalLM",
                       LLAMA | {"num_key_value_heads": 2, "tie_word_embeddings": True}),
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 3, "n_head": 4,
                                               "n_positions": 64}),
    "bert": ("BertConfig", "BertModel", BERT),
    "bert, classes": ("BertConfig", "BertForSequenceClassification", BERT),
    "large": ("LlamaConfig", "LlamaForCausalLM", {"vocab_size": 4096, "hidden_size": 512, "intermediate_size": 2048,
                                                  "num_hidden_layers": 6, "num_attention_heads": 8,
                                                  "num_key_value_heads": 8}),
    "mistral": ("MistralConfig", "MistralForCausalLM", LLAMA | {"sliding_window": 16}),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", LLAMA | {"num_key_value_heads": 2}),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", LLAMA | {"head_dim": 16, "attn_implementation": "eager"}),
    "gemma": ("GemmaConfig", "GemmaForCausalLM", LLAMA | {"head_dim": 8}),
    "mixtral": ("MixtralConfig", "MixtralForCausalLM", LLAMA | {"num_local_experts": 4}),
}  # fmt: skip


def empty(name: str) -> nn.Module:
    """The module without memory."""
    config, kind, fields = MODELS[name]
    with torch.device("meta"):
        return getattr(transformers, kind)(getattr(transformers, config)(**fields))


def save(name: str, folder: Path) -> None:
    config, kind, fields = MODELS[name]
    torch.manual_seed(3)
    model = getattr(transformers, kind)(getattr(transformers, config)(**fields))
    for parameter in model.parameters():  # biases of zero would hide one that is added twice, small weights all else
        nn.init.normal_(parameter, std=0.5 if parameter.ndim == 1 else 0.15)
    model.save_pretrained(folder / name, max_shard_size="20KB" if name == "llama" else "5GB")


def batch() -> tuple[Tensor, Tensor]:
    """Four rows, the later ones filled up at their end."""
    tokens = torch.randint(0, VOCABULARY, (4, LENGTH), generator=torch.Generator().manual_seed(5))
    return tokens, torch.arange(LENGTH)[None] < torch.tensor([7, 7, 5, 3])[:, None]


def reference(name: str, folder: Path) -> Tensor:
    """transformers' own answer, in one process."""
    model = getattr(transformers, MODELS[name][1]).from_pretrained(folder / name).eval()
    tokens, mask = batch()
    with torch.no_grad():
        return model(tokens, attention_mask=mask.long())[0]


def compare(folder: Path, tp: int, pp: int, names: tuple[str, ...]) -> dict[str, Any]:
    """The largest difference from one process, and how many parameters this one holds."""
    found = {}
    plan = "+".join(name for name, size in (("tp", tp), ("pp", pp)) if size > 1)
    tokens, mask = batch()
    for name in names:
        part = shard(empty(name), make_mesh(tp, pp), folder / name, plan=plan)
        want = WANTED[name]
        apart = []
        for _ in range(2):  # the second time by the same schedule
            got = run(part, tokens, mask)
            both = (got - want).abs()
            apart.append(float((both[mask] if got.ndim == 3 else both).max()))
        whole = run(part, tokens[:1])
        apart.append(float((whole - want[:1]).abs().max()))  # a row without filling, and another shape
        found[name] = {
            "apart": max(apart), "largest": float(want.abs().max()), "varies": float(want.std()),
            "held": part.num_held, "stage": part.stage,
        }  # fmt: skip
    return found


def peak(folder: Path) -> dict[str, Any]:
    """How far the process's own memory rises while it takes its quarter of the large model."""
    mesh = make_mesh(tp=4)
    shard(empty("llama"), mesh, folder / "llama", plan="tp")  # what torch needs the first time
    module, seen, done = empty("large"), [], threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.append(own_bytes())
            time.sleep(0.0005)

    before = own_bytes()
    watcher = threading.Thread(target=watch)
    watcher.start()
    part = shard(module, mesh, folder / "large", plan="tp")
    done.set()
    watcher.join()
    size = (folder / "large" / "model.safetensors").stat().st_size
    return {"rise": (max(seen) - before) / size, "held": 4 * part.num_held / size}


def own_bytes() -> int:
    """Memory of this process that is no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


def die(folder: Path, tp: int, pp: int) -> dict[str, Any]:
    """Process 1 is killed before the second run: what the others say, and how soon."""
    part = shard(empty("llama"), make_mesh(tp, pp), folder / "llama", plan="tp" if tp > 1 else "pp")
    tokens, _ = batch()
    run(part, tokens)
    if dist.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    start_s = time.monotonic()
    return {"said": said(lambda: run(part, tokens)), "took_s": time.monotonic() - start_s}


def refusals(folder: Path) -> dict[str, str]:
    """Two processes."""
    mesh = make_mesh(tp=2)
    part = shard(empty("llama"), mesh, folder / "llama", plan="tp")
    windowed = shard(empty("mistral"), mesh, folder / "mistral", plan="tp")
    tokens, mask = batch()
    odd = {**LLAMA, "num_attention_heads": 1, "num_key_value_heads": 1}
    with torch.device("meta"):
        crossed = transformers.GPT2LMHeadModel(transformers.GPT2Config(**MODELS["gpt2"][2], add_cross_attention=True))
        one_head = transformers.LlamaForCausalLM(transformers.LlamaConfig(**odd))
    return {
        "mesh": said(lambda: make_mesh(tp=3)),
        "plan": said(lambda: shard(empty("llama"), mesh, folder / "llama", plan="ep")),
        "plan and mesh": said(lambda: shard(empty("llama"), mesh, folder / "llama", plan="pp")),
        "shape": said(lambda: shard(nn.Linear(2, 2), mesh, folder / "llama", plan="tp")),
        "heads": said(lambda: shard(one_head, mesh, folder / "llama", plan="tp")),
        "family": said(lambda: shard(empty("gemma"), mesh, folder / "llama", plan="tp")),
        "matrix": said(lambda: shard(crossed, mesh, folder / "gpt2", plan="tp")),
        "experts": said(lambda: shard(empty("mixtral"), mesh, folder / "llama", plan="tp")),
        "other folder": said(lambda: shard(empty("large"), mesh, folder / "llama", plan="tp")),
        "other family": said(lambda: shard(empty("gpt2"), mesh, folder / "llama", plan="tp")),
        "token": said(lambda: run(part, tokens + VOCABULARY)),
        "type": said(lambda: run(part, tokens.float())),
        "length": said(lambda: run(part, torch.zeros(1, 65, dtype=torch.int64))),
        "window": said(lambda: run(windowed, torch.zeros(1, 17, dtype=torch.int64))),
        "mask": said(lambda: run(part, tokens, mask.long())),
    }


def said(call: Callable[[], Any]) -> str:
    try:
        call()
    except DeepseekError as error:
        return str(error)
    return "nothing"


def enter(rank: int, world: int, folder: Path, name: str, call: Callable[..., Any], given: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo", store=dist.FileStore(f"{folder}/{name}.store", world), rank=rank, world_size=world,
        timeout=timedelta(seconds=60),
    )  # fmt: skip
    found = call(folder, *given)
    (folder / f"{name}.{rank}.json").write_text(json.dumps(found))
    os._exit(0)  # no wait for a process that has been killed


def start(world: int, folder: Path, name: str, call: Callable[..., Any], *given: Any) -> list[Any]:
    """What each process found; None for one that ended otherwise."""
    forked = multiprocessing.get_context("fork")
    all_of_them = [forked.Process(target=enter, args=(rank, world, folder, name, call, given)) for rank in range(world)]
    for process in all_of_them:
        process.start()
    for process in all_of_them:
        process.join()
    files = [folder / f"{name}.{rank}.json" for rank in range(world)]
    return [json.loads(file.read_text()) if file.exists() else None for file in files]


WANTED: dict[str, Tensor] = {}


def main(folder: Path, *, is_slow: bool) -> None:
    torch.set_num_threads(1)
    names = ("llama", "llama, grouped", "gpt2", "bert", "bert, classes", "mistral", "qwen2", "qwen3")
    for name in (*names, "large"):
        save(name, folder)
    WANTED.update({name: reference(name, folder) for name in names})
    found: dict[str, Any] = {"parameters": {name: sum(p.numel() for p in empty(name).parameters()) for name in names}}
    if is_slow:
        found |= {
            "tp2 pp2": start(4, folder, "tp2pp2", compare, 2, 2, names),
            "tp4": start(4, folder, "tp4", compare, 4, 1, ("llama", "gpt2", "bert")),
            "pp4": start(4, folder, "pp4", compare, 1, 4, ("llama", "gpt2", "bert")),
            "die tp": start(2, folder, "dietp", die, 2, 1),
        }
    else:
        found |= {
            "tp2": start(2, folder, "tp2", compare, 2, 1, ("llama", "gpt2", "bert")),
            "pp2": start(2, folder, "pp2", compare, 1, 2, ("llama, grouped", "gpt2", "bert, classes")),
            "tp2 pp2": start(4, folder, "tp2pp2", compare, 2, 2, ("llama",)),
            "peak": start(4, folder, "peak", peak),
            "die pp": start(3, folder, "diepp", die, 1, 3),
            "refusals": start(2, folder, "refusals", refusals),
        }
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), is_slow="--slow" in sys.argv)
