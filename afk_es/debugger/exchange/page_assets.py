"""What the page of a run adds to the frame that all pages share: its style and its script."""

from __future__ import annotations

PAGE_STYLE = """
.seq{float:right;margin-left:12px;text-decoration:none;font-variant-numeric:tabular-nums}.seq::before{content:"#"}.seq:hover{text-decoration:underline}
article>pre{font:inherit}
.limits{display:flex;flex-wrap:wrap;gap:4px 22px;font-size:12.5px;color:var(--quiet)}.limits .bad{color:var(--bad)}.limits .mark{color:var(--mark)}
meter{width:70px;height:11px;vertical-align:-1px}
.imported{margin-top:14px;padding:8px 13px;border-left:3px solid var(--mark);background:var(--band);font-size:13px}
.wide{overflow-x:auto}.wide svg{min-width:760px;width:100%;height:auto;display:block}
article{padding:10px 15px;margin:9px 0;border-radius:9px;border:1px solid var(--line);border-left:3px solid var(--line)}
article.user{border-left-color:var(--people);background:var(--band)}article.assistant{border-left-color:var(--model)}article.tool{border-left-color:var(--tools)}
article.note{border:0;border-left:3px solid var(--line);border-radius:0;padding:3px 15px;color:var(--quiet);font-size:13.5px;overflow-wrap:anywhere}
.note.bad{border-left-color:var(--bad);color:var(--bad)}.note.mark{border-left-color:var(--mark)}.note.good{border-left-color:var(--good)}
img{max-width:100%;max-height:420px;border-radius:6px;margin-top:6px}
.call{margin:8px 0 2px;padding:6px 11px;border-radius:7px;background:var(--band);border-left:3px solid var(--quiet)}article.user .call{background:var(--paper)}
.call.good{border-left-color:var(--tools)}.call.bad{border-left-color:var(--bad)}.call.mark{border-left-color:var(--mark)}
.call summary{overflow-wrap:anywhere}.call code{color:var(--quiet)}.outcome{font-size:12.5px;color:var(--tools)}.bad .outcome{color:var(--bad)}.mark .outcome{color:var(--mark)}
.call pre,.event pre,.history pre,section>details pre{padding:8px 11px;border:1px solid var(--line);border-radius:6px;background:var(--paper)}
section>details{margin:5px 0;overflow-wrap:anywhere}
.events{border:1px solid var(--line);border-radius:9px;overflow:hidden}
.event{border-top:1px solid var(--line);font-size:13px}.event:first-child{border-top:0}
.event summary{display:grid;grid-template-columns:14px 46px 82px 200px 1fr;gap:8px;padding:3px 11px;align-items:baseline}
.event summary:hover{background:var(--band)}.event[open]{background:var(--band)}.event:target{box-shadow:inset 3px 0 var(--model);background:var(--band)}
.event .n{text-align:right;color:var(--quiet);font-size:12px}.event b{font-weight:550;overflow-wrap:anywhere}.event .what{color:var(--quiet);overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.event[open] .what{white-space:normal}.event pre{margin:4px 11px 9px}
.event.bad b,.event.bad .what{color:var(--bad)}.event.mark b{color:var(--mark)}.event.good b{color:var(--good)}.event.quiet b{color:var(--quiet)}
.filter{display:flex;flex-wrap:wrap;gap:8px 12px;align-items:center;margin:0 0 10px;font-size:13px;color:var(--quiet)}.filter[hidden]{display:none}
.filter input[type=search]{flex:1 1 220px}.filter input[type=search],select,button{font:inherit;padding:4px 10px;border:1px solid var(--line);border-radius:7px;background:var(--paper);color:var(--ink)}
button{cursor:pointer}button:hover{background:var(--band)}
@media(max-width:640px){.event summary{grid-template-columns:14px 40px 1fr}.event .what{grid-column:2/-1}.event summary .n+.n{display:none}}
@media print{.filter,.seq{display:none}}
"""
"""What a page of a run adds to the frame of every page."""

SCRIPT = """
"use strict";
(() => {
  const bar = document.querySelector(".filter");
  const events = [...document.querySelectorAll(".event")];
  const [text, type, bad, told] = ["input[type=search]", "select", "input[type=checkbox]", "output"].map((each) => bar.querySelector(each));
  const filter = () => {
    const wanted = text.value.toLowerCase();
    let shown = 0;
    for (const event of events) {
      const fits = (!type.value || event.dataset.type === type.value) && (!bad.checked || event.classList.contains("bad"))
        && (!wanted || event.textContent.toLowerCase().includes(wanted));
      event.hidden = !fits;
      shown += fits;
    }
    told.textContent = shown === events.length ? "" : `${shown} of ${events.length}`;
  };
  const open = () => {
    const target = document.getElementById(location.hash.slice(1));
    if (target && target.matches("details")) { target.hidden = false; target.open = true; target.scrollIntoView({block: "center"}); }
  };
  bar.hidden = false;
  bar.addEventListener("input", filter);
  bar.addEventListener("click", (click) => {
    if (click.target.matches("button")) for (const event of events) if (!event.hidden) event.open = click.target.value === "open";
  });
  addEventListener("hashchange", open);
  open();
})();
"""
