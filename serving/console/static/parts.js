// What several pages show: answers of items with their reasons, problems, dialogs.
import * as api from "./api.js";
import { bar, el, fill, foreign } from "./dom.js";
import { named, percent, score, t } from "./words.js";

export const FIELDS = ["title", "categories"];
const MOST_REASONS = 4;

export function problem(error) {
  return el("p", { class: "problem", role: "alert" }, error.message);
}

export function titleOf(entry) {
  return (entry.fields && entry.fields.title) || entry.title || entry.item_id;
}

// A list of items; `act` makes what stands beside each, `isNew` says which to mark. More pages are fetched when asked.
export function items(answer, { act, isNew } = {}) {
  const list = el("ol", { class: "items" }, answer.items.map((entry) => row(entry, act, isNew)));
  if (!answer.next) return list;
  let next = answer.next;
  const say = el("div", { role: "status" });
  const more = el("button", { type: "button", onclick: async () => {
    try {
      const page = await api.following(next);
      list.append(...page.items.map((entry) => row(entry, act)));
      next = page.next;
      if (!next) more.remove();
    } catch (error) {
      fill(say, problem(error));
    }
  } }, t("more"));
  return [list, more, say];
}

function row(entry, act, isNew) {
  const categories = (entry.fields && entry.fields.categories) || [];
  return el("li", {},
    el("div", {},
      foreign("button", titleOf(entry), { class: "title", type: "button", onclick: () => showItem(entry.item_id) }),
      el("div", {},
        isNew && isNew(entry) ? el("span", { class: "tag new" }, t("people.new")) : null,
        el("span", { class: "tag source" }, entry.source),
        categories.slice(0, 6).map((name) => foreign("span", name, { class: "tag" })))),
    el("div", { class: "score" }, el("span", { title: t("score") }, score(entry.score)), act ? el("div", { class: "acts" }, act(entry)) : null),
    because(parts(entry)));
}

// What the score is the sum of: past events, and what did not come from the user.
function parts({ because: reasons, prior, boost }) {
  const added = [["because.prior", prior], ["because.boost", boost]].filter(([, share]) => share);
  return [...(reasons || []), ...added.map(([name, share]) => ({ item_id: t(name), share }))];
}

function because(all) {
  if (!all.length) return null;
  all.sort((a, b) => Math.abs(b.share) - Math.abs(a.share));
  const largest = Math.max(...all.map((reason) => Math.abs(reason.share)));
  const listed = (some) => el("ul", { class: "because", "aria-label": t("because") }, some.map((reason) => {
    const name = reason.title || reason.item_id;
    return el("li", {}, el("span", { class: "name" }, foreign("bdi", name, { title: name }), reason.event_type ? el("small", {}, ` ${reason.event_type}`) : null),
      bar(reason.share, largest), el("span", { class: "number" }, score(reason.share)));
  }));
  return [listed(all.slice(0, MOST_REASONS)),
    all.length > MOST_REASONS ? el("details", { class: "rest" }, el("summary", {}, t("because.all", { n: all.length })), listed(all.slice(MOST_REASONS))) : null];
}

// Names with shares of one whole, drawn as bars.
export function shares(entries) {
  const largest = Math.max(...entries.map(([, share]) => share));
  return el("ul", { class: "because" }, entries.map(([name, share]) => el("li", {},
    foreign("span", name, { class: "name", title: name }), bar(share, largest), el("span", { class: "number" }, percent(share)))));
}

export function dialog(title, ...content) {
  const box = document.getElementById("dialog");
  fill(box, foreign("h2", title, { id: "dialog-title", class: "title" }), ...content,
    el("div", { class: "row end" }, el("button", { type: "button", onclick: () => box.close() }, t("close"))));
  if (!box.open) box.showModal();
  box.scrollTop = 0;
  return box;
}

const trail = []; // items opened one from another, so that one can go back

export async function showItem(id) {
  const box = document.getElementById("dialog");
  if (!box.open) trail.length = 0;
  trail.push(id);
  const content = el("div", {}, t("loading"));
  dialog(id, content);
  try {
    const [found, near] = await Promise.all([api.item(id), api.similar(id).catch(() => ({ items: [] }))]);
    box.querySelector("h2").textContent = found.title || t("item.untitled");
    const facts = Object.entries(found.attributes).map(([name, value]) =>
      el("tr", {}, el("th", { scope: "row" }, name), foreign("td", plain(value))));
    fill(content,
      el("p", {}, t("item.id"), " ", foreign("code", found.item_id)),
      el("div", {}, found.categories.map((name) => foreign("span", name, { class: "tag" }))),
      foreign("p", found.text, { class: "whole", tabindex: "0" }),
      facts.length ? el("table", {}, el("tbody", {}, facts)) : null,
      el("h2", {}, t("item.similar")), items(near),
      trail.length > 1 ? el("button", { type: "button", onclick: () => { trail.pop(); showItem(trail.pop()); } }, t("back")) : null);
  } catch (error) {
    fill(content, problem(error));
  }
}

function plain(value) {
  if (Array.isArray(value)) return value.map(plain).join(", ");
  if (value && typeof value === "object") return Object.entries(value).map(([name, one]) => `${name} ${one}`).join(", ");
  return String(value);
}

export function table(heads, rows, label) {
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, el("table", {},
    el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))), el("tbody", {}, rows)));
}

export function facts(kind, values) {
  return el("table", { class: "facts" }, el("tbody", {}, Object.entries(values).map(([name, value]) => el("tr", {},
    el("th", { scope: "row" }, named(kind, name)), value instanceof Node ? el("td", {}, value) : foreign("td", String(value))))));
}

export function sure(title, sentence, act) {
  const say = el("div", { role: "status" });
  const go = el("button", { type: "button", class: "main" }, t("yes"));
  const box = dialog(title, el("p", {}, sentence), el("p", {}, go), say);
  go.addEventListener("click", async () => {
    go.disabled = true;
    try {
      await act();
      box.close();
    } catch (error) {
      fill(say, problem(error));
      go.disabled = false;
    }
  });
}

// Ask only when the last change is a moment old, and drop the answer of an earlier question.
export function latest(question, show) {
  let running = null;
  let timer = 0;
  return (wait = 0) => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      if (running) running.abort();
      running = new AbortController();
      const mine = running;
      try {
        const answer = await question(mine.signal);
        if (mine === running) show(answer, null);
      } catch (error) {
        if (error.name !== "AbortError" && mine === running) show(null, error);
      }
    }, wait);
  };
}
