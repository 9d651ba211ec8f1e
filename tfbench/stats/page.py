"""The report's page; stats/report.py fills in <!--SUMMARY--> and <!--SECTIONS-->."""

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Do better networks transfer better?</title>
<style>
:root { --page: #fdfdfe; --ink: #1c1d1e; --soft: #5c6066; --line: #d9dce0; color-scheme: light dark;
  --logistic_regression: #0072b2; --finetune: #d55e00; --train_from_scratch: #009e73; }
@media (prefers-color-scheme: dark) {
  :root { --page: #16181b; --ink: #e6e7e9; --soft: #a4a9b0; --line: #363a40;
    --logistic_regression: #5ab4ee; --finetune: #f58a3c; --train_from_scratch: #2fc79b; }
}
@media print { :root { --page: #fff; --ink: #000; --soft: #333; --line: #bbb; color-scheme: light;
  --logistic_regression: #0072b2; --finetune: #d55e00; --train_from_scratch: #009e73; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 72rem; background: var(--page);
  color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .6rem; }
p, ul { max-width: 48rem; margin: .5rem 0; }
ul { padding-left: 1.2rem; }
li { margin: .25rem 0; }
small, figcaption, .caption { color: var(--soft); font-size: .85rem; }
figure { margin: 0 0 1.2rem; }
figure svg { display: block; width: 100%; height: auto; min-width: 30rem; max-width: 44rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; overflow-wrap: normal; }
th, td { padding: .3rem .5rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { vertical-align: bottom; line-height: 1.2; }
th[scope=row] { font-weight: 500; position: sticky; left: 0; background: var(--page);
  min-width: 7rem; max-width: 14rem; overflow-wrap: anywhere; }
@media (min-width: 50rem) { th[scope=row] { min-width: 9.5rem; } }
.accuracies thead th:not(:first-child), .curves thead th:nth-child(n+4), .number {
  text-align: right; font-variant-numeric: tabular-nums; }
.selected { min-width: 11rem; }
.note { min-width: 12rem; max-width: 26rem; overflow-wrap: anywhere; }
@media print {
  body { max-width: none; padding: 0; font-size: 9pt; }
  .scroll { overflow: visible; }
  table { font-size: 6.5pt; }
  th, td { padding: .15rem .25rem; }
  th[scope=row] { position: static; min-width: 0; }
  figure, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  figure svg { max-width: 14cm; min-width: 0; }
}
</style>
</head>
<body>
<h1>Do better networks transfer better?</h1>
<main>
<!--SUMMARY-->
<!--SECTIONS-->
</main>
</body>
</html>
"""
