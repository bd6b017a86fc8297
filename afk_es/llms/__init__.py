"""llms: being built."""
