"""A bundle's answers where torch cannot be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def told_without_torch(bundle: Path, data: Path) -> str:
    """What `print` says of the first four labels for the rows of `data`."""
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from deepseek.engines import open_runtime\n"
        f"with open_runtime({str(bundle)!r}) as runtime:\n"
        f"    print(runtime.predict({str(data)!r}).labels[:4])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
