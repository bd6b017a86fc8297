"""Nothing of a log becomes markup that acts: every page, picture and report of the hostile runs is parsed, and holds what is ours alone."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from afk_es.cli import main
from tests.security.hostile_log import MARKUP, Hostile
from tests.security.test_terminal import Desk
from tests.support.stories import Stories

STORIES = ("failing", "looping", "denied", "crashed", "team", "complete")

ACTING = {
    "script",
    "img",
    "iframe",
    "object",
    "embed",
    "form",
    "link",
    "base",
    "video",
    "audio",
    "image",
    "foreignobject",
    "animate",
    "set",
}
"""Elements that run, load or send something. A script of ours is named by its digest, and there is at most one."""

VOID = {"meta", "br", "hr", "img", "link", "base", "input", "wbr"}


class Page(HTMLParser):
    """What a browser would make of it, as far as it matters."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.comments: list[str] = []
        self._open: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in self.raw:
            self.raw[self._open[-1]].append(data)
        else:
            self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    @property
    def policy(self) -> str:
        """The content security policy of the page."""
        (found,) = [value for tag, name, value in self.attributes if tag == "meta" and name == "content" and "default-src" in value]
        return found


def check_page(hostile: str, harmless: str | None = None) -> Page:
    """Assert that nothing in a page acts; beside a page of the same run without hostile texts, that it has the same elements."""
    page = Page(hostile)
    assert page.unbalanced == []
    assert page.comments == []
    assert {name for _tag, name, _value in page.attributes if name.startswith("on")} == set()
    places = [
        value for _tag, name, value in page.attributes if name in ("href", "src", "action", "xlink:href", "formaction", "srcset", "data")
    ]
    assert all(value.startswith("#") for value in places)
    assert {value for _tag, name, value in page.attributes if name == "style" and re.search(r"url|expression|@import", value)} == set()
    assert "default-src 'none'" in page.policy
    assert "unsafe" not in page.policy
    assert len(page.raw["script"]) <= 1
    assert all("owned" not in text for texts in page.raw.values() for text in texts)
    assert page.elements.keys() & (ACTING - {"script"}) == set()
    assert MARKUP.strip().split("\n")[0] in "".join(page.texts), "a text of others stands there as it is"
    if harmless is not None:
        assert page.elements.keys() == Page(harmless).elements.keys()
    return page


def exported(log: Path, run: str, form: str) -> str:
    """The run in that form."""
    result = CliRunner().invoke(main, ["export", run, "--to", form, "--db", str(log)])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("story", STORIES)
def test_no_text_of_a_run_acts_in_its_page(story: str, marked_up: Hostile, stories: Stories) -> None:
    check_page(exported(marked_up.log, marked_up.run_ids[story], "html"), exported(stories.log, stories.run_ids[story], "html"))


@pytest.mark.parametrize("story", STORIES)
def test_no_text_of_a_run_acts_in_its_picture(story: str, marked_up: Hostile, stories: Stories) -> None:
    """SVG is XML; a picture has no element or attribute that the picture of the same run without hostile texts has not."""
    hostile = ElementTree.fromstring(exported(marked_up.log, marked_up.run_ids[story], "svg"))
    harmless = ElementTree.fromstring(exported(stories.log, stories.run_ids[story], "svg"))
    for of in (lambda each: {each.tag}, lambda each: set(each.attrib)):
        assert set().union(*map(of, hostile.iter())) <= set().union(*map(of, harmless.iter()))
    assert not {each.tag.rpartition("}")[2].lower() for each in hostile.iter()} & ACTING
    assert not {name for each in hostile.iter() for name in each.attrib if name.startswith("on") or name.endswith("href")}


@pytest.mark.parametrize("story", STORIES)
def test_no_text_of_a_run_leaves_its_fence_or_its_code_in_markdown(story: str, marked_up: Hostile) -> None:
    """Outside of code there is no text of others, so no link, picture or element."""
    left = outside_of_code(exported(marked_up.log, marked_up.run_ids[story], "md"))
    assert "owned" not in left
    assert "evil" not in left
    assert not re.search(r"\]\(|<\w|!\[", left)


@pytest.mark.parametrize("verb", ["log", "show", "triage", "why", "context", "state", "stats", "find"])
def test_no_text_of_a_run_ends_the_block_of_a_verb(verb: str, marked_up: Hostile) -> None:
    words = ["find", marked_up.run_ids["failing"], "a"] if verb == "find" else [verb, marked_up.run_ids["failing"]]
    result = CliRunner().invoke(main, [*words, "--format", "md", "--db", str(marked_up.log)])
    assert outside_of_code(result.stdout).strip() == ""


def outside_of_code(text: str) -> str:
    """What is left of Markdown without fenced blocks and spans of code (CommonMark 4.5 and 6.1)."""
    kept, fence = [], ""
    for line in text.split("\n"):
        found = re.match(r" {0,3}(`{3,}|~{3,})([^`]*)$", line)
        if fence:
            if found and found[1].startswith(fence) and not found[2].strip():
                fence = ""
        elif found:
            fence = found[1]
        else:
            kept.append(line)
    # A run of backticks is closed by the next one of the same length, within a paragraph.
    return "\n".join(re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", line) for line in kept)


def test_what_is_outside_of_code_is_seen() -> None:
    """The test above can fail."""
    assert "out" in outside_of_code("````text\n`````` x\nin\n````\nout\n````\nin")
    assert outside_of_code("a ``b ` c`` d").split() == ["a", "d"]


@pytest.fixture
def reported(marked_up: Hostile, module: Path) -> Path:
    """A directory with every report of a suite and of a golden check whose every text is markup."""
    module.write_text(module.read_text().replace(module.read_text().split("POISON = ")[1].split("\n")[0], repr(MARKUP)))
    desk = Desk(marked_up, module)
    for name in ("html", "md", "xml", "json"):
        result = desk.call(("eval", f"{module}:suite", "--report", f"suite.{name}"), "text")
        assert result.exit_code == 1, result.output
    desk.given("failing")
    result = desk.call(("golden", "check", "--agent", f"{module}:agent", "--html", "golden.html", "--junit", "golden.xml"), "text")
    assert result.exit_code == 1, result.output
    return module.parent


def test_no_text_of_a_suite_or_a_golden_acts_in_a_report(reported: Path) -> None:
    for name in ("suite.html", "golden.html"):
        check_page((reported / name).read_text())
    for name in ("suite.xml", "golden.xml"):
        root = ElementTree.parse(reported / name).getroot()
        assert {each.tag for each in root.iter()} <= {
            "testsuites", "testsuite", "testcase", "failure", "error", "skipped", "properties", "property", "system-out", "system-err"
        }  # fmt: skip
        assert "owned()" in ElementTree.tostring(root, encoding="unicode")
    left = outside_of_code((reported / "suite.md").read_text())
    assert "owned" not in left
    assert not re.search(r"\]\(|<\w|!\[", left)
