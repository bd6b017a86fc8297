"""Another policy on what has happened: what it would have decided in recorded runs."""
