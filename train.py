"""Train a policy: ``python train.py [q-learning | ppo] --scenario baseline --seed 0 --out DIR``.

Or many: ``python train.py sweep [q-learning | ppo] --seed 0 1 2``.
"""

from __future__ import annotations

import sys

from execution_env.core.extras import command

main = command("agents.commands.train")

if __name__ == "__main__":
    sys.exit(main(None))
