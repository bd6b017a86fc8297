"""views: being built."""
