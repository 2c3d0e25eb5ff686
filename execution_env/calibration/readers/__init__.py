"""Market data and fill logs, read strictly into tapes and tables."""
