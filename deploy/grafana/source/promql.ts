/*
 * The pieces that the dashboards' queries are made of. Metric and label names are written out as Prometheus
 * has them, so that they can be searched for; a test holds each of them to the table of metrics.
 */

/** Filters of the variables. `All` is `.*`, which also takes series that lack the label. */
export const AGENT = 'gen_ai_agent_name=~"$agent"';
export const MODEL = 'gen_ai_provider_name=~"$provider", gen_ai_request_model=~"$model"';
export const INSTANCE = 'instance=~"$instance"';

/** The window of rates: at least four scrapes, and no shorter than the distance of two points. */
export const WINDOW = "$__rate_interval";

/**
 * How far counters grew in the dashboard's range. A series that began within the range counts whole:
 * `increase` does not see what a counter had when it was first scraped, and a short run would not show at
 * all. What merely paused, for up to a day before the range, did not begin in it.
 */
export function grown(selector: string): string {
  const born = `last_over_time(${selector}[$__range]) unless last_over_time(${selector}[1d] offset $__range)`;
  return `((${born}) or increase(${selector}[$__range]))`;
}

export function sum(expr: string, by: readonly string[] = []): string {
  return by.length === 0 ? `sum(${expr})` : `sum by (${by.join(", ")}) (${expr})`;
}

/** Counts per minute, summed over the bridges. */
export function perMinute(selector: string, by: readonly string[] = []): string {
  return `60 * ${sum(rate(selector), by)}`;
}

export function rate(selector: string): string {
  return `rate(${selector}[${WINDOW}])`;
}

/** A quantile of the histograms whose buckets these are, as rates or as growth; over all bridges. */
export function quantile(q: number, buckets: string, by: readonly string[] = []): string {
  return `histogram_quantile(${q}, ${sum(buckets, ["le", ...by])})`;
}

/** `part` of `whole`, both summed; nothing where the whole is 0. Without `part` it is 0, not missing. */
export function share(part: string, whole: string, by: readonly string[] = []): string {
  return `(${sum(part, by)} or 0 * ${sum(whole, by)}) / (${sum(whole, by)} > 0)`;
}

/** The mean of what histograms recorded: `name` without `_sum` and `_count`. */
export function mean(name: string, filter: string, by: readonly string[] = []): string {
  return `${sum(rate(`${name}_sum{${filter}}`), by)} / (${sum(rate(`${name}_count{${filter}}`), by)} > 0)`;
}

/** A model call's metric under the released name and under the latest one, whichever the bridges send. */
export function eitherName(released: string, latest: string): string {
  return `(${rate(released)} or ${rate(latest)})`;
}

/** Series without the label are called `(no name)`, where else the legend would be empty. */
export function named(expr: string, label: string): string {
  return `label_replace(${expr}, "${label}", "(no name)", "${label}", "")`;
}

/** The ten largest, the largest first. */
export function top(expr: string): string {
  return `sort_desc(topk(10, ${expr}))`;
}
