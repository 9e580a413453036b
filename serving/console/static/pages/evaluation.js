// The last evaluation as bars with their intervals, and below it the catalogue as a map.
import * as api from "../api.js";
import { choice, el, field, fill, foreign } from "../dom.js";
import { problem } from "../parts.js";
import { number, score, t } from "../words.js";
import { drawMap } from "./map.js";

const FIRST = "ndcg@10";

export function evaluation(page) {
  const report = el("section", { class: "card" });
  const map = el("section", { class: "card" });
  page.append(el("p", { class: "lead" }, t("eval.lead")), report, map);
  api.evaluation().then((found) => drawReport(report, found), (error) =>
    fill(report, el("h2", {}, t("eval.title")), error.status === 404 ? el("p", {}, t("eval.none")) : problem(error)));
  api.map().then((found) => drawMap(map, found), (error) => fill(map, el("h2", {}, t("eval.map")), problem(error)));
}

function drawReport(place, report) {
  const strategies = Object.entries(report.strategies);
  const whole = strategies.map(([name, values]) => [name, values.akin, values]);
  const measures = Object.keys(strategies[0][1]).filter((name) => /@\d+$/.test(name) && typeof strategies[0][1][name] === "number");
  const measure = choice(measures.map((name) => [name, name]), measures.includes(FIRST) ? FIRST : measures[0]);
  const slices = Object.keys(report.slices || {});
  const slice = choice([["", t("eval.all", { n: number(report.users) })], ...slices.map((name) => [name, name])], "");
  const bars = el("div", {});
  const draw = () => {
    const part = slice.value ? whole.map(([name, ours, values]) => [name, ours, values.slices[slice.value] || {}]) : whole;
    fill(bars, slice.value ? foreign("p", report.slices[slice.value], { class: "lead" }) : null, plot(measure.value, part));
  };
  for (const control of [measure, slice]) control.addEventListener("input", draw);
  const what = { users: number(report.users), items: number(report.items), events: number(report.train_events), held: number(report.held_out), split: report.split_description };
  fill(place, el("h2", {}, t("eval.title")), el("p", { class: "lead" }, t("eval.what", what)),
    el("div", { class: "row" }, field(t("eval.measure"), measure), slices.length ? field(t("eval.slice"), slice) : null), bars,
    el("p", { class: "lead" }, t("eval.bars")),
    (report.notes || []).map((note) => foreign("p", note, { class: "lead" })));
  draw();
}

function plot(measure, strategies) {
  const rows = strategies.map(([name, ours, values]) => ({ name, ours, mean: values[measure] ?? 0, low: values[`${measure}_low`], high: values[`${measure}_high`] }));
  rows.sort((a, b) => b.mean - a.mean);
  const most = Math.max(...rows.map(({ mean, high }) => high ?? mean), 1e-9);
  const at = (value) => `${Math.max(0, (value / most) * 100)}%`;
  return el("table", { class: "plot" },
    el("thead", {}, el("tr", {}, [t("eval.strategy"), measure, "", t("eval.interval")].map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, rows.map((one) => el("tr", {},
      el("th", { scope: "row" }, one.name, one.ours ? null : el("small", {}, t("eval.baseline"))),
      el("td", { class: "number" }, score(one.mean)),
      el("td", { class: "wide" }, el("div", { class: one.ours ? "bar" : "bar other", "aria-hidden": "true" }, el("span", { style: { width: at(one.mean) } }),
        one.low === undefined || one.low === null ? null : el("i", { style: { left: at(one.low), width: at(one.high - one.low) } }))),
      el("td", { class: "number" }, one.low === undefined || one.low === null ? "" : `${score(one.low)} – ${score(one.high)}`)))));
}
