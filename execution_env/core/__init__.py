"""Tools of every problem: the compiler and its cache, memory for compiled code, validation."""
