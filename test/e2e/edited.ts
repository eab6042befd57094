import { readFileSync } from "node:fs";

import { parse, stringify } from "yaml";

/** How long things take in a test, as durations of Prometheus: `1s`. */
export interface Pace {
  /** Between two scrapes, and between two evaluations of the rules. */
  readonly interval: string;
  /** Alertmanager's group_wait and group_interval. */
  readonly group: string;
}

type Fields = Record<string, unknown>;

/**
 * Prometheus cannot read its environment: its configuration with other targets and intervals, and nothing else changed.
 * Throws when there is a target whose address here is not known.
 */
export function editedPrometheusConfig(options: {
  readonly file: string;
  readonly pace: Pace;
  /** From an address that stands in the file to the one that holds here. */
  readonly addresses: ReadonlyMap<string, string>;
}): string {
  const { file, pace, addresses } = options;
  const config = parse(readFileSync(file, "utf8")) as Fields;
  const here = (target: string): string => {
    const address = addresses.get(target);
    if (address === undefined) throw new Error(`${file}: nothing is known of the target ${target}`);
    return address;
  };
  replace(file, config, "scrape_interval", () => pace.interval);
  replace(file, config, "evaluation_interval", () => pace.interval);
  replace(file, config, "targets", (targets) => (targets as string[]).map(here));
  const absolute = (config["rule_files"] as string[]).filter((path) => path.startsWith("/"));
  if (absolute.length > 0) throw new Error(`${file}: not relative to the file: ${absolute.join(", ")}`);
  return stringify(config);
}

/** The same for Alertmanager: whoever has a place for webhooks is given this one. */
export function editedAlertmanagerConfig(options: {
  readonly file: string;
  readonly pace: Pace;
  readonly webhook: string;
}): string {
  const { file, pace, webhook } = options;
  const config = parse(readFileSync(file, "utf8")) as Fields;
  replace(file, config, "webhook_configs", () => [{ url: webhook }]);
  replace(file, config, "group_wait", () => pace.group);
  replace(file, config, "group_interval", () => pace.group);
  return stringify(config);
}

/** Replaces every value under this key, however deep. */
function replace(file: string, config: Fields, key: string, replacement: (value: unknown) => unknown): void {
  let found = 0;
  const walk = (node: unknown): void => {
    if (node === null || typeof node !== "object") return;
    const fields = node as Fields;
    for (const [name, value] of Object.entries(fields)) {
      if (name === key) {
        fields[name] = replacement(value);
        found++;
      } else {
        walk(value);
      }
    }
  };
  walk(config);
  if (found === 0) throw new Error(`${file}: no ${key}`);
}
