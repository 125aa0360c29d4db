import { expect, test } from "vitest";
import { fromQuery, toQuery } from "./filters";

test("filters survive the address bar", () => {
  const filters = { text: "a b&c", verdict: "fail", from: "2026-01-01T00:00:00Z" };
  expect(fromQuery(`?${toQuery(filters)}`)).toEqual(filters);
});
test("what is no filter is left out", () => expect(fromQuery("?x=1&verdict=")).toEqual({}));
