import type { FileEntry } from "./config/file.ts";
import type { Kind } from "./config/kinds.ts";
import { ALL_OPTIONS, envName, OPTIONS, type Command, type Config, type Option } from "./config/options.ts";
import { suggest } from "./config/suggest.ts";
import { SECRET_VARIABLES } from "./source/spec.ts";

/** A value as it was written, and where. */
export interface Written {
  readonly where: string;
  readonly text: string;
}

export interface ConfigSources {
  /** From the command line, by option name, in the order given. */
  readonly args: ReadonlyMap<string, readonly Written[]>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** From the `--config` file, by its keys. */
  readonly file?: ReadonlyMap<string, FileEntry>;
}

export interface ReadConfig<C extends Command> {
  /** Only to be used when there are no problems. */
  readonly config: Config<C>;
  /** Everything that is wrong, each with where, what, and what was expected. */
  readonly problems: readonly string[];
  /** What is odd and not wrong. */
  readonly warnings: readonly string[];
}

/** Reads the options of a command: command line before environment before file before default. */
export function readConfig<C extends Command>(command: C, sources: ConfigSources): ReadConfig<C> {
  const problems = unknownFileKeys(sources.file ?? new Map());
  const warnings = unknownVariables(sources.env);
  const values: Record<string, unknown> = {};
  for (const [key, option] of Object.entries<Option>(OPTIONS)) {
    if (!option.commands.includes(command)) continue;
    values[key] = valueOf(option, writtenFor(option, sources, warnings), problems);
  }
  return { config: values as Config<C>, problems, warnings };
}

/** The `--config` path, which is needed before the rest can be read. */
export function configPath(sources: Pick<ConfigSources, "args" | "env">): string | undefined {
  const fromArgs = sources.args.get(OPTIONS.config.name)?.at(-1)?.text;
  return fromArgs ?? (sources.env[envName(OPTIONS.config)] || undefined);
}

/** What is said of an option at the first place that says something; undefined when none does. */
function writtenFor(
  option: Option,
  { args, env, file }: ConfigSources,
  warnings: string[],
): Written[] | undefined {
  const given = args.get(option.name);
  if (given !== undefined) return [...given];
  if (option.perCall) return undefined;

  const variable = envName(option);
  const set = env[variable];
  // As for the standard variables, an empty one is an unset one.
  if (set !== undefined && set !== "") {
    const texts = option.shape === "list" ? splitList(set) : [set];
    return texts.map((text) => ({ where: variable, text }));
  }

  const standard = option.standard === undefined ? undefined : env[option.standard.env];
  if (option.standard !== undefined && standard !== undefined && standard !== "") {
    const text = option.standard.read(standard);
    if (text !== undefined) return [{ where: option.standard.env, text }];
    warnings.push(
      `${option.standard.env}: ${JSON.stringify(standard)} is not a known word and counts as unset`,
    );
  }

  const entry = file?.get(option.name);
  return entry?.texts.map((text) => ({ where: `${entry.where}: ${option.name}`, text }));
}

/** Several values in one variable: one per line, or parted by semicolons. */
function splitList(text: string): string[] {
  return text
    .split(/[\n;]/)
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

function valueOf(option: Option, written: readonly Written[] | undefined, problems: string[]): unknown {
  if (option.shape === "flag") return readFlag(written?.at(-1), problems);
  const kind = option.kind as Kind<unknown>;
  if (written === undefined) {
    const defaults = typeof option.default === "string" ? [option.default] : (option.default ?? []);
    const values = defaults.map((text) => kind.read(text));
    return option.shape === "list" ? values : values[0];
  }
  if (option.shape === "one" && written.length > 1 && !written[0]?.where.startsWith("--")) {
    problems.push(`${written[0]?.where}: has ${written.length} values; expected one`);
  }
  const used = option.shape === "list" ? written : written.slice(-1);
  const values = used.map((one) => readValue(kind, one, problems));
  return option.shape === "list" ? values : values[0];
}

function readValue(kind: Kind<unknown>, { where, text }: Written, problems: string[]): unknown {
  const value = kind.read(text);
  if (value !== undefined) return value;
  const fault = kind.fault?.(text);
  problems.push(fault === undefined ? notValid(where, text, kind.expected) : `${where}: ${fault}`);
  return undefined;
}

function readFlag(written: Written | undefined, problems: string[]): boolean {
  if (written === undefined) return false;
  const { where, text } = written;
  if (text === "true" || text === "1") return true;
  if (text !== "false" && text !== "0") {
    problems.push(notValid(where, text, "true or false"));
  }
  return false;
}

function notValid(where: string, text: string, expected: string): string {
  return `${where}: ${JSON.stringify(text)} is not valid; expected ${expected}`;
}

function unknownFileKeys(file: ReadonlyMap<string, FileEntry>): string[] {
  const known = new Set(
    ALL_OPTIONS.filter((option) => !option.perCall && option !== OPTIONS.config).map(({ name }) => name),
  );
  const problems: string[] = [];
  for (const [key, { where }] of file) {
    if (known.has(key)) continue;
    const near = suggest(key, known);
    problems.push(`${where}: ${key} is no option${near === undefined ? "" : `; did you mean ${near}?`}`);
  }
  return problems;
}

/**
 * Variables that look like a misspelt option. Only a warning: a Kubernetes service called
 * `behest-otel` puts variables of its own into every container, such as BEHEST_OTEL_SERVICE_HOST.
 */
function unknownVariables(env: ConfigSources["env"]): string[] {
  const settable = ALL_OPTIONS.filter((option) => !option.perCall);
  const known = new Map(settable.map((option) => [option.name, envName(option)]));
  const variables = new Set([...known.values(), ...SECRET_VARIABLES]);
  const warnings: string[] = [];
  for (const variable of Object.keys(env)) {
    if (!variable.startsWith("BEHEST_OTEL_") || variables.has(variable)) continue;
    if (/^BEHEST_OTEL_(SERVICE|PORT)(_|$)/.test(variable)) continue;
    const near = suggest(variable.slice("BEHEST_OTEL_".length).replaceAll("_", "-"), known.keys());
    const hint = near === undefined ? "" : `; did you mean ${known.get(near)}?`;
    warnings.push(`${variable}: no option has this variable${hint}`);
  }
  return warnings;
}
