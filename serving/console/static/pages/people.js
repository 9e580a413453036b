// One user: history, interests, recommendations with their reasons, and an event to add.
import * as api from "../api.js";
import { choice, el, field, fill, foreign, slider } from "../dom.js";
import { FIELDS, items, latest, problem, shares, showItem, titleOf } from "../parts.js";
import { number, t, when } from "../words.js";
import { eventForm, reactions } from "./event.js";

export const STRATEGIES = ["auto", "blend", "taste", "interests", "mean", "popular"];
const MOST_EVENTS = 200;
const MOST_INTERESTS = 12;

export function people(page, user) {
  const body = el("div", {}, user ? null : el("section", { class: "card" }, el("p", { class: "lead" }, t("people.start"))));
  const side = el("div", {}, picker(user));
  page.append(el("p", { class: "lead" }, t("people.lead")), el("div", { class: "columns wider" }, side, body));
  if (user) one(side, body, user);
}

const go = (user) => { if (user) location.hash = `#/people/${encodeURIComponent(user)}`; };

function picker(user) {
  const name = el("input", { name: "user", autocomplete: "off", value: user });
  const found = el("ul", { class: "plain users", "aria-live": "polite" });
  const form = el("form", { class: "row", onsubmit: (event) => { event.preventDefault(); go(name.value.trim()); } },
    field(t("people.user"), name, { class: "wide" }), el("button", { class: "main" }, t("people.show")));
  if (!api.may("admin")) return el("section", { class: "card" }, form, el("p", { class: "lead" }, t("people.key")));
  const list = latest((signal) => api.users(user && name.value === user ? "" : name.value.trim(), signal),
    (answer, error) => fill(found, error ? problem(error) : names(answer.users, user)));
  name.addEventListener("input", () => list(200));
  list();
  return el("section", { class: "card" }, form, el("h2", {}, t("people.pick")), found);
}

function names(users, shown) {
  if (!users.length) return el("li", {}, t("people.none"));
  return users.map(({ user_id, events }) => el("li", {},
    foreign("button", user_id, { class: "quiet", type: "button", "aria-current": user_id === shown ? "true" : null, onclick: () => go(user_id) }),
    el("small", {}, t("people.events", { n: number(events) }))));
}

function one(side, body, user) {
  const history = el("section", { class: "card" });
  const interests = el("section", { class: "card" });
  const list = el("div", { "aria-live": "polite" });
  const say = el("div", { role: "status" });
  const strategy = choice(STRATEGIES.map((option) => [option, option]), "auto");
  const query = el("input", { type: "search", autocomplete: "off" });
  const [diversity, diverse] = slider(t("people.diversity"), 0);
  const [personalization, personal] = slider(t("people.personalization"), 0.5);
  let before = null;

  const words = () => query.value.trim();
  const question = (signal) => (words()
    ? api.search({ query: words(), user_id: user, personalization: Number(personalization.value), limit: 10, fields: FIELDS }, signal)
    : api.recommend(user, { limit: 10, explain: true, fields: FIELDS, strategy: strategy.value, diversity: Number(diversity.value) }, signal));

  const ask = latest(question, (answer, error) => {
    if (error) return fill(list, problem(error));
    const known = before;
    before = new Set(answer.items.map((entry) => entry.item_id));
    fill(list, el("p", { class: "lead" }, t("people.answered", { strategy: answer.strategy, ms: answer.ms })),
      items(answer, { act: reactions(user, answer, changed, say), isNew: (entry) => known && !known.has(entry.item_id) }));
  });

  const turned = () => {
    personalization.disabled = !words();
    strategy.disabled = diversity.disabled = Boolean(words());
    before = null; // what another setting brings is not news
    ask(150);
  };
  for (const control of [strategy, diversity, query, personalization]) control.addEventListener("input", turned);
  personalization.disabled = true;

  async function past() {
    if (!api.may("admin")) return;
    const [events, profile] = await Promise.allSettled([api.history(user), api.profile(user)]);
    fill(history, el("h2", {}, t("people.history")), events.status === "fulfilled" ? timeline(events.value.events) : problem(events.reason));
    fill(interests, el("h2", {}, t("people.interests")), profile.status === "fulfilled" ? named(profile.value) : problem(profile.reason));
  }

  function changed() {
    ask();
    return past();
  }

  fill(body, el("section", { class: "card" }, el("h2", {}, t("people.recommendations")),
    el("div", { class: "row" }, field(t("people.strategy"), strategy), diverse, field(t("people.query"), query, { class: "wide" }), personal), say, list));
  if (api.may("ingest")) side.append(eventForm(user, changed));
  if (api.may("admin")) side.append(interests, history);
  changed();
}

function timeline(events) {
  if (!events.length) return el("p", {}, t("people.history.none"));
  return el("ol", { class: "timeline", tabindex: "0", "aria-label": t("people.history") }, events.slice(0, MOST_EVENTS).map((event) => el("li", {},
    el("time", {}, when(event.timestamp)), " ", el("span", { class: event.weight < 0 ? "tag bad" : "tag" }, event.value === null ? event.type : `${event.type} ${number(event.value)}`),
    el("small", {}, t("people.weight", { n: number(event.weight) }), event.placed ? null : ` · ${t("people.unplaced")}`),
    foreign("button", titleOf(event), { class: "quiet", type: "button", onclick: () => showItem(event.item_id) }))));
}

function named(profile) {
  if (!profile.interests.length) return el("p", {}, t("people.interests.none"));
  const all = profile.interests.slice(0, MOST_INTERESTS).map(({ category, share }) => [category, share]);
  if (profile.uncategorised > 0) all.push([t("people.uncategorised"), profile.uncategorised]);
  return shares(all);
}
