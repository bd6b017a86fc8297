"""The style that the page of a report adds to the frame of every page that leaves."""

from __future__ import annotations

STYLE = """
h1+.ending{margin-top:6px}
.facts .good dd{color:var(--good)}.facts .mark dd{color:var(--mark)}
section>h2:first-child{margin-top:38px}
.rows{border:1px solid var(--line);border-radius:9px;overflow:hidden}
.row{border-top:1px solid var(--line)}.row:first-child{border-top:0}
.row>summary{display:grid;grid-template-columns:14px 18px minmax(0,1fr) 160px 70px 84px 76px;gap:2px 10px;padding:7px 13px;align-items:baseline;font-size:13.5px}
.row>summary:hover,.row[open]>summary{background:var(--band)}
.row .mark-of{font-weight:700;text-align:center}.row .name{font-weight:600;overflow-wrap:anywhere}
.row .n{text-align:right;color:var(--quiet);font-variant-numeric:tabular-nums;white-space:nowrap}
.row .outcome{font-size:12.5px}.row .why{grid-column:3/-1;color:var(--quiet);font-size:13px;overflow-wrap:anywhere}
.row.good .mark-of{color:var(--good)}.row.good .outcome{color:var(--quiet)}
.row.bad .mark-of,.row.bad .outcome{color:var(--bad)}.row.bad .why{color:var(--bad)}
.row.mark .mark-of,.row.mark .outcome{color:var(--mark)}.row.quiet .name,.row.quiet .outcome,.row.quiet .mark-of{color:var(--quiet)}
.row[open]>summary .why{display:none}
.row .body{padding:6px 16px 16px 46px;font-size:14px}
.row.plain>summary{grid-template-columns:14px minmax(0,1fr)}
.tag{display:inline-block;font-size:11.5px;font-weight:500;color:var(--quiet);border:1px solid var(--line);border-radius:99px;padding:0 8px;margin-left:6px}
.took{color:var(--quiet);font-size:12.5px}
.reasons{list-style:none;padding:0;margin:4px 0 10px}.reasons li{padding:3px 0 3px 12px;border-left:3px solid var(--bad);margin:4px 0;overflow-wrap:anywhere;white-space:pre-wrap}
.reasons b{margin-right:6px}
.look{margin:10px 0}.look code{display:block;user-select:all;-webkit-user-select:all;padding:6px 11px;border:1px solid var(--line);border-radius:6px;background:var(--band);overflow-x:auto;white-space:pre}
.body h3{margin:16px 0 4px}.body h3:first-child{margin-top:4px}
.body pre{max-height:40vh}.body details{margin:8px 0}.body pre,.side{padding:8px 11px;border:1px solid var(--line);border-radius:6px;background:var(--band)}
.checks{width:100%;margin-top:2px}.checks td{vertical-align:top;overflow-wrap:anywhere}.checks td:first-child{width:20px;text-align:center;font-weight:700}
.checks .good td:first-child{color:var(--good)}.checks .bad td:first-child,.checks .bad td{color:var(--bad)}.checks .quiet td{color:var(--quiet)}
td.r,th.r{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
thead th{color:var(--quiet);font-weight:600;font-size:12px;white-space:nowrap}
tr.bad td{color:var(--bad)}tr.mark td{color:var(--mark)}tr.strong td{font-weight:650}
.wide{overflow-x:auto}.wide table{min-width:52%}.wide td:first-child{overflow-wrap:anywhere;min-width:90px}
.divergence{margin:10px 0 4px}.divergence>p{margin:2px 0 8px;overflow-wrap:anywhere}
.kind{display:inline-block;padding:0 8px;border-radius:5px;font-size:12px;font-weight:650;color:var(--on-bar);background:var(--bad);margin-right:6px}
.sides{display:grid;grid-template-columns:1fr 1fr;gap:10px}.side{min-width:0}.side h4{margin:0 0 4px}
.side pre{border:0;padding:0;margin:0;background:none;max-height:46vh}
.side .place{color:var(--quiet);font-size:12px;margin:6px 0 0;overflow-wrap:anywhere}
del,ins{text-decoration:none;border-radius:3px;padding:1px 0;box-decoration-break:clone;-webkit-box-decoration-break:clone}
del{background:color-mix(in srgb,var(--bad) 20%,transparent);box-shadow:inset 0 -2px var(--bad)}ins{background:color-mix(in srgb,var(--good) 20%,transparent);box-shadow:inset 0 -2px var(--good)}
.out{color:var(--quiet);font-style:italic;font-family:ui-sans-serif,system-ui,sans-serif;font-size:12px}
.idle{border-left:3px solid var(--mark);padding:2px 0 2px 14px}.idle dt{color:var(--ink);font-size:14px;font-weight:600;overflow-wrap:anywhere}.idle dd{color:var(--quiet);font-size:13px;margin-bottom:6px}
.chances{width:100%;max-width:860px;margin:4px 0 2px;border-collapse:collapse}.chances td,.chances th{white-space:nowrap}
.chances td:first-child{white-space:normal;overflow-wrap:anywhere;min-width:90px}.chances .span{width:30%;min-width:130px}.chances .reach-of{color:var(--quiet);font-variant-numeric:tabular-nums;font-weight:400}
.chances svg{display:block;width:100%;height:16px}
.axis{stroke:var(--line)}.reach{stroke:var(--quiet);stroke-width:5;stroke-linecap:butt;opacity:.55}.dot{stroke:var(--model);stroke-width:4;vector-effect:non-scaling-stroke}
@media(max-width:640px){
.row>summary{grid-template-columns:14px 18px minmax(0,1fr) auto;padding:8px 9px}.row>summary .n{display:none}.row .why{grid-column:3/-1}
.row .outcome{text-align:right}.row .body{padding:4px 10px 14px}.sides{grid-template-columns:1fr}.checks tr{display:grid;grid-template-columns:22px minmax(0,1fr) auto;border-bottom:1px solid var(--line)}.checks td{border:0}.checks td:last-child{grid-column:2/-1}.checks td:last-child:empty{display:none}.chances .span{min-width:110px}
}
@media print{.row,.divergence{break-inside:avoid}.side pre{max-height:none}.rows{overflow:visible}}
"""
