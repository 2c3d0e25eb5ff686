"""What planners know of the fills of the rest of an order."""
