import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { Command, Config } from "../config/options.ts";
import { systemReason } from "../errors.ts";
import { foldUuid, NIL_UUID } from "../event/uuid.ts";
import { parseTraceparent } from "../event/traceparent.ts";
import type { Problem } from "../otel/variables.ts";
import { parseSourceSpec, SOURCE_FORMS, type SourceSpec } from "../source/spec.ts";

export interface Checked {
  readonly command: Command;
  /** May lack values that could not be read: those were told already. */
  readonly config: Partial<Config<"run"> & Config<"replay"> & Config<"traceparent">>;
  readonly operands: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** What is wrong although every value reads well: looked for before anything is started. */
export async function checkCommand({ command, config, operands, env }: Checked): Promise<string[]> {
  switch (command) {
    case "run":
      return [...(await checkRun(config)), ...(await checkOutputs(config)), ...(await checkExporting(env))];
    case "replay":
      return [
        ...(await checkFiles(operands)),
        ...(await checkOutputs(config)),
        ...(await checkExporting(env)),
      ];
    case "view":
      return checkFiles(operands);
    case "traceparent":
      return [...checkTarget(config, operands), ...(await checkSampler(env))];
  }
}

async function checkRun({ from, follow }: Checked["config"]): Promise<string[]> {
  const specs = (from ?? []).filter((spec) => spec !== undefined);
  const problems = repeated(specs, "--from");
  const files = specs.filter((spec) => spec.kind === "file");
  if (follow) {
    const readable = specs.length === from?.length;
    return readable && files.length === 0
      ? [...problems, "--follow: has no file to wait on; expected --from FILE"]
      : problems;
  }
  for (const { path } of files) problems.push(...(await unreadable(path, "--from")));
  return problems;
}

/** The operands of `replay` and `view`. */
async function checkFiles(operands: readonly string[]): Promise<string[]> {
  const problems: string[] = [];
  const specs: SourceSpec[] = [];
  for (const operand of operands) {
    const spec = parseSourceSpec(operand);
    if (spec === undefined) {
      problems.push(`${operand}: is not something that can be read; expected ${SOURCE_FORMS}`);
      continue;
    }
    specs.push(spec);
    if (spec.kind === "file") problems.push(...(await unreadable(spec.path, undefined)));
  }
  return [...problems, ...repeated(specs, undefined)];
}

function repeated(specs: readonly SourceSpec[], option: string | undefined): string[] {
  const names = specs.map((spec) => (spec.kind === "stdin" ? "-" : spec.path));
  const twice = new Set(names.filter((name, index) => names.indexOf(name) !== index));
  return [...twice].map(
    (name) => `${option === undefined ? "" : `${option}: `}${name} is named more than once`,
  );
}

async function unreadable(path: string, option: string | undefined): Promise<string[]> {
  const where = option === undefined ? path : `${option}: ${path}`;
  try {
    return (await stat(path)).isDirectory() ? [`${where} is a directory; expected a file`] : [];
  } catch (error) {
    return [`${where} ${systemReason(error)}`];
  }
}

/** Files that are written at the end: better to know at the beginning that they cannot be. */
async function checkOutputs({ report, deadLetter }: Checked["config"]): Promise<string[]> {
  const problems: string[] = [];
  for (const [option, path] of [["--report", report] as const, ["--dead-letter", deadLetter] as const]) {
    if (path === undefined) continue;
    const isDirectory = await stat(path).then(
      (stats) => stats.isDirectory(),
      () => false,
    );
    if (isDirectory) problems.push(`${option}: ${path} is a directory; expected a file`);
    const directory = dirname(path);
    const reason = await stat(directory).then(
      (stats) => (stats.isDirectory() ? "" : "is no directory"),
      systemReason,
    );
    if (reason !== "") problems.push(`${option}: ${path} cannot be made: ${directory} ${reason}`);
  }
  return problems;
}

/** What the standard variables say that cannot be, or would send nothing. */
async function checkExporting(env: Checked["env"]): Promise<string[]> {
  const { readEnvironment } = await import("../otel/environment.ts");
  const { config, problems } = readEnvironment(env);
  const wrong = problems.map(variableProblem);
  if (config.disabled) {
    wrong.push(
      "OTEL_SDK_DISABLED: true would take events and send nothing; expected it unset, or the view command",
    );
  }
  return wrong;
}

/** `traceparent` needs the sampler alone, and works with whatever else is set. */
async function checkSampler(env: Checked["env"]): Promise<string[]> {
  const { readEnvironment } = await import("../otel/environment.ts");
  const { problems } = readEnvironment(env);
  return problems.filter(({ name }) => name.startsWith("OTEL_TRACES_SAMPLER")).map(variableProblem);
}

function variableProblem({ name, value, expected }: Problem): string {
  return `${name}: ${JSON.stringify(value)} is not valid; expected ${expected}`;
}

function checkTarget({ tool, model, parent }: Checked["config"], [runId]: readonly string[]): string[] {
  const problems: string[] = [];
  const folded = runId === undefined ? undefined : foldUuid(runId);
  if (runId !== undefined && folded === undefined) {
    problems.push(`${runId}: is no run id; expected a hyphenated UUID`);
  }
  if (folded === NIL_UUID) problems.push(`${runId}: the nil UUID names no run`);
  if (tool !== undefined && model !== undefined) {
    problems.push("--tool and --model: expected only one of them");
  }
  if (parent !== undefined && parseTraceparent(parent) === undefined) {
    problems.push(
      `--parent: ${JSON.stringify(parent)} is no traceparent; expected 00-TRACE_ID-SPAN_ID-FLAGS in lower-case hex`,
    );
  }
  return problems;
}
