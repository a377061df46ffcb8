// Two images of one object: beside each other, as errors, or one over the other.
function panelsHere() {
  return data.panels.filter((p) => p.condition === choice.shift);
}

function panelHere() {
  const found = panelsHere();
  return found[Math.min(Number(choice.image), found.length - 1)];
}

function methodHere() {
  const named = data.methods.findIndex((m) => m.name === choice.method);
  return Math.max(0, named);
}

function otherHere() {
  if (choice.with === "reference") return "r";
  return data.methods.findIndex((m) => `method:${m.name}` === choice.with);
}

function picture(kind, panel, who, caption) {
  const key = who === "r" ? `i${panel.number}-r` : `${kind}${panel.number}-${who}`;
  const source = byId(key);
  const box = make("figure");
  if (source) {
    box.append(make("img", { src: source.src, alt: source.alt, width: source.getAttribute("width"), height: source.getAttribute("height") }));
  } else {
    const failure = panel.failures[who];
    box.append(make("p", { class: "absent" }, failure ? `Failed: ${failure}` : "There is no such picture."));
  }
  box.append(make("figcaption", {}, make("strong", {}, caption)));
  return box;
}

const nameOf = (who) => (who === "r" ? "Reference" : data.methods[who].label);

function scoresOf(panel, method) {
  const c = data.conditions.findIndex((x) => x.name === panel.condition);
  const isReference = data.conditions[c].axis === "";
  return data.metrics.flatMap((about, q) => {
    const keys = isReference
      ? data.conditions.map((_, other) => `${method},${other},${q}`) : [`${method},${c},${q}`];
    for (const key of keys) {
      const row = (data.pairs[key] ?? []).find(([image, seed]) =>
        (data.images[image] ?? image) === panel.image && seed === panel.seed);
      const value = row && (isReference ? row[2] : row[3]);
      if (value !== undefined && value !== null) {
        return [`${about.title} ${number(value, about.decimals)}${about.unit ? ` ${about.unit}` : ""}`];
      }
    }
    return [];
  });
}

function swipeStage(stage, panel, below, above) {
  const [first, second] = [below, above].map((who) => picture("i", panel, who, ""));
  const images = [first, second].map((box) => box.querySelector("img"));
  if (images.includes(null)) {
    stage.append(picture("i", panel, below, nameOf(below)), picture("i", panel, above, nameOf(above)));
    return;
  }
  const edge = make("div", { class: "edge" });
  const pair = make("div", { class: "pair" }, ...images, edge);
  function place(share) {
    images[1].style.clipPath = `inset(0 0 0 ${share}%)`;
    edge.style.left = `${share}%`;
  }
  const drag = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const box = pair.getBoundingClientRect();
    const share = Math.round((100 * (event.clientX - box.left)) / box.width);
    choose({ swipe: String(Math.min(100, Math.max(0, share))) });
  };
  pair.addEventListener("pointerdown", drag);
  pair.addEventListener("pointermove", drag);
  images.forEach((image) => { image.draggable = false; });
  stage.append(make("figure", {}, pair, make("figcaption", {}, make("strong", {}, `Left: ${nameOf(below)}. Right: ${nameOf(above)}.`))));
  place(Number(choice.swipe));
  stage.place = place;
}

