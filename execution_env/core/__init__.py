"""What every problem uses: the compiler with its cache, memory that compiled code shares, validation."""
