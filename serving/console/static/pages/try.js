// A history made by hand: nothing of it is stored.
import * as api from "../api.js";
import { el, field, fill, foreign } from "../dom.js";
import { FIELDS, items, latest, problem, titleOf } from "../parts.js";
import { t } from "../words.js";

export function tryOut(page) {
  const chosen = new Map();
  const query = el("input", { type: "search", autocomplete: "off" });
  const found = el("div", { "aria-live": "polite" });
  const picked = el("ul", { class: "plain" });
  const answers = el("div", { "aria-live": "polite" });

  const look = latest((signal) => (query.value.trim()
    ? api.search({ query: query.value, limit: 10, fields: FIELDS }, signal)
    : api.recommendFor({ history: [], limit: 10, fields: FIELDS }, signal)), (answer, error) =>
    fill(found, error ? problem(error) : items({ ...answer, next: null }, { act: (entry) => el("button", { type: "button", "aria-label": t("try.add.item", { title: titleOf(entry) }), onclick: () => add(entry) }, t("try.add")) })));
  const recommend = latest(
    (signal) => api.recommendFor({ history: [...chosen.keys()].map((item_id) => ({ item_id, type: "like" })), limit: 10, explain: true, fields: FIELDS }, signal),
    (answer, error) => fill(answers, error ? problem(error) : [el("p", { class: "lead" }, t("people.answered", { strategy: answer.strategy, ms: answer.ms })), items(answer)]));

  const add = (entry) => { chosen.set(entry.item_id, titleOf(entry)); draw(); };
  function draw() {
    fill(picked, chosen.size ? [...chosen].map(([id, title]) => el("li", {}, foreign("span", title), " ",
      el("button", { type: "button", class: "quiet", "aria-label": t("try.remove", { title }), onclick: () => { chosen.delete(id); draw(); } }, "×"))) : el("li", {}, t("try.none")));
    if (chosen.size) recommend(50);
    else fill(answers, el("p", { class: "lead" }, t("try.none")));
  }

  query.addEventListener("input", () => look(300));
  const form = el("form", { onsubmit: (event) => { event.preventDefault(); look(); } }, field(t("try.find"), query));
  page.append(el("p", { class: "lead" }, t("try.lead")), el("div", { class: "halves" },
    el("section", { class: "card" }, form, found),
    el("section", { class: "card" }, el("h2", {}, t("try.chosen")), picked, el("h2", {}, t("people.recommendations")), answers)));
  draw();
  look();
}
