"""Finding what an agent does wrong whatever happens: scripts that are drawn, performed, made small, told to people, and kept as logs."""
