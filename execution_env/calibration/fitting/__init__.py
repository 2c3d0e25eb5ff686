"""Estimates from child orders: fill probability, depth, spread, volume, mid, dependence."""
