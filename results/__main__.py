"""``python -m results``: train and evaluate everything that is reported; see ``--help``."""

from __future__ import annotations

import sys

from execution_env.core.extras import command

main = command("results.command")

if __name__ == "__main__":
    sys.exit(main(None))
