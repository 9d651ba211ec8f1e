"""The report's page; report/write.py fills in <!--SUMMARY-->, <!--CONTENTS--> and <!--SECTIONS-->."""

STYLE = """\
:root { --page: #fdfdfe; --ink: #1c1d1e; --soft: #5c6066; --line: #d9dce0; --alike: #d5efe5; color-scheme: light dark;
  --logistic_regression: #0072b2; --finetune: #d55e00; --train_from_scratch: #009e73; }
@media (prefers-color-scheme: dark) {
  :root { --page: #16181b; --ink: #e6e7e9; --soft: #a4a9b0; --line: #363a40; --alike: #134536;
    --logistic_regression: #5ab4ee; --finetune: #f58a3c; --train_from_scratch: #2fc79b; }
}
@media print { :root { --page: #fff; --ink: #000; --soft: #333; --line: #bbb; --alike: #e3f4ed; color-scheme: light;
  --logistic_regression: #0072b2; --finetune: #d55e00; --train_from_scratch: #009e73; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 76rem; background: var(--page);
  color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .6rem; }
p, ul { max-width: 52rem; margin: .5rem 0; }
ul { padding-left: 1.2rem; }
li { margin: .25rem 0; }
a { color: inherit; text-underline-offset: .15em; }
nav { margin: 1.2rem 0; border-block: 1px solid var(--line); padding: .4rem 0; }
nav ul { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; list-style: none; padding: 0; max-width: none;
  font-size: .9rem; }
small, figcaption, .caption { color: var(--soft); font-size: .85rem; }
.caption { margin-top: 1rem; }
figure { margin: 0 0 1.2rem; }
figure svg { display: block; width: 100%; height: auto; min-width: 30rem; max-width: 48rem; }
figure.wide svg { min-width: 62rem; max-width: none; }
details { border-bottom: 1px solid var(--line); }
details[open] { padding-bottom: 1rem; }
summary { cursor: pointer; padding: .35rem 0; font-weight: 500; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; overflow-wrap: normal; }
th, td { padding: .3rem .5rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { vertical-align: bottom; line-height: 1.2; }
thead button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer;
  text-align: inherit; }
thead button::after { content: " ↕"; color: var(--soft); opacity: .45; }
th[aria-sort=ascending] button::after { content: " ↑"; opacity: 1; }
th[aria-sort=descending] button::after { content: " ↓"; opacity: 1; }
tbody th { font-weight: 500; position: sticky; left: 0; background: var(--page);
  min-width: 7rem; max-width: 14rem; overflow-wrap: anywhere; }
@media (min-width: 50rem) { tbody th { min-width: 9.5rem; } }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
thead .number { white-space: normal; }
.alike { background: var(--alike); }
.text { min-width: 11rem; max-width: 26rem; overflow-wrap: anywhere; }
:focus-visible { outline: 2px solid var(--logistic_regression); outline-offset: 2px; }
@media print {
  body { max-width: none; padding: 0; font-size: 9pt; }
  nav { display: none; }
  .scroll { overflow: visible; }
  table { font-size: 6.5pt; }
  th, td { padding: .15rem .25rem; }
  thead button::after { content: none !important; }
  tbody th { position: static; min-width: 0; }
  .text { min-width: 0; }
  figure, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  figure svg, figure.wide svg { max-width: 100%; min-width: 0; }
  figure:not(.wide) svg { max-width: 14cm; }
  .alike { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""

# Tables sort by a click on a heading, numbers first from the largest, what is missing always last. Parts that are
# closed open for the printer. Without scripts the page is whole all the same.
SCRIPT = """\
for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(table, head, column));
  });
}
function sort(table, head, column) {
  const value = row => {
    const cell = row.cells[column], text = cell.textContent;
    if (text === "–") return null;
    return cell.dataset.value !== undefined ? Number(cell.dataset.value) : text;
  };
  const rows = [...table.tBodies[0].rows];
  const numeric = rows.every(row => value(row) === null || typeof value(row) === "number");
  const now = head.getAttribute("aria-sort");
  const up = now ? now === "descending" : !numeric;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const compare = (a, b) => numeric ? a - b : String(a).localeCompare(String(b), undefined, {numeric: true});
  rows.sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return up ? compare(x, y) : compare(y, x);
  });
  table.tBodies[0].append(...rows);
}
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(part => { part.open = true; }));
"""

PAGE = f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Do better networks transfer better?</title>
<style>
{STYLE}</style>
</head>
<body>
<h1>Do better networks transfer better?</h1>
<main>
<!--SUMMARY-->
<nav aria-label="Contents"><ul><!--CONTENTS--></ul></nav>
<!--SECTIONS-->
</main>
<script>
{SCRIPT}</script>
</body>
</html>
"""
