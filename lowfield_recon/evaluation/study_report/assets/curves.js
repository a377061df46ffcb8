// Scores and their changes over the levels of a shift, and calibration.
function curve(rows, axis, signed, name) {
  return (width, readout) => {
    const q = metric();
    const about = data.metrics[q];
    const used = rows.filter((r) => r[2] === q && isShown(r[0]) && axis.conditions.includes(r[1]));
    const limits = range(used.flatMap((r) => [r[3], r[4], r[5]]).concat(signed ? [0] : []));
    if (!limits || !used.some((r) => r[3] !== null)) return null;
    const shown = axis.conditions.filter((c) => used.some((r) => r[1] === c));
    const labels = shown.map((c) => data.conditions[c].level);
    const [left, right, top] = [56, width - 10, 20];
    const step = (right - left) / shown.length;
    const longest = Math.max(...labels.map((l) => Math.min(l.length, 24)));
    const turned = longest * 7 > step;
    const bottom = 224;
    const height = bottom + (turned ? 24 + longest * 4.2 : 26) + (axis.unit ? 16 : 0);
    const at = (c) => left + (shown.indexOf(c) + 0.5) * step;
    const to = scale(limits, [bottom, top + 6]);
    const title = `${name} in ${about.title} over ${axis.title}`;
    const svg = canvas(width, height, `${title}; the table below holds the numbers`);
    svg.append(text(0, 12, about.title + (about.unit ? ` [${about.unit}]` : ""), { class: "soft" }));
    const trained = shown.map((c, i) => (axis.trained.includes(c) ? i : -1)).filter((i) => i >= 0);
    if (trained.length) {
      const [first, last] = [trained[0], trained.at(-1)];
      svg.append(shape("rect", { class: "trained", x: left + first * step, y: top, width: (last - first + 1) * step, height: bottom - top }));
    }
    yAxis(svg, to, limits, left, right);
    if (signed) svg.append(line(left, to(0), right, to(0), { class: "zero" }));
    shown.forEach((c, i) => {
      const words = labels[i].length > 24 ? `${labels[i].slice(0, 23)}…` : labels[i];
      const [x, y] = [at(c), bottom + 18];
      svg.append(text(x, y, words, turned
        ? { "text-anchor": "end", transform: `rotate(-32 ${x.toFixed(1)} ${y})` }
        : { "text-anchor": "middle" }));
    });
    if (axis.unit) svg.append(text(right, height - 3, axis.unit, { "text-anchor": "end", class: "soft" }));
    const methods = [...new Set(used.map((r) => r[0]))].sort((a, b) => a - b);
    const points = [];
    methods.forEach((m, i) => {
      const group = shape("g", { class: look(m), "data-series": m });
      const aside = (i - (methods.length - 1) / 2) * Math.min(7, (0.7 * step) / methods.length);
      const own = shown.map((c) => used.find((r) => r[0] === m && r[1] === c))
        .filter((r) => r && r[3] !== null)
        .map((r) => ({ row: r, x: at(r[1]) + aside, y: to(r[3]) }));
      group.append(shape("polyline", { points: own.map((p) => `${p.x.toFixed(1)},${p.y.toFixed(1)}`).join(" ") }));
      for (const { row: [, c, , mean, low, high], x, y } of own) {
        if (low !== null && high !== null) group.append(line(x, to(low), x, to(high), { class: "bar" }));
        group.append(mark(m, x, y, { extra: data.conditions[c].paired ? "" : "hollow" }));
        points.push({
          x, y, series: m,
          text: `${data.methods[m].label}, ${data.conditions[c].label}: ${about.title} ` +
            `${number(mean, about.decimals, signed)}${within(low, high, about.decimals, signed)}`,
        });
      }
      svg.append(group);
    });
    readable(svg, points, readout);
    return svg;
  };
}

const curves = (rows, signed, name) => () =>
  axes().map((axis) => ({ title: axis.title, paint: curve(rows, axis, signed, name) }));

function calibration() {
  const conditions = [...new Set(data.calibration.map((r) => r[1]))];
  return conditions.map((c) => ({
    title: data.conditions[c].label,
    paint: (width, readout) => {
      const rows = data.calibration.filter((r) => r[1] === c && isShown(r[0]) && r[3] !== null);
      if (!rows.length) return null;
      const size = Math.min(width - 60, 320);
      const svg = canvas(width, size + 66, `Calibration for ${data.conditions[c].label}; the table below holds the numbers`);
      const [left, top, bottom] = [48, 26, size + 26];
      const [tx, ty] = [scale([0, 1], [left, left + size]), scale([0, 1], [bottom, top])];
      yAxis(svg, ty, [0, 1], left, left + size);
      xAxis(svg, tx, [0, 1], top, bottom);
      svg.append(line(tx(0), ty(0), tx(1), ty(1), { class: "zero" }));
      svg.append(text(0, 12, "share that holds the truth", { class: "soft" }));
      svg.append(text(left + size, bottom + 34, "promised share", { "text-anchor": "end", class: "soft" }));
      const points = [];
      for (const m of new Set(rows.map((r) => r[0]))) {
        const own = rows.filter((r) => r[0] === m).map((r) => ({ promised: r[2], kept: r[3], x: tx(r[2]), y: ty(r[3]) }));
        const group = shape("g", { class: look(m), "data-series": m });
        group.append(shape("polyline", { points: own.map((p) => `${p.x.toFixed(1)},${p.y.toFixed(1)}`).join(" ") }));
        for (const { promised, kept, x, y } of own) {
          group.append(mark(m, x, y));
          points.push({ x, y, series: m, text: `${data.methods[m].label}: intervals of ${number(100 * promised, 0)} % hold the truth in ${number(100 * kept, 1)} % of pixels` });
        }
        svg.append(group);
      }
      readable(svg, points, readout);
      return svg;
    },
  }));
}
