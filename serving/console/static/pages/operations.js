// What runs: counts, generations with what the gate said, what was set aside or refused, the encoder.
import * as api from "../api.js";
import { bar, el, fill, foreign } from "../dom.js";
import { facts, problem, sure, table } from "../parts.js";
import { age, named, number, t, when } from "../words.js";

const EVERY_MS = 2000;

export function operations(page) {
  const figures = el("dl", { class: "figures" });
  const building = el("div", { role: "status" });
  const encoder = el("section", { class: "card" });
  const generations = el("section", { class: "card" });
  const aside = el("section", { class: "card" });
  const refused = el("section", { class: "card" });
  page.append(el("p", { class: "lead" }, t("ops.lead")), el("section", { class: "card" }, figures, building), generations,
    el("div", { class: "halves" }, aside, refused), encoder);
  if (!api.may("admin")) {
    fill(aside, el("h2", {}, t("ops.aside.title")), el("p", { class: "lead" }, t("ops.key")));
    refused.remove();
  }
  let before = null;

  async function counts() {
    try {
      const seen = await api.overview();
      fill(figures, drawFigures(seen, before));
      fill(building, seen.building ? progress(seen.building) : null);
      fill(encoder, el("h2", {}, t("ops.encoder")), seen.encoder ? drawEncoder(seen.encoder) : el("p", {}, t("ops.encoder.none")));
      before = before || { at: Date.now(), events: seen.events };
    } catch { /* the banner says it */ }
  }
  const lists = () => Promise.all([
    section(generations, t("ops.generations"), api.generations, (answer) => drawGenerations(answer.generations, lists)),
    ...(api.may("admin") ? [
      section(aside, t("ops.aside.title"), api.setAside, (answer) => drawAside(answer.items, lists)),
      section(refused, t("ops.rejects"), api.rejects, (answer) => drawRejects(answer.rejects)),
    ] : []),
  ]);
  counts();
  lists();
  const quick = setInterval(() => document.hidden || counts(), EVERY_MS);
  const slow = setInterval(() => document.hidden || lists(), 2 * EVERY_MS);
  return () => { clearInterval(quick); clearInterval(slow); };
}

// Drawn anew only when the answer changed: whoever reads a report or stands on a button is not thrown out of it.
async function section(place, title, question, draw) {
  try {
    const answer = await question();
    const mark = JSON.stringify(answer);
    if (place.dataset.mark === mark) return;
    place.dataset.mark = mark;
    fill(place, el("h2", {}, title), draw(answer));
  } catch (error) {
    place.dataset.mark = "";
    fill(place, el("h2", {}, title), problem(error));
  }
}

function drawFigures(seen, before) {
  const minutes = before ? (Date.now() - before.at) / 60000 : 0;
  const rate = minutes > 0 ? number(Math.round((seen.events - before.events) / minutes)) : t("ops.rate.wait");
  const shown = [["items", number(seen.items)], ["placed", number(seen.placed)], ["pending", number(seen.pending)], ["oldest", age(seen.oldest_pending_seconds)],
    ["queue", seen.queue_messages === null ? "–" : number(seen.queue_messages)], ["aside", number(seen.set_aside)], ["events", number(seen.events)], ["rate", rate]];
  return shown.map(([name, value]) => el("div", { class: name === "aside" && seen.set_aside ? "warn" : "" }, el("dt", {}, t(`ops.${name}`)), el("dd", {}, value)));
}

const progress = (build) => el("div", { class: "build" },
  el("p", {}, t("ops.building", { generation: build.generation, stage: named("stage", build.stage), done: number(build.done), total: number(build.total) })),
  bar(build.done, build.total || 1));

function drawEncoder({ fidelity, fingerprint, ...rest }) {
  const shown = { ...rest, fingerprint: el("code", {}, fingerprint) };
  if (fidelity) shown.fidelity = facts("fidelity", Object.fromEntries(Object.entries(fidelity).map(([name, value]) => [name, number(value)])));
  return facts("encoder", shown);
}

const STATE_CLASS = { live: "good", refused: "bad", failed: "bad" };

function drawGenerations(found, refresh) {
  const retired = found.filter((one) => one.state === "retired").sort((a, b) => (a.live_at < b.live_at ? 1 : -1));
  const rows = found.map((one) => el("tr", {},
    el("td", {}, one.name), el("td", { class: STATE_CLASS[one.state] || "" }, named("state", one.state)),
    el("td", { class: "number" }, number(one.placed ?? one.items)), el("td", {}, when(one.created_at)), el("td", {}, gate(one)),
    el("td", {}, one.state === "retired" && api.may("admin") ? goLive(one, one === retired[0], refresh) : null)));
  const begin = () => sure(t("ops.reindex"), t("ops.reindex.sure"), async () => { await api.reindex(); refresh(); });
  return [
    api.may("admin") ? el("p", {}, el("button", { type: "button", onclick: begin }, t("ops.reindex"))) : null,
    table(["ops.name", "ops.state", "ops.items", "ops.created", "ops.report", "ops.actions"].map((name) => t(name)), rows, t("ops.generations")),
  ];
}

function goLive(one, isLast, refresh) {
  const act = async () => { await api.activate(one.name); refresh(); };
  const word = t(isLast ? "ops.rollback" : "ops.activate");
  return el("button", { type: "button", onclick: () => sure(word, t("ops.activate.sure", { name: one.name }), act) }, word);
}

function gate({ report }) {
  if (report.reason) return foreign("span", report.reason, { class: "bad" });
  if (!report.checks) return t("ops.gate.not_yet");
  return el("details", {}, el("summary", {}, t(report.passed ? "ops.gate.passed" : "ops.gate.refused")),
    el("ul", { class: "plain" }, report.checks.map((check) => el("li", { class: check.passed ? "good" : "bad" },
      `${check.passed ? "✓" : "✗"} ${check.name.replaceAll("_", " ")} ${number(check.value)}`, el("small", {}, check.rule)))));
}

function drawAside(found, refresh) {
  if (!found.length) return el("p", {}, t("ops.aside.none"));
  const say = el("div", { role: "status" });
  const again = async (ids) => {
    try {
      await api.retry(ids);
      await refresh();
    } catch (error) {
      fill(say, problem(error));
    }
  };
  return [
    el("p", {}, el("button", { type: "button", onclick: () => sure(t("ops.aside.retry"), t("ops.aside.sure"), () => again()) }, t("ops.aside.retry"))), say,
    table([t("item.id"), t("ops.reason"), t("ops.attempts"), t("ops.at"), t("ops.actions")], found.map((one) => el("tr", {},
      foreign("td", one.item_id), foreign("td", one.reason), el("td", { class: "number" }, number(one.attempts)), el("td", {}, when(one.set_aside_at)),
      el("td", {}, el("button", { type: "button", onclick: () => again([one.item_id]) }, t("ops.aside.one"))))), t("ops.aside.title")),
  ];
}

function drawRejects(found) {
  if (!found.length) return el("p", {}, t("ops.rejects.none"));
  return table([t("ops.source"), t("item.id"), t("ops.reason"), t("ops.at")], found.map((one) => el("tr", {},
    foreign("td", `${one.source} ${one.position}`), foreign("td", one.subject_id || ""), foreign("td", one.detail), el("td", {}, when(one.rejected_at)))), t("ops.rejects"));
}
