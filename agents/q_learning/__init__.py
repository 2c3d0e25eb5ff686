"""Tabular Q-learning: the algorithm, its states, training on orders, and the policy."""

from agents.q_learning.algorithm import Hyperparameters, Table, q_learning

__all__ = ["Hyperparameters", "Table", "q_learning"]
