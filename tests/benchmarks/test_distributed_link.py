"""The benchmark's slow link is slow, `auto` sees it, and nothing of it stays behind. Needs root, ip and tc."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from distributed_link import LOOPBACK, capped

PROGRAM = """
import json, os, sys, torch, torch.distributed as dist
from deepseek.train.distributed.data_parallel import Compression, wrap
torch.set_num_threads(1)
dist.init_process_group("gloo")
model = wrap(torch.nn.Linear(600, 600), Compression(rank=4, warm_start_steps=0))
for _ in range(5):
    model(torch.randn(4, 600)).square().mean().backward()
if os.environ["RANK"] == "0":
    ours = model.compressor
    print(json.dumps([list(ours.choices.values()), list(ours.times_s.values()), sorted(ours.memory.errors)]))
dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("tc")), reason="needs root, ip, tc")
def test_auto_compresses_on_a_slow_link_and_the_namespaces_are_gone_afterwards(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with capped(20) as link:
        choices, (times,), errors = link.run(2, str(program))
    assert choices[0] in ("int8", "powersgd"), times  # which one is nearer depends on what else the machine does
    assert errors == ["weight"]
    assert times["none"] > 0.4  # 1.44 MB at 2.5 MB a second, less the burst
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert not any(space in left for space in link.namespaces)


def test_a_rank_that_fails_ends_the_benchmark_with_its_number(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import os, sys; print('{}'); sys.exit(int(os.environ['RANK']))")
    with pytest.raises(SystemExit, match=r"program.py .* failed on rank 1"):
        LOOPBACK.run(2, str(program), anything=1)
