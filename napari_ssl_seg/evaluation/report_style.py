"""The look of the report: one column, system fonts, light and dark, prints well."""

from __future__ import annotations

STYLE = """
:root { --text:#1b1f24; --dim:#5b6570; --line:#dfe3e8; --back:#fff; --panel:#f6f8fa; --accent:#0072b2; color-scheme:light dark; }
@media (prefers-color-scheme:dark) {
  :root { --text:#e6e9ed; --dim:#9aa5b1; --line:#333b45; --back:#14181d; --panel:#1c2229; --accent:#56b4e9; } }
* { box-sizing:border-box; }
body { margin:0; background:var(--back); color:var(--text);
  font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif; }
main { max-width:1080px; margin:0 auto; padding:40px 28px 80px; }
header { border-bottom:1px solid var(--line); padding-bottom:20px; }
.kicker { color:var(--dim); font-size:13px; margin:0; }
h1 { font-size:30px; line-height:1.2; margin:6px 0 10px; letter-spacing:-.01em; }
h2 { font-size:20px; margin:44px 0 12px; }
h3 { font-size:16px; margin:26px 0 8px; }
h3 small { font-weight:400; color:var(--dim); margin-left:6px; }
h4 { margin:14px 0 2px; font-size:13px; color:var(--dim); font-weight:600; }
p { max-width:72ch; }
.lead { font-size:18px; margin:0 0 18px; }
.tiles { list-style:none; display:flex; flex-wrap:wrap; gap:10px; margin:0; padding:0; }
.tiles li { background:var(--panel); border:1px solid var(--line); border-radius:8px; padding:6px 14px; color:var(--dim); font-size:13px; }
.tiles b { color:var(--text); font-size:18px; margin-right:4px; font-variant-numeric:tabular-nums; }
.scroll { overflow-x:auto; margin:14px 0 22px; }
table { border-collapse:collapse; font-variant-numeric:tabular-nums; min-width:50%; }
caption { text-align:left; color:var(--dim); font-size:13px; padding-bottom:6px; }
th,td { padding:6px 14px 6px 0; text-align:right; white-space:nowrap; border-bottom:1px solid var(--line); vertical-align:top; }
td { padding-left:8px; }
th:first-child,td:first-child { text-align:left; }
thead th { font-weight:600; font-size:13px; color:var(--dim); border-bottom:2px solid var(--line); }
tbody th { font-weight:500; }
.scroll th:first-child { position:sticky; left:0; background:var(--back); }
td b { font-weight:700; }
td.words { text-align:left; white-space:normal; color:var(--dim); font-size:13px; min-width:26ch; }
.sd,small { color:var(--dim); }
.swatch { display:inline-block; width:10px; height:10px; border-radius:3px; margin-right:8px; }
figure { margin:18px 0; }
figcaption { color:var(--dim); font-size:13px; margin:2px 0 6px; }
figcaption b { color:var(--text); }
.chart { width:100%; height:auto; display:block; }
.chart text { fill:var(--dim); font:12px system-ui,-apple-system,"Segoe UI",Arial,sans-serif; }
.chart .grid { stroke:var(--line); stroke-width:1; fill:none; }
.chart .whisker { stroke:var(--text); stroke-width:1.3; fill:none; }
.chart .mark { fill:var(--text); }
.legend { display:flex; flex-wrap:wrap; gap:4px 20px; font-size:13px; margin:6px 0 0; }
.cells { display:flex; flex-wrap:wrap; gap:12px; }
.cells figure { margin:0; width:188px; }
.cells figcaption b { display:block; overflow-wrap:anywhere; }
.cells figcaption { min-height:44px; }
.pair { display:grid; grid-template-columns:repeat(auto-fit,minmax(420px,1fr)); gap:4px 28px; }
.pair figure { margin:10px 0; min-width:0; }
.cells img { display:block; width:100%; border-radius:4px; border:3px solid var(--frame); background:#000; }
details { border:1px solid var(--line); border-radius:8px; padding:8px 14px; margin:8px 0; }
summary { cursor:pointer; }
dl { display:grid; grid-template-columns:max-content 1fr; gap:2px 18px; font-size:13px; margin:8px 0; }
dt { color:var(--dim); } dd { margin:0; overflow-wrap:anywhere; }
@media print { main { max-width:none; padding:0; } section { break-inside:avoid-page; } details { border:none; } }
"""
