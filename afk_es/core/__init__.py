"""core: being built."""
