// Frames, scales and marks of figures, and how keys and pointers reach the marks.
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((f) => f * power).find((s) => s >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) found.push(i * step);
  const decimals = Math.max(0, Math.min(8, -Math.floor(Math.log10(step) + 1e-9)));
  const extra = Math.abs(step * 10 ** decimals - Math.round(step * 10 ** decimals)) > 1e-6 ? 1 : 0;
  return { found, decimals: decimals + extra };
}

function range(values, margin = 0.06) {
  const known = values.filter((v) => v !== null && v !== undefined);
  if (!known.length) return null;
  let low = Math.min(...known);
  let high = Math.max(...known);
  if (high - low < 1e-9 * Math.max(1, Math.abs(high))) {
    const half = Math.max(Math.abs(high) * 0.05, 1e-3);
    [low, high] = [low - half, high + half];
  }
  const room = (high - low) * margin;
  return [low - room, high + room];
}

const scale = ([low, high], [start, end]) => (value) => start + ((value - low) / (high - low)) * (end - start);
const look = (method) =>
  `series k${method % 8} dash${Math.floor(method / 8) % 3}${method === data.reference ? " main" : ""}`;

function mark(method, x, y, { size = 4, kind = method % 5, extra = "" } = {}) {
  const s = size;
  const outline = [
    null,
    `M${-s},${-s}H${s}V${s}H${-s}Z`,
    `M0,${-s * 1.3}L${s * 1.2},${s}H${-s * 1.2}Z`,
    `M0,${-s * 1.4}L${s * 1.4},0L0,${s * 1.4}L${-s * 1.4},0Z`,
    `M0,${s * 1.3}L${s * 1.2},${-s}H${-s * 1.2}Z`,
  ][kind];
  const values = { class: `mark ${extra}`, transform: `translate(${x.toFixed(1)},${y.toFixed(1)})` };
  return outline ? shape("path", { ...values, d: outline }) : shape("circle", { ...values, r: s });
}

function text(x, y, words, values = {}) {
  return shape("text", { x: x.toFixed(1), y: y.toFixed(1), ...values }, words);
}

const line = (x1, y1, x2, y2, values) => shape("line", { x1, y1, x2, y2, ...values });

function yAxis(svg, to, limits, left, right, count = 5) {
  const { found, decimals } = ticks(...limits, count);
  for (const value of found) {
    const y = to(value);
    svg.append(line(left, y, right, y, { class: "grid-line" }));
    svg.append(text(left - 6, y + 4, number(value, decimals), { "text-anchor": "end", class: "soft" }));
  }
}

function xAxis(svg, to, limits, top, bottom, count = 5) {
  const { found, decimals } = ticks(...limits, count);
  for (const value of found) {
    const x = to(value);
    svg.append(line(x, top, x, bottom, { class: "grid-line" }));
    svg.append(text(x, bottom + 16, number(value, decimals), { "text-anchor": "middle", class: "soft" }));
  }
}

// Every mark can be read with the keyboard: left and right along a series, up and down between them.
function readable(svg, points, readout) {
  if (!points.length) return;
  let current = -1;
  const ring = shape("circle", { class: "ring", r: 9, visibility: "hidden" });
  svg.append(ring);
  attributes(svg, { tabindex: "0", role: "application", "aria-roledescription": "interactive figure" });
  function show(i) {
    current = i;
    const point = points[i];
    attributes(ring, { cx: point.x, cy: point.y, visibility: "visible" });
    svg.dataset.active = point.series;
    for (const group of svg.querySelectorAll(".series")) {
      group.classList.toggle("active", group.dataset.series === String(point.series));
    }
    readout.textContent = point.text;
  }
  function clear() {
    current = -1;
    ring.setAttribute("visibility", "hidden");
    delete svg.dataset.active;
  }
  function neighbour(key) {
    if (current < 0) return 0;
    const here = points[current];
    const along = { ArrowRight: 1, ArrowLeft: -1 }[key];
    const own = points.map((p, i) => i).filter((i) => points[i].series === here.series);
    if (along) return own[Math.min(own.length - 1, Math.max(0, own.indexOf(current) + along))];
    const order = [...new Set(points.map((p) => p.series))];
    const next = order[order.indexOf(here.series) + (key === "ArrowDown" ? 1 : -1)];
    if (next === undefined) return current;
    const others = points.map((p, i) => i).filter((i) => points[i].series === next);
    return others.reduce((best, i) =>
      Math.abs(points[i].x - here.x) < Math.abs(points[best].x - here.x) ? i : best);
  }
  svg.addEventListener("keydown", (event) => {
    if (event.key === "Escape") clear();
    else if (event.key === "Home") show(0);
    else if (event.key === "End") show(points.length - 1);
    else if (event.key.startsWith("Arrow")) show(neighbour(event.key));
    else return;
    event.preventDefault();
  });
  svg.addEventListener("blur", clear);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const [, , width] = svg.getAttribute("viewBox").split(" ").map(Number);
    const factor = width / box.width;
    const x = (event.clientX - box.left) * factor;
    const y = (event.clientY - box.top) * factor;
    const gaps = points.map((p) => Math.hypot(p.x - x, p.y - y));
    const nearest = gaps.indexOf(Math.min(...gaps));
    if (gaps[nearest] < 40 && nearest !== current) show(nearest);
  });
  svg.addEventListener("pointerleave", () => document.activeElement === svg || clear());
}

function canvas(width, height, label) {
  return shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
}

// Draws facets as wide as there is room, and again when the room changes.
function figure(key, facets) {
  const root = byId(key);
  const place = root.querySelector(".drawn");
  const readout = root.querySelector(".readout");
  readout.hidden = false;
  readout.dataset.hint = readout.textContent;
  let seen = 0;
  function redraw() {
    const found = facets();
    readout.textContent = readout.dataset.hint;
    place.classList.toggle("single", found.length === 1);
    place.replaceChildren(...(found.length ? found : [{ title: "", paint: null }]).map(({ title, paint }) => {
      const box = make("div", { class: "facet" });
      if (title) box.append(make("h4", {}, title));
      if (!paint) box.append(make("p", { class: "label" }, "There are no numbers for this choice."));
      return box;
    }));
    found.forEach(({ paint }, i) => {
      const box = place.children[i];
      const drawn = paint(Math.max(240, Math.floor(box.clientWidth)), readout);
      box.append(drawn ?? make("p", { class: "label" }, "There are no numbers for this choice."));
    });
    seen = place.clientWidth;
  }
  new ResizeObserver(() => {
    if (Math.abs(place.clientWidth - seen) > 1) redraw();
  }).observe(place);
  redraw();
  return redraw;
}
