"""The look of a report: light and dark, from phone to laptop, for screen and paper."""

STYLE = """
:root { --ink: #1c2126; --soft: #57606a; --page: #fbfbfa; --line: #d5d9dd; --accent: #0b5cad; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ea; --soft: #9aa4ae; --page: #14171a; --line: #363d44; --accent: #7fb8f0; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 1.5rem clamp(0.9rem, 3vw, 2.5rem) 4rem;
  color: var(--ink); background: var(--page); font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: clamp(1.5rem, 4vw, 2.1rem); line-height: 1.2; margin: 0 0 0.6rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 0.4rem; padding-top: 1.2rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.08rem; margin: 1.6rem 0 0.3rem; }
p, li, dd { max-width: 68ch; }
p.label { max-width: 90ch; }
a { color: var(--accent); overflow-wrap: anywhere; }
a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 3px solid var(--accent);
  outline-offset: 2px; }
.skip { position: absolute; left: -999rem; }
.skip:focus { position: static; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.3rem 1.4rem; padding: 0; list-style: none; }
.label { color: var(--soft); font-size: 0.92rem; margin: 0.8rem 0 0.5rem; }
.label strong { color: var(--ink); }
.grid { display: grid; gap: 0.9rem;
  grid-template-columns: repeat(auto-fit, minmax(min(9.5rem, 100%), 1fr)); }
.gallery { grid-template-columns: repeat(8, minmax(0, 1fr)); margin-bottom: 1.2rem; }
.wide { grid-column: span 2; }
.scale { display: flex; align-items: center; gap: 0.6rem; font-size: 0.92rem; max-width: 30rem; }
.scale img { flex: 1; min-width: 4rem; height: 1rem; margin: 0; }
figure { margin: 0; min-width: 0; }
img { display: block; width: 100%; height: auto; background: #000; margin-bottom: 2px; }
figcaption { font-size: 0.85rem; color: var(--soft); line-height: 1.4; padding-top: 0.25rem; }
figcaption strong { color: var(--ink); display: block; }
.scroll { overflow-x: auto; margin: 0.4rem 0 1.2rem; }
table { border-collapse: collapse; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.35rem 0.9rem 0.35rem 0; border-bottom: 1px solid var(--line);
  text-align: right; white-space: nowrap; }
th:first-child { text-align: left; }
thead th { font-weight: 600; color: var(--soft); vertical-align: bottom; }
tbody th { font-weight: 600; }
details { margin: 0.9rem 0; }
summary { cursor: pointer; font-weight: 600; padding: 0.3rem 0; }
dl { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: 0.25rem 1.2rem;
  font-size: 0.92rem; margin: 0.5rem 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 60rem) { .gallery { grid-template-columns: repeat(4, minmax(0, 1fr)); } }
@media (max-width: 34rem) {
  .grid { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: 0.5rem; }
}
@media print { body { max-width: none; } details { display: block; } }
"""
