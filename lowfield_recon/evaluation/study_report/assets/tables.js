// Rows sorted by the head that is pressed, and filtered by metric, shift and method.
function sortKey(row, column) {
  const cell = row.cells[column];
  return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
}

function before(a, b, sign) {
  const [missingA, missingB] = [a === "–" || a === "", b === "–" || b === ""];
  if (missingA || missingB) return missingA - missingB; // rows without a value come last either way
  if (typeof a === "number" && typeof b === "number") return sign * (a - b);
  return sign * String(a).localeCompare(String(b), "en", { numeric: true });
}

function sortable(holder) {
  const heads = [...holder.querySelectorAll("thead th")];
  const body = holder.querySelector("tbody");
  heads.forEach((head, column) => {
    const button = make("button", { type: "button", class: "sort" }, head.textContent);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const upwards = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", upwards ? "ascending" : "descending");
      const keyed = [...body.rows].map((row) => [sortKey(row, column), row]);
      keyed.sort((a, b) => before(a[0], b[0], upwards ? 1 : -1));
      body.append(...keyed.map(([, row]) => row));
    });
  });
}

const filterNames = {
  metric: ["Metric", () => data.metrics.map((m) => [m.name, m.title])],
  axis: ["Shift", () => data.axes.map((a) => [a.name, a.title])],
  method: ["Method", () => data.methods.map((m) => [m.name, m.label])],
};

function filterable(holder) {
  const kinds = holder.dataset.filters.split(" ").filter(Boolean);
  const rows = [...holder.querySelectorAll("tbody tr")];
  if (!kinds.length || rows.length < 2) return () => {};
  const selects = {};
  const bar = make("div", { class: "filters", role: "group", "aria-label": "Rows of the table" });
  const count = make("p", { class: "label", role: "status" });
  function apply() {
    let shown = 0;
    for (const row of rows) {
      // The reference condition belongs to every shift.
      row.hidden = kinds.some((kind) => selects[kind].value !== "" &&
        row.dataset[kind] !== selects[kind].value && !(kind === "axis" && row.dataset.axis === ""));
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = `Shows ${shown} of ${rows.length} rows.`;
  }
  for (const kind of kinds) {
    const [title, options] = filterNames[kind];
    const [label, select] = picker(`${holder.id}-${kind}`, title, [["", "all"], ...options()], apply);
    selects[kind] = select;
    bar.append(label);
  }
  const fold = make("details", {}, make("summary", {}, "Choose rows"), bar);
  holder.prepend(fold, count);
  return (changes) => {
    for (const [kind, value] of Object.entries(changes)) if (selects[kind]) selects[kind].value = value;
    apply();
  };
}
