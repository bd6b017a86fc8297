"""Tasks of workers that are killed, stopped, and started again."""
