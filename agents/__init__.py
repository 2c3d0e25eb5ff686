"""Policies (rules, linear programmes, dynamic programming, learners), bounds and their comparison.

The package runs from a checkout; it is not part of the installed package.
"""
