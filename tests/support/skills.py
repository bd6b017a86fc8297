"""Skills as their authors write them: a directory with a SKILL.md."""

from __future__ import annotations

from pathlib import Path

HEADING = "---\nname: {name}\ndescription: {description}\n---\n\n# How to\n"


def skill(directory: Path, name: str = "reports", description: str = "Makes reports.", **files: str) -> Path:
    """Write a skill; in the names of its files `__` is a slash."""
    place = directory / name
    place.mkdir(parents=True)
    (place / "SKILL.md").write_text(HEADING.format(name=name, description=description), encoding="utf-8")
    for path, content in files.items():
        file = place / path.replace("__", "/")
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
    return place
