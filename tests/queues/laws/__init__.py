"""The laws of the queue: a pure model of it, the product beside it step by step, and bugs that the two must be found to differ by."""
