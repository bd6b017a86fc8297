"""afk_es: an event-sourced runtime for LLM agents."""
