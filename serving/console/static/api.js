// Questions to the server this page came from. A failure is an Error whose message can be shown.
import { t } from "./words.js";

export class Unreachable extends Error {}
export class Refused extends Error {
  constructor(status, problem) {
    super(sentence(status, problem));
    this.status = status;
    this.code = problem.code;
  }
}

function sentence(status, problem) {
  if (status === 401) return t(problem.code === "key_unknown" ? "error.key_unknown" : "error.key");
  if (status === 403) return t("error.scope", { scope: problem.scope || "admin" });
  return problem.detail || t("error.unknown");
}

const KEY = "akin.key";
export const key = () => sessionStorage.getItem(KEY) || "";
export function keepKey(value) {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
  overviewAt = -Infinity; // what was answered without it says nothing any more
}

// What the key allows; the overview says it. Until then nothing is hidden.
let scopes = ["admin"];
export const allow = (found) => { scopes = found; };
export const may = (scope) => scopes.includes(scope) || scopes.includes("admin");

async function ask(method, path, body, signal) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key()) headers.Authorization = `Bearer ${key()}`;
  const startedAt = performance.now();
  let answer;
  let content;
  try {
    answer = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
    content = await answer.json().catch((error) => { if (error.name === "AbortError") throw error; return {}; });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable(t("error.unreachable"));
  }
  if (!answer.ok) throw new Refused(answer.status, content);
  Object.defineProperty(content, "ms", { value: Math.round(performance.now() - startedAt) });
  return content;
}

const part = encodeURIComponent;
const query = (values) => {
  const known = Object.entries(values).filter(([, value]) => value !== undefined && value !== "");
  return known.length ? `?${new URLSearchParams(known)}` : "";
};

// The banner and the page want it at the same moment: one question answers both.
let overviewAt = -Infinity;
let overviewAsked = null;
export function overview() {
  if (performance.now() - overviewAt > 900) {
    overviewAt = performance.now();
    overviewAsked = ask("GET", "/v1/overview");
  }
  return overviewAsked;
}
export const search = (body, signal) => ask("POST", "/v1/search", body, signal);
export const item = (id) => ask("GET", `/v1/items/${part(id)}`);
export const similar = (id) => ask("POST", `/v1/items/${part(id)}/similar`, { limit: 8, fields: ["title", "categories"] });
export const users = (prefix, signal) => ask("GET", `/v1/users${query({ prefix, limit: 20 })}`, undefined, signal);
export const history = (id) => ask("GET", `/v1/users/${part(id)}/history?titles=true`);
export const profile = (id) => ask("GET", `/v1/users/${part(id)}/profile`);
export const recommend = (id, body, signal) => ask("POST", `/v1/users/${part(id)}/recommendations`, body, signal);
export const recommendFor = (body, signal) => ask("POST", "/v1/recommendations", body, signal);
export const following = (path) => ask("POST", path);
export const addEvent = (event) => ask("POST", "/v1/events", event);
export const generations = () => ask("GET", "/v1/generations");
export const reindex = () => ask("POST", "/v1/generations");
export const activate = (name) => ask("POST", `/v1/generations/${part(name)}:activate`);
export const setAside = () => ask("GET", "/v1/set-aside?limit=50");
export const retry = (ids) => ask("POST", "/v1/set-aside:retry", ids ? { item_ids: ids } : undefined);
export const rejects = () => ask("GET", "/v1/rejects?limit=50");
export const map = () => ask("GET", "/v1/map");
export const evaluation = () => ask("GET", "/v1/evaluation");
