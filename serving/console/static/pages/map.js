// The catalogue in two dimensions, a user's history and recommendations marked on it.
import * as api from "../api.js";
import { el, field, fill, foreign } from "../dom.js";
import { problem, showItem } from "../parts.js";
import { number, t } from "../words.js";

const COLOURS = ["#2456c7", "#c2410c", "#15803d", "#7c3aed", "#b8860b", "#0e7490", "#be185d", "#64748b"];
const SIZE = [1000, 640];
const NEAR = 12; // canvas units within which the pointer means an item

export function drawMap(place, found) {
  const canvas = el("canvas", { width: SIZE[0], height: SIZE[1], role: "img", "aria-label": t("eval.map.label", { n: found.places.length }) });
  const tip = el("div", { class: "tip", hidden: true, dir: "auto" });
  const list = el("div", {});
  const say = el("div", { role: "status" });
  const user = el("input", { autocomplete: "off" });
  const at = new Map(found.places.map((one) => [one.item_id, one]));
  const shown = { places: found.places, past: [], next: [], only: null, ...colours(found.places) };
  const paint = () => draw(canvas, shown);

  const legend = el("div", { class: "legend" }, shown.names.map((name, n) => el("button", {
    type: "button", class: "quiet", "aria-pressed": "false",
    onclick: (event) => {
      shown.only = shown.only === name ? null : name;
      for (const one of legend.children) one.setAttribute("aria-pressed", String(shown.only !== null && one === event.currentTarget));
      paint();
    },
  }, el("span", { class: "swatch", style: { background: COLOURS[n] } }), foreign("bdi", name ?? t("eval.map.other")))));

  canvas.addEventListener("click", (event) => { const hit = nearest(canvas, event, found.places); if (hit) showItem(hit.item_id); });
  canvas.addEventListener("pointermove", (event) => {
    const hit = nearest(canvas, event, found.places);
    tip.hidden = !hit;
    canvas.style.cursor = hit ? "pointer" : "default";
    if (hit) {
      tip.textContent = hit.category ? `${hit.title || hit.item_id} · ${hit.category}` : hit.title || hit.item_id;
      tip.style.left = `${Math.min(event.offsetX + 12, canvas.clientWidth - 200)}px`;
      tip.style.top = `${event.offsetY + 14}px`;
    }
  });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });

  const form = el("form", { class: "row", onsubmit: async (event) => {
    event.preventDefault();
    try {
      const name = user.value.trim();
      const [past, next] = await Promise.all([api.may("admin") ? api.history(name) : { events: [] }, api.recommend(name, { limit: 20 })]);
      const places = (some) => [...new Set(some.map((one) => one.item_id))].map((id) => at.get(id)).filter(Boolean);
      Object.assign(shown, { past: places(past.events), next: places(next.items) });
      paint();
      fill(list, el("details", {}, el("summary", {}, t("eval.map.list")), marked(t("eval.map.past"), shown.past), marked(t("eval.map.next"), shown.next)));
      fill(say);
    } catch (error) {
      fill(say, problem(error));
    }
  } }, field(t("people.user"), user), el("button", { class: "main" }, t("people.show")));

  const all = found.items > found.places.length ? el("p", { class: "lead" }, t("eval.map.part", { n: number(found.places.length), all: number(found.items) })) : null;
  fill(place, el("h2", {}, t("eval.map")), el("p", { class: "lead" }, t("eval.map.lead")), all, form, say, el("div", { class: "map" }, canvas, tip), legend, list);
  paint();
}

// The commonest categories get a colour each; null stands for all others.
function colours(places) {
  const counted = new Map();
  for (const one of places) counted.set(one.category, (counted.get(one.category) || 0) + 1);
  const ranked = [...counted].filter(([name]) => name !== null).sort((a, b) => b[1] - a[1]).map(([name]) => name);
  const names = ranked.slice(0, COLOURS.length - 1);
  return { names: ranked.length > names.length || counted.has(null) ? [...names, null] : names, named: new Set(names) };
}

function marked(title, places) {
  return [el("h3", {}, title), el("ul", { class: "plain" }, places.map((one) => el("li", {},
    foreign("button", one.title || one.item_id, { type: "button", class: "quiet", onclick: () => showItem(one.item_id) }))))];
}

const position = (one) => [(one.x * 0.96 + 1) * SIZE[0] / 2, (1 - one.y * 0.96) * SIZE[1] / 2];

function draw(canvas, { places, past, next, only, names, named }) {
  const pen = canvas.getContext("2d");
  const group = (one) => (named.has(one.category) ? one.category : null);
  const colour = (one) => COLOURS[names.indexOf(group(one))];
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink");
  pen.clearRect(0, 0, ...SIZE);
  for (const one of places) {
    pen.globalAlpha = only !== null && group(one) !== only ? 0.06 : past.length || next.length ? 0.25 : 0.75;
    pen.fillStyle = colour(one);
    circle(pen, one, 3);
    pen.fill();
  }
  pen.globalAlpha = 1;
  pen.lineWidth = 2.5;
  pen.strokeStyle = ink;
  for (const one of past) {
    circle(pen, one, 6);
    pen.stroke();
  }
  for (const one of next) {
    const [x, y] = position(one);
    pen.fillStyle = colour(one);
    pen.beginPath();
    pen.moveTo(x, y - 8); pen.lineTo(x + 8, y); pen.lineTo(x, y + 8); pen.lineTo(x - 8, y); pen.closePath();
    pen.fill();
    pen.stroke();
  }
}

function circle(pen, one, radius) {
  pen.beginPath();
  pen.arc(...position(one), radius, 0, 7);
}

function nearest(canvas, event, places) {
  const box = canvas.getBoundingClientRect();
  const [x, y] = [(event.clientX - box.left) * SIZE[0] / box.width, (event.clientY - box.top) * SIZE[1] / box.height];
  let best = null;
  let least = NEAR;
  for (const one of places) {
    const [px, py] = position(one);
    const away = Math.hypot(px - x, py - y);
    if (away < least) [best, least] = [one, away];
  }
  return best;
}
