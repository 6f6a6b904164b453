"""The oldest release that pyproject.toml admits of each dependency, as a constraints file for pip on stdout.

python .ci/oldest.py > oldest.txt && pip install -e '.[all,dev]' -c oldest.txt
"""

from __future__ import annotations

import sys

from floors import APART, requirements
from packaging.version import Version


def oldest() -> dict[str, Version]:
    """Name -> the lower bound. ValueError where two extras state different ones."""
    floors: dict[str, Version] = {}
    for requirement in requirements():
        (floor,) = (Version(part.version) for part in requirement.specifier if part.operator == ">=")
        if floors.setdefault(requirement.name, floor) != floor:
            raise ValueError(f"{requirement.name} has two lower bounds: {floors[requirement.name]} and {floor}")
    return {name: floor for name, floor in floors.items() if name not in APART}


if __name__ == "__main__":
    sys.stdout.writelines(f"{name}=={floor}\n" for name, floor in sorted(oldest().items()))
