"""GPT-2-size decoding through the HTTP API: tokens per CPU second of the server, and the time to the first token.

    python benchmarks/generation.py [--quick] [--only CLAIM]

124 million random weights, int8, one compute thread; 8 clients stream an answer each to a prompt of some 32 tokens. CPU
is that of the front end and of the process that writes, from the moment when every client has its first token (so
reading the prompts does not count) to the last token. The rival is transformers in float32 on one thread, the same
batch, without HTTP. Bar: 400 tokens.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from result import claim, finish, options

CLAIMS = ("gpt2_decode_http", "time_to_first_token")
NUM_CLIENTS, PROMPT_WORDS = 8, 24
ENV = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
TEXT = Path(os.environ.get("DEEPSEEK_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def make_model(folder: Path) -> None:
    """A GPT-2 with random weights and a tokenizer of its size."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from deepseek.train.loop.language import fit_tokenizer

    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(bos_token_id=0, eos_token_id=0)).save_pretrained(folder)
    text = (TEXT / "tinyshakespeare" / "input.txt").read_text("utf-8")
    fit_tokenizer(text, 50_257).save(str(folder / "tokenizer.json"))


def serve(folder: str, cache: str) -> None:
    """The server, in a process of its own: one model, in int8."""
    from deepseek.cli.serve import run_server
    from deepseek.cli.support.serving import read_settings
    from deepseek.serve.openai.generation import GenerativeModel
    from deepseek.serve.run import bind

    settings = read_settings(port=0)
    model = GenerativeModel("gpt2", Path(folder), Path(cache), precision="int8")
    with bind(settings.host, 0) as listener:
        run_server({"gpt2": model}, settings, listener)


def cpu_s(pid: int) -> float:
    """Seconds on a CPU of a process and of its children, all threads of them."""
    total_s = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total_s += int((task / "schedstat").read_text().split()[0]) / 1e9
        total_s += sum(cpu_s(int(child)) for child in (task / "children").read_text().split())
    return total_s


class Stream:
    """One answer, as events."""

    def __init__(self, port: int, prompt: str, max_tokens: int) -> None:
        self.first = asyncio.Event()
        self.first_s = 0.0
        self.num_events = 0
        self.num_tokens = 0
        self._port = port
        self._body = json.dumps(
            {
                "model": "gpt2", "prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "stream": True,
                "stream_options": {"include_usage": True},
            }
        ).encode()  # fmt: skip

    async def run(self) -> None:
        started_s = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = (
            b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        )
        writer.write(head % len(self._body) + self._body)
        async for line in reader:
            if line.startswith(b"data: {"):
                event = json.loads(line[6:])
                if "error" in event:
                    raise RuntimeError(event["error"]["message"])
                if event.get("usage"):
                    self.num_tokens = event["usage"]["completion_tokens"]
                else:
                    self.num_events += 1
                    if not self.first.is_set():
                        self.first_s = time.perf_counter() - started_s
                        self.first.set()
            elif line.startswith(b"data: [DONE]"):
                break
            elif line.startswith(b"HTTP/1.1") and b" 200 " not in line:
                raise RuntimeError(line.decode())
        writer.close()


async def decode(pid: int, port: int, prompts: Sequence[str], num_tokens: int) -> float:
    """Tokens per CPU second of one batch, once each stream has begun."""
    streams = [Stream(port, prompt, num_tokens) for prompt in prompts]
    running = [asyncio.create_task(stream.run()) for stream in streams]
    for stream in streams:
        await stream.first.wait()
    before_s, before = cpu_s(pid), sum(stream.num_events for stream in streams)
    await asyncio.gather(*running)
    return (sum(stream.num_tokens for stream in streams) - before) / (cpu_s(pid) - before_s)


