// Search with filters and facets; an item opens beside what is near it.
import * as api from "../api.js";
import { choice, el, field, fill, slider } from "../dom.js";
import { Filters } from "../filters.js";
import { FIELDS, items, latest, problem } from "../parts.js";
import { named, t } from "../words.js";

const MODES = ["semantic", "lexical", "hybrid"];

export function explore(page, text) {
  const query = el("input", { type: "search", name: "query", autocomplete: "off", value: text });
  const mode = choice(MODES.map((name) => [name, t(`mode.${name}`)]), "hybrid");
  const user = el("input", { name: "user", autocomplete: "off" });
  const [personalization, personal] = slider(t("explore.personalization"), 0.2);
  const found = el("section", { class: "card", "aria-live": "polite" }, el("p", { class: "lead" }, t("loading")));
  const side = el("section", { class: "card" });
  const filters = new Filters(side, (wait) => ask(wait));
  personalization.disabled = true;

  const ask = latest((signal) => (words() ? api.search(body(), signal) : api.recommendFor(popular(), signal)), (answer, error) => {
    if (error) return fill(found, problem(error));
    filters.show(answer.facets || {});
    const head = words() ? t("explore.answered", { n: answer.items.length, mode: named("mode", answer.strategy), ms: answer.ms }) : null;
    fill(found, el("h2", {}, t(words() ? "explore.found" : "explore.popular")), head ? el("p", { class: "lead" }, head) : null,
      answer.items.length ? items(answer) : el("p", {}, t(filters.tree ? "explore.none.filter" : "explore.none")));
  });

  const words = () => query.value.trim();
  const popular = () => ({ history: [], limit: 20, fields: FIELDS, filter: filters.tree });

  function body() {
    const asked = { query: query.value, mode: mode.value, limit: 20, fields: FIELDS, facets: filters.facets, filter: filters.tree };
    const name = user.value.trim();
    return name ? { ...asked, user_id: name, personalization: Number(personalization.value) } : asked;
  }

  function changed(wait) {
    personalization.disabled = !user.value.trim();
    history.replaceState(null, "", `#/explore${words() ? `/${encodeURIComponent(query.value)}` : ""}`); // a reload finds it again
    ask(wait);
  }

  const form = el("form", { class: "row card", role: "search", onsubmit: (event) => { event.preventDefault(); changed(0); } },
    field(t("explore.query"), query, { class: "wide" }), field(t("explore.mode"), mode),
    field(t("explore.user"), user), personal, el("button", { class: "main" }, t("explore.go")));
  query.addEventListener("input", () => changed(300));
  for (const control of [mode, user, personalization]) control.addEventListener("input", () => changed(200));
  page.append(el("p", { class: "lead" }, t("explore.lead")), form, el("div", { class: "columns" }, side, found));
  api.overview().then((seen) => filters.declare(seen.attributes), () => {}).then(() => ask());
}
