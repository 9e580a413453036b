// What a user does with an item: by a form, or at once beside a recommendation.
import * as api from "../api.js";
import { choice, el, field, fill } from "../dom.js";
import { latest, problem, titleOf } from "../parts.js";
import { t } from "../words.js";

const now = () => Date.now() / 1000;
let forms = 0;

export function eventForm(user, changed) {
  const options = el("datalist", { id: `items-${++forms}` });
  const item = el("input", { name: "item", required: true, autocomplete: "off", list: options.id });
  const type = choice([["like", "like"]], "like");
  const value = el("input", { name: "value", type: "number", step: "any" });
  const say = el("div", { role: "status" });
  const suggest = latest((signal) => api.search({ query: item.value.trim(), limit: 8, fields: ["title"] }, signal), (answer, error) =>
    error || fill(options, answer.items.map((entry) => el("option", { value: entry.item_id }, titleOf(entry)))));
  item.addEventListener("input", () => item.value.trim().length > 1 && suggest(250));
  api.overview().then((seen) => fill(type, seen.event_types.map((name) => el("option", { value: name, selected: name === "like" }, name)))).catch(() => {});

  const form = el("form", { class: "row", onsubmit: async (event) => {
    event.preventDefault();
    const made = { user_id: user, item_id: item.value.trim(), type: type.value, timestamp: now() };
    if (value.value !== "") made.value = Number(value.value);
    await send(made, changed, say);
  } }, field(t("people.event.item"), item, { class: "wide" }), options, field(t("people.event.type"), type),
  field(t("people.event.value"), value, { class: "narrow" }), el("button", { class: "main" }, t("people.event.add")));
  return el("section", { class: "card" }, el("h2", {}, t("people.event")), form, say);
}

// Two buttons beside an item of an answer; the event carries the answer's id, so that it counts for it.
export function reactions(user, answer, changed, say) {
  if (!api.may("ingest")) return undefined;
  const button = (entry, type, sign, label) => el("button", {
    type: "button", class: "quiet", "aria-label": t(label, { title: titleOf(entry) }), title: type,
    onclick: () => send({ user_id: user, item_id: entry.item_id, type, timestamp: now(), recommendation_id: answer.recommendation_id }, changed, say),
  }, sign);
  return (entry) => [button(entry, "like", "+", "people.like"), button(entry, "dislike", "−", "people.dislike")];
}

async function send(event, changed, say) {
  try {
    await api.addEvent(event);
    fill(say, el("p", { class: "good" }, t("people.event.added")));
    await changed();
  } catch (error) {
    fill(say, problem(error));
  }
}
