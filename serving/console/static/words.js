// The page's sentences in the chosen language, and numbers and times as that language writes them.
import en from "./words/en.js";
import zh from "./words/zh.js";

export const WORDS = { en, zh };
export const LANGUAGES = [["en", "English"], ["zh", "中文"]];
const kept = localStorage.getItem("akin.language");
let language = kept in WORDS ? kept : navigator.language.startsWith("zh") ? "zh" : "en";
document.documentElement.lang = language;

export const current = () => language;

export function speak(chosen) {
  language = chosen;
  localStorage.setItem("akin.language", chosen);
  document.documentElement.lang = chosen;
}

export function t(name, values = {}) {
  const sentence = WORDS[language][name] ?? WORDS.en[name] ?? name;
  return sentence.replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");
}

// For names that come from the server: its own word where there is no translation.
export function named(kind, name) {
  return WORDS[language][`${kind}.${name}`] ?? name.replaceAll("_", " ");
}

export function age(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 90) return t("seconds", { n: Math.round(seconds) });
  if (seconds < 5400) return t("minutes", { n: Math.round(seconds / 60) });
  return t("hours", { n: Math.round(seconds / 3600) });
}

const digits = (value, style) => new Intl.NumberFormat(language, style).format(value);
export const number = (value) => digits(value, { maximumFractionDigits: 3 });
export const score = (value) => digits(value, { minimumFractionDigits: 3, maximumFractionDigits: 3 });
export const percent = (value) => digits(value, { style: "percent", maximumFractionDigits: 0 });
export const when = (value) => (value ? new Date(value).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" }) : "");
