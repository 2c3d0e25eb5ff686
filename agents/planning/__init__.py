"""Expected fills and adverse selection, as planners and rules use them."""
