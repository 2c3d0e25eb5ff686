"""What to post now, in an order that is under way."""
