"""Comparison of allocation policies on held-out days, its tables and reports."""
