/** One thing that is wrong with an environment variable. Never holds a secret: of headers only the name. */
export interface Problem {
  readonly name: string;
  readonly value: string;
  readonly expected: string;
}

/** A value together with the variable it was read from. */
interface Found {
  readonly name: string;
  readonly value: string;
}

/**
 * Reads typed values from environment variables and collects every problem on the way.
 *
 * All take a list of names, the most specific first; an empty value counts as unset and so falls
 * through to the next (OpenTelemetry, "Environment Variable Specification"). A value that cannot be
 * used leaves a problem behind and reads as the default.
 */
export interface Variables {
  readonly text: (names: readonly string[]) => Found | undefined;
  readonly choice: <T extends string>(names: readonly string[], choices: readonly T[], otherwise: T) => T;
  readonly integer: (names: readonly string[], least: number, otherwise: number) => number;
  readonly flag: (names: readonly string[]) => boolean;
  /** `k=v,k=v`, percent-decoded; `secret` keeps the values out of problems. */
  readonly pairs: (name: string, options: { readonly secret: boolean }) => ReadonlyMap<string, string>;
  readonly file: (names: readonly string[]) => Buffer | undefined;
  readonly problem: (name: string, value: string, expected: string) => undefined;
  readonly problems: readonly Problem[];
}

/** Largest whole number taken: what the specification asks implementations to support. */
const MAX_INTEGER = 2 ** 31 - 1;

export function createVariables(
  env: Readonly<Record<string, string | undefined>>,
  readFile: (path: string) => Buffer,
): Variables {
  const problems: Problem[] = [];
  const problem = (name: string, value: string, expected: string): undefined => {
    // A general variable is read once per signal, and is wrong once.
    const known = problems.some(
      (one) => one.name === name && one.value === value && one.expected === expected,
    );
    if (!known) problems.push({ name, value, expected });
  };
  const text = (names: readonly string[]): Found | undefined => {
    for (const name of names) {
      const value = env[name]?.trim();
      if (value) return { name, value };
    }
    return undefined;
  };
  return {
    problems,
    problem,
    text,
    choice: (names, choices, otherwise) => {
      const found = text(names);
      if (found === undefined) return otherwise;
      const choice = choices.find((one) => one === found.value.toLowerCase());
      return choice ?? problem(found.name, found.value, `one of ${choices.join(", ")}`) ?? otherwise;
    },
    integer: (names, least, otherwise) => {
      const found = text(names);
      if (found === undefined) return otherwise;
      const number = /^\d{1,10}$/.test(found.value) ? Number(found.value) : -1;
      if (number >= least && number <= MAX_INTEGER) return number;
      return problem(found.name, found.value, `a whole number from ${least} to ${MAX_INTEGER}`) ?? otherwise;
    },
    flag: (names) => {
      const found = text(names);
      if (found === undefined) return false;
      const value = found.value.toLowerCase();
      if (value !== "true" && value !== "false") problem(found.name, found.value, "true or false");
      return value === "true";
    },
    pairs: (name, { secret }) => {
      const found = text([name]);
      return found === undefined
        ? new Map()
        : parsePairs(found.value, (pair, expected) =>
            problem(name, secret ? withoutValue(pair) : pair, expected),
          );
    },
    file: (names) => {
      const found = text(names);
      if (found === undefined) return undefined;
      try {
        return readFile(found.value);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        return problem(found.name, found.value, `a readable PEM file (${reason})`);
      }
    },
  };
}

/** The format of W3C baggage without properties, which headers and resource attributes share. */
function parsePairs(
  text: string,
  wrong: (pair: string, expected: string) => void,
): ReadonlyMap<string, string> {
  const pairs = new Map<string, string>();
  for (const pair of text.split(",")) {
    if (pair.trim() === "") continue;
    const at = pair.indexOf("=");
    const key = decode(pair.slice(0, Math.max(at, 0)).trim());
    const value = decode(pair.slice(at + 1).trim());
    if (at < 1 || key === "") wrong(pair, "name=value");
    else if (pair.includes(";")) wrong(pair, "no bare semicolon (write %3B)");
    else if (key !== undefined && value !== undefined) pairs.set(key, value);
    else wrong(pair, "percent-encoding (a bare % is written %25)");
  }
  return pairs;
}

/** Without an equals sign all of it may be the secret. */
function withoutValue(pair: string): string {
  const at = pair.indexOf("=");
  return at < 1 ? "(not shown)" : `${pair.slice(0, at).trim()}=(not shown)`;
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
