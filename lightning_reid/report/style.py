"""How a page looks: one column, for phones first, light or dark as the reader's system is."""

STYLE = """
:root { --text: #1d2125; --dim: #5c6670; --line: #d9dee3; --page: #fff; --panel: #f4f6f8;
  --accent: #14663a; --bad: #c4371b; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ec; --dim: #9aa5b0; --line: #363d44;
  --page: #15181b; --panel: #1f2429; --accent: #7ed3a1; --bad: #ff8a70; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1.25rem 1rem 4rem; }
h1, h2, h3 { line-height: 1.25; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; }
h2 { font-size: 1.35rem; margin: 3rem 0 0; padding-top: 1.25rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 2rem 0 0; }
p { margin: .25rem 0 .75rem; overflow-wrap: anywhere; }
.dim { color: var(--dim); }
.bad { border-left: .25rem solid var(--bad); padding-left: .6rem; max-width: 46rem; }
.wide { max-width: 46rem; }
a { color: var(--accent); }
nav { margin-top: 1rem; display: flex; flex-wrap: wrap; gap: .4rem 1.2rem; }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem;
  margin: 1.25rem 0; padding: 0; list-style: none; }
.numbers li { background: var(--panel); border-radius: .5rem; padding: .75rem .9rem; }
.numbers span { display: block; color: var(--dim); font-size: .85rem; line-height: 1.35; }
.numbers b { display: block; font-size: 1.6rem; line-height: 1.3; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; -webkit-overflow-scrolling: touch; }
figure { margin: .75rem 0 0; }
img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: .25rem; }
@media (max-width: 700px) { img.large { max-width: none; width: 560px; }
  th, td { padding: .35rem .45rem; } }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: left;
  white-space: nowrap; }
th { color: var(--dim); font-weight: 600; white-space: normal; vertical-align: bottom; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--page); }
td:first-child, th:first-child { padding-left: 0; white-space: normal; min-width: 4rem; }
td { vertical-align: top; }
.number { text-align: right; }
small { display: block; color: var(--dim); font-size: .8rem; line-height: 1.2; }
pre { background: var(--panel); border-radius: .5rem; padding: .75rem .9rem; margin: .5rem 0;
  overflow-x: auto; font: .85rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
pre.command { white-space: pre-wrap; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .3rem 1rem; }
dt { color: var(--dim); }
dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
summary { cursor: pointer; color: var(--accent); padding: .3rem 0; }
@media print { .scroll { overflow: visible; } }
"""
