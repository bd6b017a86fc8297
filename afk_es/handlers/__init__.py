"""handlers: being built."""
