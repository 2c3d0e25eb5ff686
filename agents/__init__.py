"""What decides: rules, the linear programme, dynamic programming, learners; and their comparison.

Run from a checkout; not part of the installed package.
"""
