"""Reference results: ``python -m results`` makes all of them."""
