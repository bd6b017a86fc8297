"""The Textual face of the debugger: its place in the package. This release has no app yet; `afk-es log` and `show` read a run."""
