"""The page of a report: whole in one file, inert whatever the runs said, and readable on a phone; proved in a browser where there is one."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from afk_es.evals.reports import Account, account_of, report_text
from tests.evals.reports.results import DIVERGED, HELD, HOSTILE, LOG, UNMEASURED, a_bad_day, a_good_day, a_hostile_day, check, row, suite

EVERYTHING = account_of(a_bad_day(), checks=[HELD, DIVERGED, UNMEASURED], title="Airline agent, nightly")
HOSTILE_DAY = account_of(a_hostile_day(), title=HOSTILE)
PAGES = pytest.mark.parametrize(
    "account",
    [EVERYTHING, HOSTILE_DAY, account_of(a_good_day()), account_of([HELD, DIVERGED, UNMEASURED]), account_of([])],
    ids=["everything", "hostile", "good", "goldens", "nothing"],
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMIUM_HEADLESS = (CHROMIUM or "", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000", "--dump-dom")

_VOID = {"meta", "line", "br"}
_TAGS = """
    html head meta title style body main header section footer h1 h2 h3 h4 p span b code pre ul li dl dt dd div details summary table thead tbody
    tr th td meter svg line del ins
"""


class _Page(HTMLParser):
    """Tags, attributes and text of a page, and whether all that opens is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@PAGES
def test_a_page_is_well_formed_and_has_no_script_no_link_and_no_other_file(account: Account) -> None:
    page = report_text(account, "html")
    seen = _Page(page)
    assert set(seen.tags) <= set(_TAGS.split())
    assert {name for name, _value in seen.attributes} & {"src", "href", "action", "style", "srcset"} == set()
    assert not any(name.startswith("on") for name, _value in seen.attributes)
    assert "url(" not in page
    assert "@import" not in page


@PAGES
def test_its_policy_allows_its_own_style_and_nothing_else(account: Account) -> None:
    page = report_text(account, "html")
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in page
    assert "prefers-color-scheme:dark" in style[1]


def test_text_of_others_is_text() -> None:
    page = report_text(HOSTILE_DAY, "html")
    said = "".join(_Page(page).text)
    assert "<script>alert(1)</script>\\x1b[31m" in said
    assert not any(character in page for character in "\x00\x07\x1b\u202e\u2066")
    page.encode()


def test_what_did_not_pass_comes_first_and_is_open() -> None:
    page = report_text(EVERYTHING, "html")
    rows = re.findall(r'<details class="row (\w+)"( open)?><summary>.*?class="name">(.*?)[<]', page)
    assert [(tone, bool(opened), name) for tone, opened, name in rows[:6]] == [
        ("bad", True, "refund of a fare without refund"),
        ("bad", True, "lounge"),
        ("bad", True, "seat map"),
        ("bad", True, "upgrade#2"),
        ("quiet", False, "pets"),
        ("good", False, "cancel in time"),
    ]
    assert [(tone, bool(opened), name) for tone, opened, name in rows[-3:]] == [
        ("bad", True, "refund"),
        ("mark", True, "lounge"),
        ("good", False, "cancel-in-time"),
    ]


def test_a_row_has_its_reasons_its_checks_its_difference_and_the_command_that_opens_it() -> None:
    page = report_text(EVERYTHING, "html")
    assert "<li><b>never(refund)</b>refund was called with amount=1200</li>" in page
    assert f"<code>afk-es debug {LOG}:run_refund</code>" in page
    assert "<del>each booking</del>" in page
    assert "<ins>bookings</ins>" in page
    assert "not exercised: book was never called" in page
    assert "The run was in a log in memory and is gone" in page


def test_a_side_on_which_nothing_is_says_so() -> None:
    page = report_text(EVERYTHING, "html")
    assert page.count('<span class="out">nothing</span>') == 2, "of the call that is gone, in the row and in the golden by itself"


def test_divergences_beyond_those_that_are_shown_are_counted() -> None:
    many = check("many", "diverged", *DIVERGED.divergences * 16, more=7)
    page = report_text(account_of([many]), "html")
    assert "54 more divergences, which may follow from the first" in page
    assert page.count('class="divergence"') == 10
    assert "7 more divergences are not kept." in page


def test_a_page_of_many_rows_stays_a_page() -> None:
    rows = [row(f"case {number}", output="x" * 100_000) for number in range(2_100)]
    page = report_text(account_of(suite(rows)), "html")
    assert page.count('<details class="row') == 2_000
    assert "100 more rows, all of them passed or did not run; the JSON has them." in page
    bad = report_text(account_of(suite([row(f"case {number}", "failed") for number in range(2_001)])), "html")
    assert "1 more row, of them 1 that did not pass; the JSON has them." in bad
    assert len(page) < 8_000_000


def _in_browser(page: str, width: int, directory: Path) -> dict[str, object]:
    """What a browser makes of the page in a window of that width; a phone's is narrower than a browser's may be, so it stands in a frame."""
    script = """
      onload = () => {
        const seen = document.querySelector("iframe").contentDocument;
        document.title = JSON.stringify({
          width: seen.documentElement.scrollWidth, room: seen.documentElement.clientWidth, rows: seen.querySelectorAll(".row").length,
          open: seen.querySelectorAll(".row[open]").length, active: seen.querySelectorAll("script,a,img,iframe,form").length,
          styled: seen.defaultView.getComputedStyle(seen.querySelector("h1")).fontSize, title: seen.title,
        });
      };
    """
    frame = f'<iframe srcdoc="{html.escape(page)}" style="width:{width}px;height:2000px;border:0"></iframe>'
    (directory / "outer.html").write_text(f"<!doctype html><meta charset=utf-8>{frame}<script>{script}</script>", "utf-8")
    ended = subprocess.run(
        [*CHROMIUM_HEADLESS, f"--user-data-dir={directory / 'profile'}", f"file://{directory / 'outer.html'}"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    title = re.search(r"<title>(.*?)</title>", ended.stdout, re.DOTALL)
    assert title is not None, ended.stderr
    found: dict[str, object] = json.loads(html.unescape(title[1]))
    return found


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
@pytest.mark.parametrize(
    ("account", "width", "rows", "opened"), [(EVERYTHING, 390, 12, 6), (EVERYTHING, 1400, 12, 6), (HOSTILE_DAY, 390, 2, 1)]
)
def test_a_browser_shows_it_without_scrolling_sideways_and_nothing_in_it_acts(
    tmp_path: Path, account: Account, width: int, rows: int, opened: int
) -> None:
    seen = _in_browser(report_text(account, "html"), width, tmp_path)
    assert seen["width"] == seen["room"], "nothing is wider than the window"
    assert (seen["rows"], seen["open"], seen["active"]) == (rows, opened, 0)
    assert seen["styled"] == "26px", "the policy lets the style through"
    assert str(seen["title"]).endswith(": failed")
