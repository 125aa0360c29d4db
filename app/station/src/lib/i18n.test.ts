import { expect, test } from "vitest";
import de from "./i18n/de.json";
import en from "./i18n/en.json";
import es from "./i18n/es.json";
import zh from "./i18n/zh.json";

test.each([["de", de], ["es", es], ["zh", zh]])("%s has the keys of English", (_, catalogue) => {
  expect(Object.keys(catalogue).sort()).toEqual(Object.keys(en).sort());
  expect(Object.values(catalogue).every((text) => text.length > 0)).toBe(true);
});