async def first_tokens(port: int, prompts: Sequence[str], num_rounds: int) -> list[float]:
    """Seconds to the first token, eight requests at a time."""
    times_s: list[float] = []
    for _ in range(num_rounds):
        streams = [Stream(port, prompt, 4) for prompt in prompts]
        await asyncio.gather(*(stream.run() for stream in streams))
        times_s += [stream.first_s for stream in streams]
    return sorted(times_s)


def transformers_rate(folder: Path, num_steps: int) -> float:
    """Tokens per CPU second of transformers, float32, one thread, a batch of NUM_CLIENTS."""
    program = f"""
import time, torch
from transformers import GPT2LMHeadModel
torch.set_num_threads(1)
model = GPT2LMHeadModel.from_pretrained({str(folder)!r}).eval()
with torch.inference_mode():
    out = model(torch.randint(1, 50000, ({NUM_CLIENTS}, 32)), use_cache=True)
    started_s = time.process_time()
    for _ in range({num_steps}):
        out = model(out.logits[:, -1].argmax(-1, keepdim=True), past_key_values=out.past_key_values, use_cache=True)
print({NUM_CLIENTS} * {num_steps} / (time.process_time() - started_s))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, env=ENV)
    return float(done.stdout)


def measure(names: Sequence[str], *, num_rounds: int, num_tokens: int) -> list[dict[str, Any]]:
    measurements = []
    with tempfile.TemporaryDirectory() as temporary:
        folder, cache = Path(temporary) / "gpt2", Path(temporary) / "cache"
        make_model(folder)
        words = (TEXT / "tinyshakespeare" / "input.txt").read_text("utf-8").split()
        prompts = [" ".join(words[at * 100 : at * 100 + PROMPT_WORDS]) for at in range(NUM_CLIENTS)]
        command = [sys.executable, __file__, "--serve", str(folder), str(cache)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENV) as server:
            assert server.stdout is not None
            ready = json.loads(server.stdout.readline())
            port = int(ready["url"].rsplit(":", 1)[1])
            try:
                asyncio.run(decode(server.pid, port, prompts, 16))
                if "gpt2_decode_http" in names:
                    measurements.append(decode_claim(server.pid, port, prompts, folder, num_rounds, num_tokens))
                if "time_to_first_token" in names:
                    seconds = asyncio.run(first_tokens(port, prompts, 13))
                    measurements.append(
                        claim(
                            "time_to_first_token",
                            ours=seconds[-(len(seconds) // 100) - 1],
                            unit="s, p99",
                            num_seeds=len(seconds),
                            note=f"p50 {median(seconds):.3f} s; eight prompts of some 32 tokens at once",
                        )
                    )
            finally:
                server.terminate()
    return measurements


def decode_claim(
    pid: int, port: int, prompts: Sequence[str], folder: Path, num_rounds: int, num_tokens: int
) -> dict[str, Any]:
    """Ours and transformers in turn."""
    ours, rival = [], []
    for _ in range(num_rounds):
        ours.append(asyncio.run(decode(pid, port, prompts, num_tokens)))
        rival.append(transformers_rate(folder, num_tokens // 4))
    rates = ", ".join(f"{rate:.0f}" for rate in ours)
    return claim(
        "gpt2_decode_http", ours=median(ours), rival=median(rival), rival_name="transformers, float32, no HTTP",
        unit="tokens per CPU second", op=">=", bar=400.0, num_seeds=num_rounds,
        note=f"rounds {rates}; {median(ours) / median(rival):.1f} times the rival",
    )  # fmt: skip


def main() -> int:
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], sys.argv[3])
        return 0
    args = options(__doc__, CLAIMS, quick="Fewer rounds, the same bar.").parse_args()
    chosen = [args.only] if args.only else list(CLAIMS)
    claims = measure(chosen, num_rounds=2 if args.quick else 5, num_tokens=128 if args.quick else 256)
    return finish("generation", claims, not_run=[name for name in CLAIMS if name not in chosen])


if __name__ == "__main__":
    sys.exit(main())
