// Tables sort by a click on a heading, numbers first from the largest, what is missing always last. Parts that are
// closed open for the printer and close again. Without scripts the page is whole all the same.
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
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const part of opened) part.open = true;
});
addEventListener("afterprint", () => { for (const part of opened) part.open = false; });
