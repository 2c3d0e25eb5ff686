"""Tabular Q-learning: the algorithm, its states, and trainings on orders."""

from agents.q_learning.algorithm import Hyperparameters, Table, q_learning

__all__ = ["Hyperparameters", "Table", "q_learning"]
