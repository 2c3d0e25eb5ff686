"""Pages, tables and figures of the reference results, made from the stored tables."""
