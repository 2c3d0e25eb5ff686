"""Rollouts: policies played on batches of orders, and one order played bucket by bucket."""
