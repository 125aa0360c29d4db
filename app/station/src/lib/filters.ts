/** Filters of the history and the address bar's query: the same names as the service's. */
export const NAMES = ["text", "verdict", "camera", "class", "reviewed", "from", "to"] as const;
export type Filters = Partial<Record<(typeof NAMES)[number], string>>;

export function fromQuery(query: string): Filters {
  const given = new URLSearchParams(query);
  return Object.fromEntries(NAMES.filter((name) => given.get(name)).map((name) => [name, given.get(name)!]));
}

export function toQuery(filters: Filters): string {
  const query = new URLSearchParams();
  for (const name of NAMES) if (filters[name]) query.set(name, filters[name]!);
  return query.toString();
}
