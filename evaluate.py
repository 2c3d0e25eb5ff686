"""``python evaluate.py``: policies compared on held-out days; ``--help`` tells more."""

from __future__ import annotations

import sys

from agents.commands.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
