// Differences in differences, and the scatter plot with its table.
function forestRows() {
  const q = metric();
  const last = new Set(data.axes.map((a) => a.conditions.filter((c) => data.conditions[c].axis).at(-1)));
  const wanted = new Set(axes().flatMap((a) => a.conditions));
  return data.differences.filter((r) => r[2] === q && isShown(r[0]) && r[3] !== null &&
    wanted.has(r[1]) && (choice.axis !== "" || last.has(r[1]) || r[7] === 1));
}

function forest() {
  const rows = forestRows();
  const groups = [...new Set(axes().flatMap((a) => a.conditions))]
    .map((c) => ({ c, own: rows.filter((r) => r[1] === c) })).filter((g) => g.own.length);
  if (!groups.length) return [];
  return [{ title: "", paint: (width, readout) => paintForest(groups, rows, width, readout) }];
}

function paintForest(groups, rows, width, readout) {
  const about = data.metrics[metric()];
  const name = data.reference < 0 ? "the reference method" : data.methods[data.reference].label;
  const limits = range(rows.flatMap((r) => [r[3], r[4], r[5], 0]));
  const left = Math.min(190, width * 0.36);
  const to = scale(limits, [left + 8, width - 14]);
  const height = groups.reduce((sum, g) => sum + 26 + 20 * g.own.length, 0) + 66;
  const svg = canvas(width, height, `Differences in differences in ${about.title}; the table below holds the numbers`);
  const bottom = height - 46;
  xAxis(svg, to, limits, 4, bottom, width > 500 ? 6 : 3);
  svg.append(line(to(0), 4, to(0), bottom, { class: "zero" }));
  const [worse, better] = [`← suffers more than ${name}`, `suffers less than ${name} →`];
  if (typeof about.better === "boolean") {
    const [start, end] = about.better ? [worse, better] : [better.replace(" →", ""), worse.replace("← ", "")];
    svg.append(text(0, height - 14, about.better ? start : `← ${start}`, { class: "soft" }));
    svg.append(text(width, height - (width > 560 ? 14 : 1), about.better ? end : `${end} →`, { "text-anchor": "end", class: "soft" }));
  }
  const points = [];
  let y = 4;
  const room = Math.floor(left / 6.4);
  for (const { c, own } of groups) {
    y += 18;
    svg.append(text(0, y, data.conditions[c].label, { class: "strong" }));
    y += 8;
    for (const [m, , , mean, low, high, p, primary] of own) {
      y += 10;
      const label = data.methods[m].label;
      svg.append(text(8, y + 4, label.length > room ? `${label.slice(0, room - 1)}…` : label, primary ? { class: "strong" } : {}));
      const clear = low !== null && high !== null && (low > 0 || high < 0);
      const group = shape("g", { class: look(m), "data-series": points.length });
      if (low !== null && high !== null) group.append(line(to(low), y, to(high), y, { class: "bar" }));
      group.append(mark(m, to(mean), y, { kind: primary ? 3 : 0, size: primary ? 5 : 4, extra: clear ? "" : "hollow" }));
      svg.append(group);
      points.push({
        x: to(mean), y, series: points.length,
        text: `${label}, ${data.conditions[c].label}: ${number(mean, about.decimals, true)}` +
          `${within(low, high, about.decimals, true)} in ${about.title} compared with ${name}` +
          (p === null ? "" : `, p after correction ${p < 0.001 ? "below 0.001" : number(p, 3)}`) +
          (primary ? ", named in advance" : ""),
      });
      y += 10;
    }
  }
  readable(svg, points, readout);
  return svg;
}

// Conditions of the chosen shift that are paired image by image.
function scatterConditions() {
  const wanted = new Set(axes().flatMap((a) => a.conditions));
  const paired = new Set(Object.keys(data.pairs).map((key) => Number(key.split(",")[1])));
  return [...wanted].filter((c) => paired.has(c) && data.conditions[c].axis !== "");
}

