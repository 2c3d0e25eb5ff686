"""Expected fills by size, as planners and rules use them."""
