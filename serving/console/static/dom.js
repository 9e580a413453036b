// Elements made from data. Everything that comes from a catalogue is set as text, never as markup.

export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = value;
    else if (name === "style") for (const [key, one] of Object.entries(value)) made.style.setProperty(key, one);
    else if (name in made && typeof value !== "string") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...kept(children));
  return made;
}

export function fill(parent, ...children) {
  parent.replaceChildren(...kept(children));
}

const kept = (children) => children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);

// Text of a catalogue or a user: its own direction, its whole length shown by style and not by cutting.
export function foreign(tag, text, properties = {}) {
  return el(tag, { dir: "auto", ...properties }, text);
}

export function bar(share, largest = 1, properties = {}) {
  const width = Math.min(100, (Math.abs(share) / (largest || 1)) * 100);
  return el("div", { class: share < 0 ? "bar negative" : "bar", "aria-hidden": "true", ...properties }, el("span", { style: { width: `${width}%` } }));
}

export function field(label, control, properties = {}) {
  return el("label", properties, label, control);
}

export function choice(options, selected, properties = {}) {
  return el("select", properties, options.map(([value, name]) => el("option", { value, selected: value === selected }, name)));
}

// A slider from 0 to 1 that says where it stands.
export function slider(label, value) {
  const input = el("input", { type: "range", min: "0", max: "1", step: "0.1", value: String(value) });
  const shown = el("span", { class: "number", "aria-hidden": "true" }, String(value)); // the slider says its value itself
  input.addEventListener("input", () => { shown.textContent = input.value; });
  return [input, field(el("span", {}, label, " ", shown), input)];
}
