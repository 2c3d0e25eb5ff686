"""Policies on held-out days: rollouts, statistics, comparison."""
