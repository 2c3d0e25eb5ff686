"""``python evaluate.py``: policies compared on held-out days; ``--help`` tells more."""

from __future__ import annotations

import sys

from execution_env.core.extras import command

main = command("agents.commands.evaluate")

if __name__ == "__main__":
    sys.exit(main(None))
