"""`deepseek serve` without a single sink: what the cost of watching is compared with.

python benchmarks/observe_server.py BUNDLE      # ready line on stdout, as deepseek serve prints it
"""

from __future__ import annotations

import sys
from pathlib import Path

from deepseek.cli.serve import open_served_models
from deepseek.cli.support.serving import read_settings
from deepseek.serve import create_app
from deepseek.serve.run import bind, run


def main() -> None:
    """Serve until a signal: the same settings, engines and queue, and nobody who is told of a request."""
    settings = read_settings(port=0, workers=1)
    models = open_served_models((sys.argv[1],), None, settings, (None, None, None), None)
    with bind(settings.host, settings.port) as listener:
        run(create_app(models, settings=settings), listener)


if __name__ == "__main__":
    assert Path(sys.argv[1]).is_dir(), "give the folder of a bundle"
    main()