function showImages() {
  const stage = byId("stage");
  const panel = panelHere();
  const [method, other] = [methodHere(), otherHere()];
  stage.replaceChildren();
  stage.place = null;
  stage.classList.toggle("swipe", choice.view === "swipe");
  if (choice.view === "swipe") swipeStage(stage, panel, other, method);
  else if (choice.view === "difference") {
    if (other !== "r") stage.append(picture("e", panel, other, `Error of ${nameOf(other)}`));
    stage.append(picture("e", panel, method, `Error of ${nameOf(method)}`));
  } else {
    stage.append(picture("i", panel, other, nameOf(other)), picture("i", panel, method, nameOf(method)));
    if (byId(`e${panel.number}-${method}`)) stage.append(picture("e", panel, method, `Error of ${nameOf(method)}`));
    if (byId(`l${panel.number}-${method}`)) stage.append(picture("l", panel, method, `Sparsity-level map of ${nameOf(method)}, 0 to ${panel.map}`));
    if (byId(`u${panel.number}-${method}`)) stage.append(picture("u", panel, method, `Standard deviation of ${nameOf(method)}, 0 to ${panel.std}`));
  }
  const ends = byId("error-scale").querySelectorAll("span");
  ends[0].textContent = `−${panel.error} (${panel.share} % of white)`;
  ends[1].textContent = `+${panel.error}`;
  byId("error-scale").hidden = choice.view === "swipe";
  byId("map-scale").hidden = choice.view !== "side" || !["l", "u"].some((kind) => byId(`${kind}${panel.number}-${method}`));
  const label = data.conditions.find((c) => c.name === panel.condition).label;
  const failed = panel.failures[method] ? [`failed: ${panel.failures[method]}`] : [];
  byId("viewer-status").textContent = [
    `${label}, ${panel.image}${seedText(panel)}: ${nameOf(method)}`,
    ...scoresOf(panel, method), ...failed,
  ].join("; ");
}

function slider(key, title, react) {
  const input = make("input", { type: "range", id: `pick-${key}`, min: 0, step: 1, "aria-label": title });
  const told = make("span", { class: "told" });
  input.addEventListener("input", () => react(Number(input.value)));
  const label = make("label", {}, make("span", {}, `${title}: `, told), input);
  const set = (count, value, words) => {
    input.max = Math.max(0, count - 1);
    input.value = value;
    input.disabled = count < 2;
    input.setAttribute("aria-valuetext", words);
    told.textContent = words;
  };
  return { label, set };
}

const seedText = (panel) => (panel.seed === "" ? "" : `, seed ${panel.seed}`);

// Built once: a slider that is replaced while it is dragged would stop.
function viewerControls() {
  const form = byId("viewer-choice");
  const conditions = [...new Set(data.panels.map((p) => p.condition))];
  const [shift, shiftSelect] = picker("shift", "Condition",
    conditions.map((name) => [name, data.conditions.find((c) => c.name === name).label]), changeShift);
  const image = slider("image", "Slice", (i) => choose({ image: String(i) }));
  const method = slider("method", "Method", (i) => choose({ method: data.methods[i].name }));
  const [other, otherSelect] = picker("with", "Compared with",
    [["reference", "Reference"], ...data.methods.map((m) => [`method:${m.name}`, m.label])], (v) => choose({ with: v }));
  const views = make("fieldset", {}, make("legend", {}, "View"));
  const radios = [["side", "Side by side"], ["difference", "Difference"], ["swipe", "Swipe"]].map(([value, title]) => {
    const input = make("input", { type: "radio", name: "view", value, id: `view-${value}` });
    input.addEventListener("change", () => choose({ view: value }));
    views.append(make("label", {}, input, title));
    return input;
  });
  const swipe = slider("swipe", "Edge", (v) => choose({ swipe: String(v) }));
  form.append(shift, image.label, method.label, other, views, swipe.label);
  form.hidden = false;
  return () => {
    const here = panelsHere();
    const i = Math.min(Number(choice.image), here.length - 1);
    const m = methodHere();
    shiftSelect.value = choice.shift;
    otherSelect.value = choice.with;
    image.set(here.length, i, `${here[i].image}${seedText(here[i])} (${i + 1} of ${here.length})`);
    method.set(data.methods.length, m, `${data.methods[m].label} (${m + 1} of ${data.methods.length})`);
    swipe.set(101, choice.swipe, `${choice.swipe} %`);
    swipe.label.hidden = choice.view !== "swipe";
    radios.forEach((radio) => { radio.checked = radio.value === choice.view; });
  };
}

// The same object is looked for under the other condition.
function changeShift(name) {
  const now = panelHere();
  const there = data.panels.filter((p) => p.condition === name);
  const same = there.findIndex((p) => p.image === now.image && p.seed === now.seed);
  choose({ shift: name, image: String(Math.max(0, same)) });
}
