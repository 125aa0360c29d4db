import de from "./i18n/de.json";
import en from "./i18n/en.json";
import es from "./i18n/es.json";
import zh from "./i18n/zh.json";

const ALL = { en, de, zh, es };
export type Language = keyof typeof ALL;
export const LANGUAGES: Record<Language, string> = { en: "English", de: "Deutsch", zh: "中文", es: "Español" };
const known = (text: string | null): text is Language => text !== null && text in ALL;
const stored = localStorage.getItem("language");
const preferred = navigator.language.slice(0, 2);
export const chosen = $state({ language: (known(stored) ? stored : known(preferred) ? preferred : "en") as Language });

export function choose(language: Language) {
  chosen.language = language;
  localStorage.setItem("language", language);
}
export const t = (key: keyof typeof en): string => ALL[chosen.language][key];
export const when = (time: string): string => new Date(time).toLocaleString(chosen.language);
