"""Order allocation in trade execution, as a Gymnasium environment."""
from gymnasium.envs.registration import register
from execution_env.env import OrderAllocationEnv
from execution_env.vector_env import OrderAllocationVectorEnv
register("execution_env/OrderAllocation-v0", entry_point="execution_env.env:OrderAllocationEnv", vector_entry_point="execution_env.vector_env:OrderAllocationVectorEnv")
