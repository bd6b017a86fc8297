"""tools: being built."""
