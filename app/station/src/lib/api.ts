/** The service's JSON, and one way to ask for it. */
export type Verdict = "pass" | "fail" | "review";
export interface Review { number: number; verdict: Verdict; classes: string[]; who: string; time: string; comment: string | null; corrected: boolean }
export interface Row {
  id: string; time: string; camera_id: string | null; part_id: string | null; filename: string | null;
  recipe: string; recipe_version: number; bundle: string; bundle_version: string; artifact: string;
  execution_provider: string; verdict: Verdict; defects: number; classes: string[];
  image_probability: number; image_threshold: number; dice_estimated: number | null;
  width: number; height: number; total_ms: number; has_image: boolean; has_mask: boolean;
  review: Review | null; queue_reason: string | null;
}
export interface Page { items: Row[]; next: string | null }
export interface QueueItem { row: Row; reason: string; claimed_by: string | null; claimed_until: string | null }
export interface Queue { items: QueueItem[]; waiting: number }
export interface Rate { value: number; low: number; high: number }
export interface Counts { passed: number; failed: number; review: number }
export interface Statistics {
  counts: Counts;
  series: { time: string; counts: Counts; mean_ms: number }[];
  classes: { name: string; count: number }[];
  cameras: { camera_id: string | null; counts: Counts }[];
  p_chart: { centre: number; points: { time: string; n: number; share: number; low: number; high: number; outside: boolean }[] } | null;
  latency_ms: { p50: number; p95: number; p99: number } | null;
  rates: { escape: Rate | null; overkill: Rate | null; drawn: number; reviewed: number; why: string | null };
}

/** A problem that the service answered (RFC 9457), or status 0: it cannot be reached. */
export class Problem extends Error {
  constructor(readonly status: number, readonly detail: string) { super(detail); }
}

/** Answer of `path` as JSON; throws Problem. */
export async function ask<T>(path: string, method = "GET", body?: unknown): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    throw new Problem(0, String(error));
  }
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Problem(answer.status, problem.detail ?? problem.title ?? answer.statusText);
  }
  return (answer.status === 204 ? null : await answer.json()) as T;
}

export const picture = (row: Row, kind: string) => `/v1/inspections/${encodeURIComponent(row.id)}/${kind}`;
