"""The Textual face of the debugger."""
