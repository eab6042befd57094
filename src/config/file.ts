import { readFile } from "node:fs/promises";
import { systemReason } from "../errors.ts";

/** What a configuration file says of one option. */
export interface FileEntry {
  /** File and line, for messages. */
  readonly where: string;
  /** Scalars as they were written; one for a scalar, all for a list. */
  readonly texts: readonly string[];
}

export interface ConfigFile {
  /** By the key in the file. */
  readonly entries: ReadonlyMap<string, FileEntry>;
  readonly problems: readonly string[];
}

/** Reads a YAML mapping of options to scalars or lists of scalars. Never rejects: all is in `problems`. */
export async function readConfigFile(path: string): Promise<ConfigFile> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    return { entries: new Map(), problems: [`--config: ${path} ${systemReason(error)}`] };
  }
  return parseConfigFile(path, text);
}

/** The reading without the file: `path` is only for messages. */
export async function parseConfigFile(path: string, text: string): Promise<ConfigFile> {
  const { isMap, isScalar, isSeq, LineCounter, parseDocument } = await import("yaml");
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const where = (offset: number | undefined) => `${path}:${lines.linePos(offset ?? 0).line}`;
  const entries = new Map<string, FileEntry>();
  const problems = document.errors.map((error) => `${where(error.pos[0])}: ${error.message}`);
  if (problems.length > 0 || document.contents === null) return { entries, problems };

  if (!isMap(document.contents)) {
    problems.push(`${where(document.contents.range?.[0])}: expected lines such as "agent-name: support"`);
    return { entries, problems };
  }
  for (const { key, value } of document.contents.items) {
    const name = (isScalar(key) ? key.source : undefined) ?? String(key);
    const at = where(isScalar(key) ? key.range?.[0] : undefined);
    const scalars = isSeq(value) ? value.items : [value];
    // As written: 1e3 and 0x10 are for whoever reads the option to judge.
    const texts = scalars.map((scalar) =>
      isScalar(scalar) && scalar.value !== null ? scalar.source : undefined,
    );
    if (texts.every((one) => one !== undefined)) {
      entries.set(name, { where: at, texts });
    } else {
      const expected = "a text, a number, true, false or a list of them";
      problems.push(`${at}: ${name} has no plain value; expected ${expected}`);
    }
  }
  return { entries, problems };
}
