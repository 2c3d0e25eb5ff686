"""Advice on the lots to post now, in an order that is under way."""
