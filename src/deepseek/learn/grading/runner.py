"""Runs the learner's code in its process, and verbs of this package, and says in words what went wrong.

run_solution(place, "solution.py", "split", [[rows], [other_rows]])     # what each call returned, or Mistake
run_verb(place, "evaluate", "model", "held.csv")                        # the object of --json, or Mistake
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from deepseek.contracts import JsonObject
from deepseek.learn.grading.mistake import Mistake
from deepseek.learn.grading.secrets import find_secret, mask_secrets
from deepseek.learn.grading.solution import MAX_FILE_MB, SolutionRequest
from deepseek.learn.grading.values import decode_value, encode_value

#: Of the environment, what a child gets: nothing that could be a secret.
KEPT_VARIABLES = (
    "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "SSL_CERT_FILE",
)  # fmt: skip
#: Limits are of processor time; by the clock a process may take so many times that, for the machine may be busy.
PATIENCE = 10
CALL_PATIENCE = 5  # of one call of the learner's code: below that of a whole grading, so that what hangs is named
PROBE = "probe_of_the_lab.py"  # what a probe is called beside the learner's files
POLL_S = 0.01  # between two looks at a process
MAX_OUTPUT_BYTES = 1 << 20  # that is looked at
DEVICES = ("/dev/null", "/dev/shm", "/dev/tty")  # noqa: S108  a device, no file of ours


@dataclass(frozen=True, slots=True)
class RunPlace:
    """Where code runs, and how much it may take."""

    folder: Path  # the working folder: a copy of what was handed in
    scratch: Path  # the grader's own
    memory_mb: int
    seconds: float  # of a processor


def child_environment(scratch: Path) -> dict[str, str]:
    """What a child sees of the world: a home of its own, no byte code, one thread."""
    home = scratch / "home"
    home.mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    own = {
        "HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home), "XDG_DATA_HOME": str(home),
        "PYTHONDONTWRITEBYTECODE": "1", "PYTHONSAFEPATH": "1", "PYTHONUTF8": "1", "KERAS_BACKEND": "torch",
    }  # fmt: skip
    return {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **kept, **own}


class SolutionProcess:
    """A function of the learner's file in a process of its own, called once for each list of arguments.

    with SolutionProcess(place, "solution.py", "train", [[rows]]) as process:
        process.wait()
        process.results()       # what each call returned, or Mistake
    """

    def __init__(
        self,
        place: RunPlace,
        file: str,
        function: str,
        calls: Sequence[Sequence[object]],
        seconds: float | None = None,
        probe: Path | None = None,
    ) -> None:
        """Start it; `probe` as of run_solution(). Mistake where there is no such file."""
        self._place, self._file = place, file
        self.limit_s = place.seconds if seconds is None else min(seconds, place.seconds)
        if not (place.folder / file).is_file():
            raise Mistake("missing_file", name=file)
        home = place.scratch / "home"
        environment = child_environment(place.scratch)
        if probe is not None:  # where code may read; anew each time, for it may write there, too
            shutil.copyfile(probe, place.folder / PROBE)
        writable = [place.folder, home]
        request = SolutionRequest(
            file, function, [encode_value(list(arguments)) for arguments in calls], place.memory_mb,
            math.ceil(self.limit_s), [*(str(path.resolve()) for path in writable), *DEVICES],
            _private_folders(place), _readable_folders(place), "" if probe is None else PROBE,
        )  # fmt: skip
        descriptor, request_file = tempfile.mkstemp(".json", "request-", place.scratch)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump({name: getattr(request, name) for name in request.__slots__}, stream)
        self._report = tempfile.TemporaryFile()  # noqa: SIM115  (closed by __exit__)
        self._out = tempfile.TemporaryFile()  # noqa: SIM115
        command = [
            sys.executable, "-m", "deepseek.learn.grading.solution", request_file, str(self._report.fileno()),
            str(os.getpid()),
        ]  # fmt: skip
        self.child = subprocess.Popen(
            command, cwd=place.folder, env=environment, stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._out,
            pass_fds=[self._report.fileno()], start_new_session=True,
        )  # fmt: skip
        self._end_s = time.monotonic() + CALL_PATIENCE * self.limit_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        stop_group(self.child)
        self._report.close()
        self._out.close()

    @property
    def is_running(self) -> bool:
        return self.child.poll() is None and not self.is_late

    @property
    def is_late(self) -> bool:
        return time.monotonic() > self._end_s

    def wait(self) -> None:
        """Wait until it has ended, or had its time."""
        with suppress(subprocess.TimeoutExpired):
            self.child.wait(max(0.0, self._end_s - time.monotonic()))

    def results(self) -> list[Any]:
        """What each call has returned, of a process that has ended. Mistake names what it did wrong."""
        code = self.child.poll()
        stop_group(self.child)
        self._report.seek(0)
        text = self._report.read()
        self._out.seek(0)
        output = self._out.read(MAX_OUTPUT_BYTES).decode("utf-8", "replace")
        values: dict[str, object] = {"file": self._file}
        if kind := find_secret(output):
            raise Mistake("solution_secret", **values, kind=kind)
        if code is None or code == -signal.SIGXCPU:
            waited_s = CALL_PATIENCE * self.limit_s if code is None else math.ceil(self.limit_s)
            raise Mistake("solution_endless", **values, seconds=f"{waited_s:g}")
        if code == -signal.SIGXFSZ:
            raise Mistake("solution_output", **values, mb=MAX_FILE_MB)
        if code in (-signal.SIGKILL, -signal.SIGABRT, -signal.SIGSEGV):
            raise Mistake("solution_memory", **values, mb=self._place.memory_mb)
        if not text:
            raise Mistake("solution_exited", **values, code=code)
        return _read_report(json.loads(text), self._place)


def run_solution(
    place: RunPlace,
    file: str,
    function: str,
    calls: Sequence[Sequence[object]],
    seconds: float | None = None,
    probe: Path | None = None,
) -> list[Any]:
    """Call a function of the learner's file once for each list of arguments. Mistake names what it did wrong. `probe`:
    a file of the lab's own whose function is called instead, with the learner's module first."""
    with SolutionProcess(place, file, function, calls, seconds, probe) as process:
        process.wait()
        return process.results()


def run_ranks(
    place: RunPlace, file: str, function: str, ranks: Sequence[Sequence[object]], seconds: float | None = None
) -> list[Any]:
    """Call a function once in each of several processes that run at the same time and may talk to each other: what each
    has returned for its arguments. The first one that fails ends all, and its Mistake is raised."""
    with ExitStack() as stack:
        processes = [
            stack.enter_context(SolutionProcess(place, file, function, [arguments], seconds)) for arguments in ranks
        ]
        waiting, values = dict(enumerate(processes)), {}
        while waiting:
            for number, process in list(waiting.items()):
                if not process.is_running:
                    (values[number],) = waiting.pop(number).results()
            time.sleep(POLL_S)
        return [values[number] for number in range(len(processes))]


def kill_solution(
    place: RunPlace,
    file: str,
    function: str,
    arguments: Sequence[object],
    when: Callable[[], bool],
    seconds: float | None = None,
) -> bool:
    """Call a function once and end its process with SIGKILL as soon as `when()` says so, which reads what it has
    written. False: it had ended by itself before that. Mistake where it had failed."""
    with SolutionProcess(place, file, function, [arguments], seconds) as process:
        while process.is_running:
            if when():
                return True
            time.sleep(POLL_S)
        process.results()
        return False


def _read_report(document: JsonObject, place: RunPlace) -> list[Any]:
    if "results" in document:
        return [decode_value(result) for result in document["results"]]
    values = {name: mask_secrets(str(value)) for name, value in document["values"].items()}
    if document["mistake"] == "solution_memory":
        values["mb"] = str(place.memory_mb)
    raise Mistake.from_child(document["mistake"], values)


def run_verb(place: RunPlace, *arguments: str, seconds: float | None = None) -> JsonObject:
    """The object that a verb prints with --json. Mistake with the verb's own words where it refuses."""
    limit_s = PATIENCE * (place.seconds if seconds is None else seconds)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(
            [sys.executable, "-m", "deepseek", *arguments, "--json"], cwd=place.folder,
            env=child_environment(place.scratch), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
        )  # fmt: skip
        try:
            code: int | None = child.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            stop_child(child)
        out.seek(0)
        text = out.read()
    if code is None:
        raise Mistake("verb_failed", verb=arguments[0], problem=f"it has not ended after {limit_s:g} s")
    try:
        document: JsonObject = json.loads(text)
    except ValueError:
        document = {}
    if code == 2 or (code and "error" in document) or not document:
        error: Mapping[str, str] = document.get("error", {})
        raise Mistake("verb_failed", verb=arguments[0], problem=error.get("message", f"exit code {code}"))
    return document


def stop_child(child: subprocess.Popen[bytes], grace_s: float = 10.0) -> None:
    """End a process of ours, which ends what it has started itself. It stays in the group of the grader, so that it
    ends with it in any case."""
    child.terminate()
    try:
        child.wait(grace_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def stop_group(child: subprocess.Popen[bytes]) -> None:
    """End a process that was started in a session of its own, and whatever it has left running there."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _private_folders(place: RunPlace) -> list[str]:
    homes = {Path.home().resolve(), place.scratch.resolve()}
    return [str(home) for home in homes if home != Path("/")]


def _readable_folders(place: RunPlace) -> list[str]:
    """Below a home: the working folder, where Python and its packages lie, and the scratch home, which is the home of
    the grader itself."""
    package = Path(__file__).resolve().parents[3]
    folders: list[str | Path] = [
        place.folder,
        package,
        sys.prefix,
        sys.base_prefix,
        sys.exec_prefix,
    ]
    folders += [path for path in (*sys.path, *site.getsitepackages(), site.getusersitepackages()) if path]
    readable = {os.path.realpath(folder) for folder in folders} - {"/", os.path.realpath(Path.home())}
    return sorted(readable | {os.path.realpath(place.scratch / "home")})
