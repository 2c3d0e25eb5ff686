"""Days: everything that the market does during an order, drawn or replayed."""
