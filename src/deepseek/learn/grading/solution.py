"""The process of the learner's code: python -m deepseek.learn.grading.solution REQUEST REPORT PID

REQUEST is JSON (SolutionRequest), REPORT an open file descriptor. The process limits itself, then loads the file and
calls its function once for each list of arguments, or that of a probe of the lab. It writes one object:
{"results": [...]}, or {"mistake", "values"}, and ends with the process PID that has started it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import sys
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NoReturn

from deepseek.engines.lifetime import end_with_parent
from deepseek.learn.grading.guard import Guard, GuardRules
from deepseek.learn.grading.landlock import restrict_writes
from deepseek.learn.grading.values import UnknownValueError, decode_value, encode_value

MAX_FILE_MB = 512
MAX_ERROR = 200  # characters
#: What libraries of arrays say when there is no memory, who have errors of their own for it.
NO_MEMORY = ("can't allocate memory", "bad_alloc", "Unable to allocate", "not enough memory")


@dataclass(frozen=True, slots=True)
class SolutionRequest:
    """What to run and within which limits."""

    file: str  # of the learner, in the working folder: what is named in mistakes
    function: str
    calls: list[list[Any]]  # encoded
    memory_mb: int
    cpu_s: int
    writable: list[str]
    private: list[str]
    readable: list[str]
    probe: str = ""  # a file of the lab's own, whose function is called with the learner's module as first argument


def main(request_path: str, descriptor: str, parent_pid: str) -> None:
    end_with_parent(int(parent_pid))
    request = SolutionRequest(**json.loads(Path(request_path).read_bytes()))
    report = _Report(int(descriptor), request.file)
    sys.excepthook = report.end_by_error
    set_limits(request.memory_mb, request.cpu_s)
    restrict_writes([Path(path) for path in request.writable])
    rules = GuardRules(tuple(request.writable), tuple(request.private), tuple(request.readable))
    sys.addaudithook(Guard(rules, report.end_by_guard).watch)
    function = _load_function(request, report)
    results = []
    for arguments in request.calls:
        try:
            results.append(encode_value(function(*decode_value(arguments))))
        except UnknownValueError as error:
            report.end("solution_value", function=request.function, kind=str(error))
    report.write({"results": results})


def set_limits(memory_mb: int, cpu_s: int) -> None:
    """Memory beyond what is there now, processor time and sizes of files, held by the kernel."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        in_use = int(statm.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + (memory_mb << 20),) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_MB << 20,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _load_function(request: SolutionRequest, report: _Report) -> Any:
    """What is called: the learner's function, or the probe's with the learner's module as its first argument."""
    sys.path.insert(0, str(Path.cwd()))
    module = _load_module(request.file, report)
    if request.probe:
        return partial(getattr(_load_module(request.probe, report), request.function), module)
    function = getattr(module, request.function, None)
    if not callable(function):
        report.end("no_function", file=request.file, function=request.function)
    return function


def _load_module(file: str, report: _Report) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(file).stem, Path(file).resolve())
    if spec is None or spec.loader is None:
        report.end("missing_file", name=file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass of the solution looks itself up there
    spec.loader.exec_module(module)
    return module


class _Report:
    """Writes what has become of the learner's code, once."""

    def __init__(self, descriptor: int, file: str) -> None:
        self._descriptor, self._file = descriptor, file

    def write(self, document: dict[str, object]) -> None:
        data = json.dumps(document).encode()
        while data:
            data = data[os.write(self._descriptor, data) :]

    def end(self, mistake: str, **values: object) -> NoReturn:
        """Report a mistake and end the process, whatever the code would catch."""
        self.write({"mistake": mistake, "values": values})
        os._exit(0)

    def end_by_guard(self, mistake: str, what: str) -> None:
        """Of the guard: something that is not to be touched was."""
        place = "address" if mistake == "solution_network" else "path"
        self.end(mistake, **{"file": self._file, place: what})

    def end_by_error(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """sys.excepthook: the kind, the text and the line in the learner's own file, and no traceback."""
        text = str(error)[:MAX_ERROR]
        if isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY):
            self.end("solution_memory", file=self._file)
        own = [frame for frame in traceback.extract_tb(trace) if Path(frame.filename).name == Path(self._file).name]
        line = own[-1].lineno if own else getattr(error, "lineno", None)
        self.end("solution_raised", file=self._file, line=line or 1, error=f"{kind.__name__}: {text}".rstrip(": "))


if __name__ == "__main__":
    main(*sys.argv[1:])
