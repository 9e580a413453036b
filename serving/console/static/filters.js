// The filters of a search, from the declared attributes: values with their counts, ranges, a circle on the map.
import { el, field, fill, foreign } from "./dom.js";
import { t } from "./words.js";

const COUNTED = ["keyword", "boolean"];
const RANGED = ["integer", "float", "datetime"];
const MOST_FACETS = 12;
const MOST_VALUES = 8;

export class Filters {
  constructor(place, changed) {
    this.changed = changed;
    this.chosen = new Map(); // "attribute\u0000value" -> [attribute, value]
    this.ranges = new Map(); // attribute -> { gte, lte }
    this.circles = new Map(); // attribute -> { lat, lon, metres }
    this.attributes = {};
    this.values = el("div", {}, el("p", { class: "lead" }, t("explore.facets.none")));
    this.limits = el("div", {});
    this.clear = el("button", { type: "button", class: "quiet", hidden: true, onclick: () => this.forget() }, t("explore.clear"));
    place.append(el("h2", {}, t("explore.filters")), this.clear, this.values, this.limits);
  }

  declare(attributes) {
    this.attributes = attributes;
    fill(this.limits, Object.entries(attributes).map(([name, type]) =>
      RANGED.includes(type) ? this.range(name, type) : type === "geo" ? this.circle(name) : null));
  }

  // What is to be counted: what has values, and the numbers, of which the least and the greatest are shown.
  get facets() {
    const numbers = ["integer", "float"];
    const names = Object.keys(this.attributes).filter((name) => [...COUNTED, ...numbers].includes(this.attributes[name]));
    return [...new Set(["categories", ...names])].slice(0, MOST_FACETS);
  }

  get tree() {
    const clauses = [...this.chosen.values()].map(([name, value]) => ({ eq: { [name]: value } }));
    for (const [name, limits] of this.ranges) for (const [operator, value] of Object.entries(limits)) clauses.push({ [operator]: { [name]: value } });
    for (const [name, around] of this.circles) clauses.push({ geo_radius: { attribute: name, ...around } });
    return clauses.length ? { and: clauses } : undefined;
  }

  show(facets) {
    this.clear.hidden = !this.tree;
    const groups = Object.entries(facets).filter(([, facet]) => facet.values && facet.values.length);
    if (!groups.length) return fill(this.values, el("p", { class: "lead" }, t("explore.facets.none")));
    fill(this.values, groups.map(([name, facet]) => el("fieldset", { class: "facet" }, el("legend", {}, name),
      facet.values.slice(0, MOST_VALUES).map(({ value, count }) => this.value(name, value, count)))));
    for (const [name, facet] of Object.entries(facets)) {
      if (facet.min === undefined || facet.min === null) continue;
      const [low, high] = this.limits.querySelectorAll(`input[name="${name}"]`);
      if (low) [low.placeholder, high.placeholder] = [String(facet.min), String(facet.max)];
    }
  }

  value(name, value, count) {
    const id = `${name}\u0000${value}`;
    return el("button", {
      type: "button", "aria-pressed": String(this.chosen.has(id)),
      onclick: () => { if (!this.chosen.delete(id)) this.chosen.set(id, [name, value]); this.changed(0); },
    }, foreign("span", String(value)), el("span", { class: "number" }, String(count)));
  }

  range(name, type) {
    const input = (operator, label) => {
      const made = el("input", { name, type: type === "datetime" ? "date" : "number", step: type === "integer" ? "1" : "any" });
      made.addEventListener("input", () => { this.limit(name, operator, typed(made, type, operator)); this.changed(400); });
      return field(t(label, { name }), made);
    };
    return el("div", { class: "pair" }, input("gte", "range.from"), input("lte", "range.to"));
  }

  limit(name, operator, value) {
    const limits = { ...this.ranges.get(name), [operator]: value };
    if (value === undefined) delete limits[operator];
    if (Object.keys(limits).length) this.ranges.set(name, limits);
    else this.ranges.delete(name);
  }

  circle(name) {
    const inputs = ["geo.lat", "geo.lon", "geo.km"].map((label) => [label, el("input", { type: "number", step: "any" })]);
    const read = () => {
      const [lat, lon, km] = inputs.map(([, input]) => (input.value === "" ? undefined : Number(input.value)));
      if ([lat, lon, km].includes(undefined)) this.circles.delete(name);
      else this.circles.set(name, { lat, lon, metres: km * 1000 });
      this.changed(400);
    };
    return el("div", { class: "pair" }, inputs.map(([label, input]) => { input.addEventListener("input", read); return field(t(label, { name }), input); }));
  }

  forget() {
    for (const kept of [this.chosen, this.ranges, this.circles]) kept.clear();
    for (const input of this.limits.querySelectorAll("input")) input.value = "";
    this.changed(0);
  }
}

function typed(input, type, operator) {
  if (input.value === "") return undefined;
  if (type === "datetime") return `${input.value}T${operator === "gte" ? "00:00:00" : "23:59:59"}Z`;
  return type === "integer" ? Math.trunc(Number(input.value)) : Number(input.value);
}
