"""The frame of every page that leaves: its colours, its style and the policy that keeps it to itself. What stands in it is others' business.

The policy names the one style and the one script by their digests, so nothing else of a page can act, whatever it holds.
"""

from __future__ import annotations

import base64
import hashlib

from afk_es.debugger.exchange.markup import inert

LIGHT = (
    "--ink:#1c2330;--quiet:#5d6778;--line:#d9dee7;--band:#f5f7fa;--paper:#ffffff;--on-bar:#ffffff;--model:#3866c9;--tools:#1b7f63;"
    "--subagents:#7a4bc2;--people:#a86500;--good:#1a7f45;--bad:#c22f3d;--mark:#9a6400"
)
DARK = (
    "--ink:#e4e9f1;--quiet:#97a3b6;--line:#323b4a;--band:#1b222d;--paper:#12161d;--on-bar:#0d1117;--model:#7ba7ff;--tools:#4fc3a1;"
    "--subagents:#b795f5;--people:#e6ab4a;--good:#56c98a;--bad:#ff7b85;--mark:#e3b04b"
)


PALETTE = f":root{{{LIGHT}}}@media(prefers-color-scheme:dark){{:root{{{DARK}}}}}"
"""The colours by name, in light and dark as the viewer likes it."""

FRAME = """
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.55 ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1120px;margin:0 auto;padding:28px 24px 60px}
h1{font-size:26px;margin:2px 0 4px;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:17px;margin:34px 0 10px;padding-bottom:6px;border-bottom:1px solid var(--line)}
h3{font-size:12px;margin:0 0 4px;text-transform:uppercase;letter-spacing:.05em;color:var(--quiet)}
h3 .about{text-transform:none;letter-spacing:0}
h4{font-size:12px;margin:10px 0 2px;color:var(--quiet);font-weight:600}
p{margin:4px 0}ul{margin:6px 0;padding-left:20px}
a{color:inherit}
.about,.seq,footer{color:var(--quiet);font-size:12.5px;font-weight:400}
code,pre,.n{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:12.5px}
pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:2px 0;max-height:70vh;overflow:auto}
.pill{display:inline-block;margin:0;padding:2px 11px;border-radius:99px;font-size:12.5px;font-weight:650;color:var(--on-bar);background:var(--mark)}
.pill.good{background:var(--good)}.pill.bad{background:var(--bad)}
.ending{font-size:16px;color:var(--ink);overflow-wrap:anywhere}.missing{color:var(--mark)}
dl{margin:0}dt{color:var(--quiet);font-size:12px}dd{margin:0;overflow-wrap:anywhere}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(118px,1fr));gap:1px;margin:18px 0 12px;background:var(--band);border:1px solid var(--line);border-radius:9px;overflow:hidden}
.facts div{box-shadow:0 0 0 1px var(--line);padding:9px 13px}.facts dd{font-size:16px;font-weight:600;font-variant-numeric:tabular-nums}.facts .bad dd{color:var(--bad)}
.where{font-size:12.5px;line-height:1.45;margin-top:10px}.where div{display:grid;grid-template-columns:150px 1fr;gap:10px}.where dt{font-size:12.5px}
.where dd{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
details>summary{cursor:pointer;list-style:none}details>summary::-webkit-details-marker{display:none}
details>summary::before{content:"▸";display:inline-block;width:14px;color:var(--quiet)}details[open]>summary::before{content:"▾"}
summary:focus-visible,a:focus-visible,button:focus-visible{outline:2px solid var(--model);outline-offset:2px;border-radius:3px}
[hidden]{display:none!important}
table{border-collapse:collapse;font-size:13px;margin-top:10px}td,th{padding:3px 14px 3px 0;text-align:left;border-bottom:1px solid var(--line)}
footer{margin-top:40px}
@media(max-width:640px){.where div{grid-template-columns:1fr;gap:0;margin-bottom:4px}main{padding:16px 12px 40px}}
@media print{pre{max-height:none}}
"""


def document(title: str, content: str, *, style: str = "", script: str = "", images: bool = False) -> str:
    """A page that needs no other file and no network.

    Args:
        title: text.
        content: markup, whose every text of others has gone through `inert`.
        style: CSS beside that of the frame.
        script: JavaScript; the page runs no other, and none by default.
        images: whether the page holds images, as data.
    """
    css = f":root{{color-scheme:light dark}}{PALETTE}{FRAME}{style}"
    policy = [f"default-src 'none'; style-src 'sha256-{_digest(css)}'"]
    policy += [f"script-src 'sha256-{_digest(script)}'"] if script else []
    policy += ["img-src data:"] if images else []
    policy += ["base-uri 'none'", "form-action 'none'"]
    ending = f"<script>{script}</script>" if script else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">\n'
        f"<title>{inert(title)}</title>\n<style>{css}</style></head>\n<body><main>\n{content}</main>\n{ending}</body></html>\n"
    )


def section(title: str, content: str, about: str = "") -> str:
    """A section under its heading. Its last word is its address in the page."""
    told = f'<span class="about">{inert(about)}</span>' if about else ""
    return f'<section id="{title.split()[-1].lower()}"><h2>{inert(title)} {told}</h2>\n{content}</section>\n'


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