function scatterRows() {
  const found = scatterConditions();
  const named = found.find((c) => data.conditions[c].name === choice.scatter);
  const c = named ?? found.at(-1);
  const q = metric();
  const rows = c === undefined ? [] : data.methods.flatMap((_, m) =>
    (isShown(m) ? data.pairs[`${m},${c},${q}`] ?? [] : [])
      .filter(([, , before, after]) => before !== null && after !== null)
      .map(([image, seed, before, after]) => ({
        m, image: data.images[image] ?? image, seed, before, after, value: choice.show === "change" ? after - before : after,
      })));
  return { c, rows, found };
}

function scatter() {
  const { c, rows } = scatterRows();
  if (!rows.length) return [];
  return [{ title: data.conditions[c].label, paint: (width, readout) => paintScatter(c, rows, width, readout) }];
}

function paintScatter(c, rows, width, readout) {
  const about = data.metrics[metric()];
  const isChange = choice.show === "change";
  const across = range(rows.map((r) => r.before));
  const up = range(rows.map((r) => r.value).concat(isChange ? [0] : []));
  const height = Math.min(440, Math.max(260, width * 0.75));
  const [left, right, top, bottom] = [56, width - 10, 26, height - 46];
  const [tx, ty] = [scale(across, [left, right]), scale(up, [bottom, top])];
  const svg = canvas(width, height, `${about.title} of every image under the reference condition and under ${data.conditions[c].label}; the table below holds the numbers`);
  yAxis(svg, ty, up, left, right);
  xAxis(svg, tx, across, top, bottom, width > 500 ? 6 : 4);
  if (isChange) svg.append(line(left, ty(0), right, ty(0), { class: "zero" }));
  else {
    const [low, high] = [Math.max(across[0], up[0]), Math.min(across[1], up[1])];
    if (high > low) svg.append(line(tx(low), ty(low), tx(high), ty(high), { class: "zero" }));
  }
  const unit = about.unit ? ` [${about.unit}]` : "";
  svg.append(text(0, 12, `${isChange ? "change of " : ""}${about.title} under the shift${unit}`, { class: "soft" }));
  svg.append(text(right, height - 8, `${about.title} under the reference condition${unit}`, { "text-anchor": "end", class: "soft" }));
  const points = [];
  for (const m of new Set(rows.map((r) => r.m))) {
    const group = shape("g", { class: look(m), "data-series": m });
    for (const row of rows.filter((r) => r.m === m).sort((a, b) => a.before - b.before)) {
      const [x, y] = [tx(row.before), ty(row.value)];
      group.append(mark(m, x, y, { size: 3.4, extra: "dot" }));
      points.push({
        x, y, series: m,
        text: `${data.methods[m].label}, ${row.image}${row.seed === "" ? "" : `, seed ${row.seed}`}: ${about.title} ` +
          `${number(row.before, about.decimals)} under the reference condition, ${number(row.after, about.decimals)} ` +
          `under the shift, ${number(row.after - row.before, about.decimals, true)}`,
      });
    }
    svg.append(group);
  }
  readable(svg, points, readout);
  return svg;
}

function scatterTable() {
  const fold = byId("scatter-values");
  if (!fold.open) return;
  const { c, rows } = scatterRows();
  const about = data.metrics[metric()];
  const body = make("tbody");
  for (const r of rows) {
    const cells = [r.before, r.after, r.after - r.before].map((v, i) =>
      make("td", { "data-value": v }, number(v, about.decimals, i === 2)));
    body.append(make("tr", {}, make("th", { scope: "row" }, data.methods[r.m].label),
      make("td", {}, r.image), make("td", {}, r.seed), ...cells));
  }
  const heads = ["Method", "Image", "Seed", "Reference condition", "Under the shift", "Change"]
    .map((word) => make("th", { scope: "col" }, word));
  const words = c === undefined ? "No images to compare." : `${about.title} of every image, ${data.conditions[c].label}.`;
  const table = make("table", {}, make("caption", {}, make("span", {}, words)), make("thead", {}, make("tr", {}, ...heads)), body);
  const region = make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": words }, table);
  const holder = make("div", { class: "table" }, region);
  fold.querySelector(".fill").replaceChildren(holder);
  sortable(holder);
}
