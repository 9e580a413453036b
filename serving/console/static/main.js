// Which page is shown, the language, the key, and a banner that says what is wrong until it is not.
import * as api from "./api.js";
import { choice, el, fill } from "./dom.js";
import { evaluation } from "./pages/evaluation.js";
import { explore } from "./pages/explore.js";
import { operations } from "./pages/operations.js";
import { people } from "./pages/people.js";
import { tryOut } from "./pages/try.js";
import { dialog } from "./parts.js";
import { LANGUAGES, age, current, speak, t } from "./words.js";

const PAGES = { explore, people, try: tryOut, operations, evaluation };
const WATCH_MS = 4000;
const WATCH_DOWN_MS = 1500;
const STALLED_SECONDS = 60; // so long has the oldest item waited
const STILL_MS = 30_000; // and so long has nothing been placed: a large import that moves on is not stalled
const main = document.getElementById("main");
const banner = document.getElementById("banner");
let leave = () => {};
let isDown = false;
let hasAsked = false;
let allowed = "admin"; // what pages show until it is known
let moved = { at: Date.now(), mark: "" };

function route() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  return [name in PAGES ? name : "explore", decoded(rest.join("/"))];
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function show() {
  const [name, argument] = route();
  leave();
  document.title = `${t(`nav.${name}`)} · akin`;
  drawFrame(name);
  const page = el("div", {}, el("h1", {}, t(`nav.${name}`)));
  fill(main, page);
  leave = PAGES[name](page, argument) || (() => {});
}

function drawFrame(name) {
  document.getElementById("skip").textContent = t("skip");
  fill(document.getElementById("nav"), Object.keys(PAGES).map((page) =>
    el("a", { href: `#/${page}`, "aria-current": page === name ? "page" : null }, t(`nav.${page}`))));
  const language = choice(LANGUAGES, current(), { "aria-label": t("language") });
  language.addEventListener("change", () => { speak(language.value); show(); watch(); });
  fill(document.getElementById("tools"), language,
    el("button", { type: "button", onclick: askForKey }, t("key")));
}

function askForKey() {
  const input = el("input", { type: "password", autocomplete: "off", value: api.key(), "aria-label": t("key.title") });
  const use = (value) => { api.keepKey(value); document.getElementById("dialog").close(); show(); watch(); };
  const form = el("form", { class: "row", onsubmit: (event) => { event.preventDefault(); use(input.value.trim()); } },
    input, el("button", { class: "main" }, t("key.save")),
    el("button", { type: "button", onclick: () => use("") }, t("key.drop")));
  dialog(t("key.title"), el("p", {}, t("key.why")), form);
  input.focus();
}

function say(sentence) {
  banner.hidden = !sentence;
  if (banner.textContent !== sentence) banner.textContent = sentence;
}

async function watch() {
  try {
    const seen = await api.overview();
    const changed = allowed !== seen.scopes.join();
    allowed = seen.scopes.join();
    api.allow(seen.scopes);
    say(seen.trouble ? t("banner.trouble", { why: seen.trouble.replace(/\.$/, "") }) : stalled(seen));
    if (changed || (isDown && !seen.trouble)) show();
    isDown = Boolean(seen.trouble);
    hasAsked = false;
  } catch (error) {
    isDown = true;
    say(error.message);
    if (error.status === 401 && !hasAsked) {
      hasAsked = true; // once: whoever closes it can press Key
      askForKey();
    }
  }
}

function stalled(seen) {
  const mark = [seen.placed, seen.pending, seen.set_aside].join();
  if (mark !== moved.mark || !seen.pending) moved = { at: Date.now(), mark };
  const isStill = Date.now() - moved.at >= STILL_MS && seen.oldest_pending_seconds > STALLED_SECONDS;
  return isStill ? t("banner.stalled", { n: seen.pending, age: age(seen.oldest_pending_seconds) }) : "";
}

async function keepWatching() {
  if (!document.hidden) await watch();
  setTimeout(keepWatching, isDown ? WATCH_DOWN_MS : WATCH_MS);
}

document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
window.addEventListener("hashchange", () => { show(); main.focus(); });
show();
keepWatching();
