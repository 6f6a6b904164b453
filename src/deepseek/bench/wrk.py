"""wrk as the client, where it is installed: it takes a fraction of the CPU, and so disturbs less. Closed load only.

Source: github.com/wg/wrk, SCRIPTING (latencies are in microseconds; `done` is called with what was seen).
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from deepseek.bench.messages import ClientReport
from deepseek.errors import InputError

MAX_BODIES = 2_000
_SCRIPT = """
local bodies = {}
for at = 1, NUM_BODIES do
  local file = assert(io.open("FOLDER/" .. at, "rb"))
  bodies[at] = file:read("*a")
  file:close()
end
wrk.method = "POST"
HEADERS
wrk.body = bodies[1]
if #bodies > 1 then
  local requests, at = {}, 0
  function init()
    for number, body in ipairs(bodies) do requests[number] = wrk.format(nil, nil, nil, body) end
  end
  function request() at = at % #requests + 1 return requests[at] end
end
function done(summary, latency)
  local marks = {}
  for at = 0, 999 do marks[at + 1] = string.format("%.0f", latency:percentile(math.max(at / 10, 0.001))) end
  local failed = summary.errors
  io.write(string.format(
    '\\nFOUND {"requests": %d, "us": %d, "refused": %d, "lost": %d, "max_us": %d, "marks_us": [%s]}\\n',
    summary.requests, summary.duration, failed.status,
    failed.connect + failed.read + failed.write + failed.timeout, latency.max, table.concat(marks, ",")))
end
"""


def is_installed() -> bool:
    return shutil.which("wrk") is not None


def run_wrk(
    url: str,
    headers: dict[str, str],
    bodies: tuple[bytes, ...],
    *,
    num_connections: int,
    seconds: float,
    warmup_s: float,
    begin: Callable[[], None],
) -> ClientReport:
    """What wrk saw, after a warm-up that `begin` is called at the end of. InputError when there is no wrk."""
    if not is_installed():
        raise InputError("wrk is not installed", expected="the program wrk", fix="install it, or use --client own")
    with tempfile.TemporaryDirectory() as folder:
        script = _write_script(Path(folder), headers, bodies[:MAX_BODIES])
        command = ["wrk", "--threads", "1", "--connections", str(num_connections), "--script", str(script), url]
        if warmup_s:
            _run_seconds(command, warmup_s)
        begin()
        before_s = _children_cpu_s()
        text = _run_seconds(command, seconds)
    figures = re.search(r"FOUND (\{.*\})", text)
    if figures is None:
        raise InputError("wrk did not finish", expected="figures", fix=f"see what it says: {text.strip()[-300:]}")
    seen = json.loads(figures[1])
    failures = {"4xx": seen["refused"], "0": seen["lost"]}
    statuses = {"200": seen["requests"] - seen["refused"]} | {kind: num for kind, num in failures.items() if num}
    marks, max_s = tuple(mark / 1e6 for mark in seen["marks_us"]), seen["max_us"] / 1e6
    return ClientReport(statuses, seen["us"] / 1e6, _children_cpu_s() - before_s, marks, max_s, max_s)


def _write_script(folder: Path, headers: dict[str, str], bodies: tuple[bytes, ...]) -> Path:
    for number, body in enumerate(bodies, 1):
        (folder / str(number)).write_bytes(body)
    lines = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items())
    text = _SCRIPT.replace("NUM_BODIES", str(len(bodies))).replace("FOLDER", str(folder)).replace("HEADERS", lines)
    script = folder / "load.lua"
    script.write_text(text)
    return script


def _run_seconds(command: list[str], seconds: float) -> str:
    """Run wrk, which counts whole seconds, for about so long; what it printed."""
    whole = [*command[:1], "--duration", f"{max(1, round(seconds))}s", *command[1:]]
    done = subprocess.run(whole, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
