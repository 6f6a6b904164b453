"""What the product sends to other machines, and which files it leaves outside of those that are documented: nothing.

    python benchmarks/hostile_network.py [--quick] [--only CLAIM]

Every verb runs as a process of its own under strace, from an empty home, with each system call that can send watched in
it and in all of its children. A look-up of a name counts, whether or not anybody answers. There is no rival: the bars
are absolute, 0 bytes, 0 attempts, 0 files. Needs strace.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hostile_verbs import Verb, verbs, write_inputs
from result import claim, finish, options

import deepseek

#: Claim -> unit; each must be 0.
CLAIMS = {
    "bytes_to_other_machines": "bytes",
    "attempts_to_reach_other_machines": "system calls",
    "undocumented_files": "files",
}
CALLS = "connect,sendto,sendmsg,sendmmsg,open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2"
#: Below the home, what docs/guides/install.md says is kept: measurements of compress, converted models and choices of
#: engines, the list of fonts of matplotlib, which nncf imports, and what numba compiled where the package's own folder
#: cannot be written.
DOCUMENTED = (".cache/deepseek", ".cache/matplotlib", ".config/matplotlib", ".cache/numba")
#: Where numba keeps what it compiled, beside its sources, as that guide says too.
PACKAGE = Path(deepseek.__file__).resolve().parent
#: Where any process may write: devices and the kernel's own files.
KERNEL = ("/dev/", "/proc/", "/sys/")
_SENDS = re.compile(r"\b(connect|sendto|sendmsg|sendmmsg)\(")
_ADDRESS = re.compile(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
_PEER = re.compile(r"^\d+<(?:TCP|UDP|TCPv6|UDPv6|RAW|PING)[^>]*->([^>]*)>")
_LOCAL = re.compile(r"^(127\.|::1$|::ffff:127\.|0\.0\.0\.0$|::$)")
_WRITES = re.compile(r'\b(?:open|openat|creat|mkdir|mkdirat)\((?:AT_FDCWD(?:<[^>]*>)?, )?"([^"]+)"(.*)')
_MAKES = re.compile(r"O_CREAT|O_WRONLY|O_RDWR")


@dataclass(frozen=True)
class Traffic:
    """What one run of a verb tried to send, and what it left."""

    verb: str
    exit_code: int
    attempts: tuple[str, ...]  # the system calls towards other machines, as strace shows them
    num_bytes: int  # that the kernel took for other machines
    files: tuple[str, ...]  # written outside of the working folder and what is documented
    stderr: str = ""


def available() -> bool:
    """Whether strace is here and may watch a process."""
    strace = shutil.which("strace")
    return strace is not None and subprocess.run([strace, "-qq", "-o", os.devnull, "true"], check=False).returncode == 0


def watch(name: str, command: Sequence[str], folder: Path, *, until: str = "") -> Traffic:
    """Run `command` in `folder` from an empty home, under strace. A command that goes on by itself, such as a server,
    is stopped as soon as it has printed a line with `until` and answered one request at the URL in it."""
    home, scratch, trace = (folder / f".{kind}-{name}" for kind in ("home", "tmp", "trace"))
    home.mkdir(exist_ok=True)
    scratch.mkdir(exist_ok=True)
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "HF_", "ORT_", "CI"))}
    environ |= {"HOME": str(home), "TMPDIR": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"}
    watched = ["strace", "-f", "-qq", "-yy", "-s", "256", "--seccomp-bpf", "-e", f"trace={CALLS}", "-o", str(trace)]
    errors = folder / f".stderr-{name}"
    with errors.open("wb") as stderr, subprocess.Popen(
        [*watched, *command], cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            if until:
                _ask_once(next((line for line in process.stdout if until.encode() in line), b""))
                os.killpg(process.pid, signal.SIGTERM)
            process.communicate(timeout=600)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    lines = trace.read_text(errors="replace").splitlines()
    attempts = tuple(line for line in lines if other_machine(line))
    compiled = PACKAGE.rglob("__pycache__")  # after the run: the first one makes them
    allowed = (folder, scratch, *compiled, *(home / kept for kept in DOCUMENTED))
    written = {file for line in lines for file in files_written(line, folder) if not _within(file, allowed)}
    code = 0 if until and process.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM) else process.returncode
    return Traffic(
        name, code, attempts, sum(map(bytes_taken, attempts)), tuple(sorted(written | set(_left(home)))),
        errors.read_text(errors="replace"),
    )  # fmt: skip


def other_machine(line: str) -> str:
    """The address of another machine that a system call goes to, else "".

    >>> other_machine('7 connect(3<UDP:[1]>, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("9.9.9.9")}, 16) = 0')
    '9.9.9.9'
    >>> other_machine('7 connect(3<TCP:[1]>, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}, 16) = 0')
    ''
    >>> other_machine('7 sendto(3<UDP:[10.0.0.2:4000->9.9.9.9:53]>, "ab", 2, 0, NULL, 0) = 2')
    '9.9.9.9'
    """  # noqa: E501
    if (call := _SENDS.search(line)) is None:
        return ""
    arguments = line[call.end() :]
    peer = _PEER.match(arguments)
    addresses = [next(filter(None, groups)) for groups in _ADDRESS.findall(arguments)]
    addresses += [peer[1].rpartition(":")[0].strip("[]")] if peer else []
    if call[1] == "connect" and _port_is_zero(arguments):
        return ""  # asks the kernel which of its own addresses it would take: sends nothing
    return next((address for address in addresses if not _LOCAL.match(address)), "")


def bytes_taken(line: str) -> int:
    """How many bytes the kernel took in a call that sends; 0 for a connection or a refusal.

    >>> bytes_taken('7 sendto(3<UDP:[10.0.0.2:4000->9.9.9.9:53]>, "ab", 2, 0, NULL, 0) = 2')
    2
    """
    if "connect(" in line:
        return 0
    if "sendmmsg(" in line:
        return sum(map(int, re.findall(r"msg_len=(\d+)", line)))
    result = re.search(r"= (\d+)$", line)
    return int(result[1]) if result else 0


def files_written(line: str, folder: Path) -> Iterator[Path]:
    """Files and folders that a call makes, or opens to write into."""
    if (call := _WRITES.search(line)) is None or call[1].startswith(KERNEL):
        return
    if ("open(" in line or "openat(" in line) and not _MAKES.search(call[2]):
        return
    file = folder / call[1]
    if re.search(r"= \d", call[2]) or ("<unfinished" in call[2] and file.exists()):
        yield file


def _port_is_zero(arguments: str) -> bool:
    return "sin_port=htons(0)" in arguments or "sin6_port=htons(0)" in arguments


def _within(file: Path, folders: Sequence[Path]) -> bool:
    """Whether a file lies in one of the folders, or above one of them: a folder on the way there may be made."""
    return any(file.is_relative_to(each) or each.is_relative_to(file) for each in folders)


def _left(home: Path) -> Iterator[str]:
    kept = [home / each for each in DOCUMENTED]
    return (str(file) for file in home.rglob("*") if file.is_file() and not _within(file, kept))


def _ask_once(line: bytes) -> None:
    """One request to the server whose line of readiness this is."""
    import json
    import urllib.request

    ready = json.loads(line or b"{}")
    if not ready:
        return
    with urllib.request.urlopen(f"{ready['url']}/v1/models/{ready['models'][0]}/example", timeout=60) as answer:
        body = answer.read()
    for action in ("predict", "explain"):
        request = urllib.request.Request(
            f"{ready['url']}/v1/models/{ready['models'][0]}:{action}", body, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            answer.read()


def run(chosen: Sequence[Verb], folder: Path) -> Iterator[Traffic]:
    """Each verb in turn, in one folder: a later one takes what an earlier one has made."""
    for verb in chosen:
        yield watch(verb.name, [sys.executable, "-m", "deepseek", *verb.arguments], folder, until=verb.until)


def main() -> int:
    args = options(__doc__, CLAIMS, quick="leaves out the verbs that need torch.").parse_args()
    if not available():
        print("strace is not here, or may not watch a process. To mend it: apt-get install strace", file=sys.stderr)
        return 2
    chosen = [verb for verb in verbs() if verb.quick or not args.quick]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        write_inputs(folder, quick=args.quick)
        outcomes = []
        for traffic in run(chosen, folder):
            print(f"{traffic.verb:<24} exit {traffic.exit_code}  {len(traffic.attempts)} attempts", flush=True)
            outcomes.append(traffic)
    for traffic in outcomes:
        print("".join(f"{traffic.verb}: {each}\n" for each in (*traffic.attempts, *traffic.files)), end="")
    slower = ("compress_graph", 3)  # no variant is faster on this processor, which was tried and said
    if broken := [each.verb for each in outcomes if each.exit_code and (each.verb, each.exit_code) != slower]:
        raise SystemExit(f"these verbs failed, so nothing is shown by them: {', '.join(broken)}")
    figures = {
        "bytes_to_other_machines": sum(traffic.num_bytes for traffic in outcomes),
        "attempts_to_reach_other_machines": sum(len(traffic.attempts) for traffic in outcomes),
        "undocumented_files": sum(len(traffic.files) for traffic in outcomes),
    }
    claims = [
        claim(name, ours=figures[name], unit=CLAIMS[name], op="<=", bar=0.0, note=f"{len(outcomes)} runs of verbs")
        for name in CLAIMS
        if args.only in (None, name)
    ]
    left_out = [verb.name for verb in verbs() if verb not in chosen] + [c for c in CLAIMS if args.only not in (None, c)]
    return finish("hostile_network", claims, not_run=left_out)


if __name__ == "__main__":
    sys.exit(main())
