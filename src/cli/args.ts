import type { Written } from "../config.ts";
import { ALL_OPTIONS, COMMANDS, type Command, type Option } from "../config/options.ts";
import { suggest } from "../config/suggest.ts";
import { COMMAND_TEXTS } from "./commands.ts";

/** What a command line asks for. */
export type Parsed =
  | { readonly asks: "help"; readonly command: Command | undefined }
  | { readonly asks: "version" }
  | {
      readonly asks: "command";
      readonly command: Command;
      readonly operands: readonly string[];
      /** By option name, in the order given; a flag has the text "true". */
      readonly args: ReadonlyMap<string, readonly Written[]>;
      readonly problems: readonly string[];
    }
  /** No command can be told. */
  | { readonly asks: "nothing"; readonly problems: readonly string[] };

/** Reads the arguments after the program's name. All problems are collected, none is thrown. */
export function parseArgs(argv: readonly string[]): Parsed {
  const { words, options, args, problems } = scan(argv);
  if (options.has("version")) return { asks: "version" };

  const [first, ...operands] = words;
  const command = COMMANDS.find((known) => known === first);
  if (options.has("help")) return { asks: "help", command };
  if (first === undefined) return { asks: "nothing", problems: ["no command given", ...problems] };
  if (command === undefined) {
    return {
      asks: "nothing",
      problems: [`${first}: no such command${hint(suggest(first, COMMANDS))}`, ...problems],
    };
  }
  problems.push(...misplaced(command, args), ...operandProblems(command, operands));
  return { asks: "command", command, operands, args, problems };
}

interface Scanned {
  readonly words: string[];
  /** Options that every command has. */
  readonly options: Set<"help" | "version">;
  readonly args: Map<string, Written[]>;
  readonly problems: string[];
}

function scan(argv: readonly string[]): Scanned {
  const scanned: Scanned = { words: [], options: new Set(), args: new Map(), problems: [] };
  for (let index = 0; index < argv.length; index++) {
    const argument = argv[index] ?? "";
    if (argument === "--") {
      scanned.words.push(...argv.slice(index + 1));
      break;
    }
    if (argument === "-h" || argument === "--help") scanned.options.add("help");
    else if (argument === "-V" || argument === "--version") scanned.options.add("version");
    else if (argument === "-" || !argument.startsWith("-")) scanned.words.push(argument);
    else index += scanOption(argument, argv[index + 1], scanned);
  }
  return scanned;
}

/** Reads one option; returns how many of the arguments after it were its value: 0 or 1. */
function scanOption(argument: string, next: string | undefined, { args, problems }: Scanned): 0 | 1 {
  const equals = argument.indexOf("=");
  const written = equals < 0 ? argument : argument.slice(0, equals);
  const inline = equals < 0 ? undefined : argument.slice(equals + 1);
  const option = named(written);
  if (option === undefined) {
    const near = written.startsWith("--") ? suggest(written.slice(2), NAMES) : undefined;
    problems.push(`${written}: no such option${hint(near && `--${near}`)}`);
    // What follows a misspelt option is its value, and no second problem.
    return inline === undefined && named(`--${near}`)?.shape !== "flag" && isValue(next) ? 1 : 0;
  }

  const add = (text: string) =>
    args.set(option.name, [...(args.get(option.name) ?? []), { where: written, text }]);
  if (option.shape === "flag") {
    if (inline === undefined) add("true");
    else problems.push(`${written}: takes no value, but ${JSON.stringify(inline)} was given`);
    return 0;
  }
  if (inline !== undefined) {
    add(inline);
    return 0;
  }
  if (!isValue(next)) {
    problems.push(`${written}: has no value; expected ${option.kind?.expected}`);
    return 0;
  }
  add(next);
  return 1;
}

const NAMES = [...ALL_OPTIONS.map((option) => option.name), "help", "version"];

function named(written: string): Option | undefined {
  return ALL_OPTIONS.find((option) => `--${option.name}` === written);
}

/** A value may begin with a dash, but an option of ours after an option is a forgotten value. */
function isValue(next: string | undefined): next is string {
  if (next === undefined) return false;
  return !next.startsWith("--") && next !== "-h" && next !== "-V";
}

function misplaced(command: Command, args: Scanned["args"]): string[] {
  const problems: string[] = [];
  for (const name of args.keys()) {
    const option = named(`--${name}`);
    if (option === undefined || option.commands.includes(command)) continue;
    problems.push(`--${name}: is an option of ${option.commands.join(" and ")}, not of ${command}`);
  }
  return problems;
}

function operandProblems(command: Command, operands: readonly string[]): string[] {
  const { minOperands, maxOperands, operands: expected } = COMMAND_TEXTS[command];
  if (operands.length < minOperands) return [`${expected} is missing`];
  const extra = operands.slice(maxOperands);
  if (extra.length === 0) return [];
  const instead = command === "run" ? `; did you mean --from ${extra[0]}?` : "";
  return [
    `${extra.join(" ")}: ${command} takes ${expected === "" ? "no argument" : `one ${expected}`}${instead}`,
  ];
}

function hint(near: string | undefined): string {
  return near === undefined ? "" : `; did you mean ${near}?`;
}
