"use strict";
// Tables sort by a click on a heading; without scripts they stay in the order they were written.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, at) => {
    const text = row.cells[at].textContent.trim();
    const number = parseFloat(text.replace(/,/g, ""));
    return /^[-+]?[\d.]/.test(text) && !Number.isNaN(number) ? number : text;
  };
  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows].sort((one, two) => {
        const [a, b] = [value(one, at), value(two, at)];
        if (typeof a === "number" && typeof b === "number") return down ? b - a : a - b;
        if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
        return down ? b.localeCompare(a) : a.localeCompare(b);
      });
      table.tBodies[0].append(...rows);
    });
  });
}
