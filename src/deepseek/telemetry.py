"""Nothing leaves the machine: libraries that report to their makers are told not to, before any of them is imported.

    disable_telemetry()        # the first line of `import deepseek`

What is set here overrules what the environment says, and child processes inherit it. Each of these libraries reads its
variable when it is imported, so an import of theirs that came before ours is too late, and warned of. The variables
speak of reports alone: code of yours that downloads a model from a hub, or logs to an MLflow server, still does.
"""

from __future__ import annotations

import os
import sys
import warnings

#: Environment variable -> the value that forbids reports, and whose they would be.
OPT_OUT_VARIABLES = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime from 1.32: device id, names of files and graphs, a queue on disk
    "NNCF_CI": "1",  # nncf: each quantization, to an analytics service, without asking
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, transformers
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "true",  # what has come to heed the common name: mlflow takes no other word than `true`
}
#: Packages that only send reports. OpenVINO and nncf do without theirs when it is absent, and it knows no variable.
SENDERS = ("openvino_telemetry",)
#: Libraries that report unless their variable stood when they were imported.
REPORTERS = {"onnxruntime": "ORT_DISABLE_TELEMETRY", "nncf": "NNCF_CI"}


def disable_telemetry() -> None:
    """Set OPT_OUT_VARIABLES in this process and those that it starts, and make SENDERS absent.

    Warns (RuntimeWarning) of a library that was imported before and may report.
    """
    too_late = [name for name, variable in REPORTERS.items() if name in sys.modules and variable not in os.environ]
    os.environ.update(OPT_OUT_VARIABLES)
    for sender in SENDERS:
        sys.modules[sender] = None  # type: ignore[assignment]  # the import system's own word for absent
    for name in too_late:
        warnings.warn(
            f"{name} was imported before deepseek and may report to its maker. Expected: the other order. "
            f"To mend it: import deepseek above {name}, or set {REPORTERS[name]}=1 in the environment.",
            RuntimeWarning,
            stacklevel=3,
        )
