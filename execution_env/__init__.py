"""Order allocation in trade execution, as a Gymnasium environment.

>>> import gymnasium as gym, execution_env
>>> env = gym.make("execution_env/OrderAllocation-v0", scenario="baseline")
>>> observation, info = env.reset(seed=1)

and thousands at once:

>>> envs = gym.make_vec("execution_env/OrderAllocation-v0", num_envs=4096,
...                     vectorization_mode="vector_entry_point")
"""

from __future__ import annotations

from gymnasium.envs.registration import register

from execution_env.allocation.env import OrderAllocationEnv
from execution_env.allocation.market.day_stream import DayStream, numbered_days
from execution_env.allocation.market.days import Days
from execution_env.allocation.scenario import Scenario
from execution_env.allocation.scenario_file import load_scenario, scenario_to_toml, scenarios
from execution_env.allocation.vector_env import OrderAllocationVectorEnv
from execution_env.core.validation import ScenarioError

__all__ = [
    "ENV_ID",
    "DayStream",
    "Days",
    "OrderAllocationEnv",
    "OrderAllocationVectorEnv",
    "Scenario",
    "ScenarioError",
    "load_scenario",
    "numbered_days",
    "scenario_to_toml",
    "scenarios",
]
__version__ = "0.1.0"

ENV_ID = "execution_env/OrderAllocation-v0"

register(
    id=ENV_ID,
    entry_point="execution_env:OrderAllocationEnv",
    vector_entry_point="execution_env:OrderAllocationVectorEnv",
)
