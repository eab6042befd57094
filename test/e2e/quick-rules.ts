import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";

import { parse, stringify } from "yaml";

import { ROOT } from "../cli/program.ts";
import { answerOf } from "./backends.ts";
import type { Stack } from "./stack.ts";

/** Five minutes of the rules are ten seconds here. */
const TIMES = 30;

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 };
const RULES = join(ROOT, "deploy/prometheus/rules");

interface Rule {
  readonly record?: string;
  readonly alert?: string;
  expr: string;
  for?: string;
}

interface RuleFile {
  readonly groups: readonly { readonly rules: readonly Rule[] }[];
}

/**
 * Lets time pass thirty times as fast for the rules of the stack: in its copy of them every duration in an expression
 * and every `for` is a thirtieth, and nothing else is changed. That they hold for the durations that are shipped is
 * what deploy/prometheus/tests is for; here it is seen that they fire on what a real bridge says.
 */
export async function hurryRules(stack: Stack): Promise<readonly Rule[]> {
  const folder = await rulesFolder(stack.prometheusUrl);
  // A link to the repository, as docker-compose.yml mounts it. Only the link may go.
  if (!lstatSync(folder).isSymbolicLink() || realpathSync(folder) !== realpathSync(RULES)) {
    throw new Error(`${folder} is no link to deploy/prometheus/rules`);
  }
  await stack.prometheus.kill("SIGTERM");
  unlinkSync(folder);
  mkdirSync(folder);
  const all: Rule[] = [];
  for (const name of readdirSync(RULES)) {
    const file = parse(readFileSync(join(RULES, name), "utf8")) as RuleFile;
    const rules = file.groups.flatMap((group) => group.rules);
    const hurried = rules.map(hurry).reduce((sum, count) => sum + count, 0);
    if (hurried === 0) throw new Error(`${name}: no duration in it`);
    writeFileSync(join(folder, name), stringify(file));
    all.push(...rules);
  }
  await stack.prometheus.start();
  return all;
}

/** Where the rules lie that this Prometheus reads: only it knows the temporary directory. */
async function rulesFolder(prometheusUrl: string): Promise<string> {
  const answer = await answerOf(await fetch(`${prometheusUrl}/api/v1/rules`));
  const { groups } = (answer as { readonly data: { readonly groups: readonly { readonly file: string }[] } })
    .data;
  const folders = new Set(groups.map(({ file }) => dirname(file)));
  const [folder] = folders;
  if (folder === undefined || folders.size > 1) throw new Error(`rules in ${folders.size} folders`);
  return folder;
}

/** How many durations it changed. */
function hurry(rule: Rule): number {
  let changed = 0;
  const shorter = (text: string) =>
    // Not within a name, as in `:new5m`.
    text.replace(/(?<![\w.])(\d+)([smhdw])\b/g, (_, count: string, unit: string) => {
      const seconds = (Number(count) * UNITS[unit]!) / TIMES;
      if (!Number.isInteger(seconds)) throw new Error(`a thirtieth of ${count}${unit} is no whole second`);
      changed += 1;
      return `${seconds}s`;
    });
  rule.expr = shorter(rule.expr);
  if (rule.for !== undefined) rule.for = shorter(rule.for);
  return changed;
}
