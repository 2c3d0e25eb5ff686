"""Child orders walked through quotes and trades, or through an order book with queue positions."""
