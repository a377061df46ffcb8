// What all parts share: the study's numbers, elements, number texts, and the choice kept in the address.
const data = JSON.parse(document.getElementById("study-data").textContent);
const byId = (key) => document.getElementById(key);

function attributes(node, values) {
  for (const [name, value] of Object.entries(values)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  return node;
}

function make(tag, values = {}, ...children) {
  const node = attributes(document.createElement(tag), values);
  node.append(...children);
  return node;
}

function shape(tag, values = {}, ...children) {
  const node = attributes(document.createElementNS("http://www.w3.org/2000/svg", tag), values);
  node.append(...children);
  return node;
}

function number(value, decimals, signed = false) {
  if (value === null || value === undefined) return "not available";
  const text = value.toFixed(decimals);
  return (signed && value >= 0 ? "+" : "") + text.replace("-", "−");
}

function within(low, high, decimals, signed = false) {
  if (low === null || high === null) return "";
  return ` [${number(low, decimals, signed)} to ${number(high, decimals, signed)}]`;
}

const choice = {
  metric: data.metrics.length ? data.metrics[0].name : "",
  axis: "", // every shift
  off: [], // methods that are not drawn
  scatter: "", // condition of the scatter plot; empty for the last of the shift
  show: "shifted", // its vertical axis
  shift: data.panels.length ? data.panels[0].condition : "",
  image: "0", // which panel of that condition
  method: "",
  with: "reference",
  view: "side",
  swipe: "50",
};
const standard = JSON.stringify(choice);

const allowed = {
  metric: (v) => data.metrics.some((m) => m.name === v),
  axis: (v) => v === "" || data.axes.some((a) => a.name === v),
  scatter: (v) => v === "" || data.conditions.some((c) => c.name === v),
  show: (v) => ["shifted", "change"].includes(v),
  shift: (v) => data.panels.some((p) => p.condition === v),
  image: (v) => /^[0-9]{1,4}$/.test(v),
  method: (v) => v === "" || data.methods.some((m) => m.name === v),
  with: (v) => v === "reference" || data.methods.some((m) => `method:${m.name}` === v),
  view: (v) => ["side", "difference", "swipe"].includes(v),
  swipe: (v) => /^[0-9]{1,3}$/.test(v) && Number(v) <= 100,
};

// A link inside the page has no "=" in its fragment and changes nothing here.
function readAddress() {
  const fragment = location.hash.slice(1);
  if (!fragment.includes("=")) return false;
  const found = new URLSearchParams(fragment);
  Object.assign(choice, JSON.parse(standard));
  for (const [key, check] of Object.entries(allowed)) {
    if (found.has(key) && check(found.get(key))) choice[key] = found.get(key);
  }
  choice.off = found.getAll("off").filter((v) => data.methods.some((m) => m.name === v));
  return true;
}

function writeAddress() {
  const usual = JSON.parse(standard);
  const parts = new URLSearchParams();
  for (const key of Object.keys(allowed)) {
    if (choice[key] !== usual[key]) parts.set(key, choice[key]);
  }
  for (const name of choice.off) parts.append("off", name);
  const text = parts.toString();
  history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
}

const watchers = [];
const watch = (keys, react) => watchers.push({ keys, react });

function choose(changes) {
  const changed = Object.keys(changes).filter((key) => choice[key] !== changes[key]);
  if (!changed.length) return;
  Object.assign(choice, changes);
  writeAddress();
  for (const { keys, react } of watchers) if (keys.some((key) => changed.includes(key))) react();
}

const metric = () => data.metrics.findIndex((m) => m.name === choice.metric);
const axes = () => data.axes.filter((a) => choice.axis === "" || a.name === choice.axis);
const isShown = (method) => !choice.off.includes(data.methods[method].name);

function picker(key, title, options, react) {
  const select = make("select", { id: `pick-${key}` });
  for (const [value, text] of options) select.append(make("option", { value }, text));
  select.addEventListener("change", () => react(select.value));
  return [make("label", { class: "pick" }, title, select), select];
}
