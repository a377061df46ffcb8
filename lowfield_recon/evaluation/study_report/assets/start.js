// Puts the parts together once the page is there.
function choiceForm(form) {
  const [metricLabel, metricSelect] = picker("metric", "Metric", data.metrics.map((m) => [m.name, m.title]), (v) => choose({ metric: v }));
  const [axisLabel, axisSelect] = picker("axis", "Shift", [["", "all"], ...data.axes.map((a) => [a.name, a.title])], (v) => choose({ axis: v }));
  const methods = make("fieldset", {}, make("legend", {}, "Methods"));
  const boxes = data.methods.map((m, i) => {
    const box = make("input", { type: "checkbox", id: `method-${i}` });
    box.addEventListener("change", () => {
      const others = choice.off.filter((name) => name !== m.name);
      choose({ off: box.checked ? others : [...others, m.name] });
    });
    const swatch = shape("svg", { class: "swatch", viewBox: "0 0 34 16", "aria-hidden": "true" },
      shape("g", { class: look(i) }, line(0, 8, 34, 8, {}), mark(i, 17, 8)));
    methods.append(make("label", {}, box, swatch, m.label));
    return box;
  });
  form.append(metricLabel, axisLabel, methods);
  form.hidden = false;
  return () => {
    metricSelect.value = choice.metric;
    axisSelect.value = choice.axis;
    boxes.forEach((box, i) => { box.checked = isShown(i); });
    const shown = boxes.filter((box) => box.checked).length;
    const shift = axisSelect.selectedOptions[0].textContent;
    byId("choice-status").textContent = `Figures show ${metricSelect.selectedOptions[0].textContent}; shift: ${shift}; ${shown} of ${boxes.length} methods.`;
  };
}

function scatterForm() {
  const form = make("form", { class: "choice", "aria-label": "What the marks show" });
  byId("scatter").querySelector("figcaption").append(form);
  return () => {
    const { c, found } = scatterRows();
    form.hidden = !found.length;
    if (!found.length) return;
    const [label, select] = picker("scatter", "Condition", found.map((i) => [data.conditions[i].name, data.conditions[i].label]), (v) => choose({ scatter: v }));
    select.value = data.conditions[c].name;
    const [showLabel, show] = picker("show", "Upwards", [["shifted", "score under the shift"], ["change", "change of the score"]], (v) => choose({ show: v }));
    show.value = choice.show;
    const focused = document.activeElement && document.activeElement.id;
    form.replaceChildren(label, showLabel);
    if (focused === "pick-scatter") select.focus();
    if (focused === "pick-show") show.focus();
  };
}

function startResults() {
  if (!data.metrics.length || !data.methods.length) return [];
  const redraws = [choiceForm(byId("choice")), scatterForm()].map((react) => { react(); return react; });
  redraws.push(figure("levels", curves(data.levels, false, "Score")));
  redraws.push(figure("degradation", curves(data.degradation, true, "Change")));
  redraws.push(figure("forest", forest), figure("scatter", scatter), scatterTable);
  byId("scatter-values").addEventListener("toggle", scatterTable);
  watch(["metric", "axis", "off"], () => redraws.forEach((react) => react()));
  watch(["scatter", "show"], () => [redraws[1], redraws[5], redraws[6]].forEach((react) => react()));
  if (byId("calibration")) {
    const redraw = figure("calibration", calibration);
    watch(["off"], redraw);
    redraws.push(redraw);
  }
  return redraws;
}

function startTables() {
  const holders = [...document.querySelectorAll(".table")];
  const filters = holders.map((holder) => { sortable(holder); return filterable(holder); });
  const follow = () => {
    filters.forEach((set) => set({ metric: choice.metric, axis: choice.axis }));
    for (const part of document.querySelectorAll("[data-only-metric]")) part.hidden = part.dataset.onlyMetric !== choice.metric;
  };
  follow();
  watch(["metric", "axis"], follow);
  return follow;
}

function startViewer() {
  if (!data.panels.length) return [];
  const follow = viewerControls();
  const redraw = () => { follow(); showImages(); };
  redraw();
  watch(["shift", "image", "method", "with", "view"], redraw);
  watch(["swipe"], () => { follow(); if (byId("stage").place) byId("stage").place(Number(choice.swipe)); });
  return [redraw];
}

readAddress();
const everything = [...startResults(), startTables(), ...startViewer()];
window.addEventListener("hashchange", () => { if (readAddress()) everything.forEach((react) => react()); });
document.documentElement.dataset.ready = "yes";
