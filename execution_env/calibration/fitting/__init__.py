"""What child orders met, fitted: fill probability, depth, spread, volume, mid, and their dependence."""
