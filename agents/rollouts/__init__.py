"""Policies played on days: batches of orders, and one order bucket by bucket."""
