import { readdirSync, readFileSync } from "node:fs";
import { parse } from "yaml";

const PROMETHEUS = new URL("../../deploy/prometheus/", import.meta.url);

/** A rule that fires. */
export interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** A rule whose result is kept under a name. */
export interface Recording {
  readonly record: string;
  readonly expr: string;
}

/** One line of `alert_rule_test`: silent when it expects no alert. */
export interface AlertTest {
  readonly alertname: string;
  readonly exp_alerts: readonly unknown[];
}

interface RuleFile {
  readonly groups: readonly { readonly name: string; readonly rules: readonly (Alert | Recording)[] }[];
}

interface TestFile {
  readonly tests: readonly { readonly name: string; readonly alert_rule_test?: readonly AlertTest[] }[];
}

const rules = (filesIn("rules") as readonly RuleFile[]).flatMap(({ groups }) =>
  groups.flatMap((group) => group.rules),
);

export const ALERTS: readonly Alert[] = rules.filter((rule) => "alert" in rule);
export const RECORDINGS: readonly Recording[] = rules.filter((rule) => "record" in rule);
export const ALERT_TESTS: readonly AlertTest[] = (filesIn("tests") as readonly TestFile[]).flatMap(
  ({ tests }) => tests.flatMap((one) => one.alert_rule_test ?? []),
);

/** Every YAML file of a folder beside prometheus.yml. */
function filesIn(folder: string): readonly unknown[] {
  const url = new URL(`${folder}/`, PROMETHEUS);
  const files = readdirSync(url).filter((name) => name.endsWith(".yml"));
  return files.map((name) => parse(readFileSync(new URL(name, url), "utf8")));
}
