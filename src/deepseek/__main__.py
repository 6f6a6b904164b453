"""`python -m deepseek` is `deepseek`."""

from __future__ import annotations

import sys

from deepseek.cli import main

sys.exit(main())
