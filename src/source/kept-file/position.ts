import { BridgeError } from "../../errors.ts";
import type { Anchor } from "./anchor.ts";

/** Where one file is read on in the next life. */
export interface SavedFile {
  /** Device and number. */
  readonly file: string;
  /** What it was read under: where its name leads to, links resolved. */
  readonly path: string;
  /** Behind the last line that was taken. */
  readonly offset: number;
  /** What stood before that. */
  readonly anchor: Anchor;
  /** When it was last written to, as far as was seen; milliseconds since 1970. */
  readonly modifiedMs: number;
  /** Offsets of earlier lines that were not used and have to come again, ascending. */
  readonly unused: readonly number[];
}

/** The position as text, the file that was begun last at the end. */
export function writePosition(files: readonly SavedFile[]): string {
  const generations = files.map((file) => ({ ...file, unused: distancesOf(file.unused) }));
  return JSON.stringify({ generations });
}

/** Reads what `writePosition` wrote. Throws `BEHEST_SOURCE_OPEN` for anything else. */
export function readPosition(text: string, source: string): SavedFile[] {
  const files = parse(text);
  if (files !== undefined) return files;
  const message = `${source}: expected the position of a file, found ${text.slice(0, 100)}`;
  throw new BridgeError("BEHEST_SOURCE_OPEN", message);
}

/** Up to which byte of the newest file was read; undefined when it is the position of something else. */
export function readUpTo(text: string): number | undefined {
  return parse(text)?.at(-1)?.offset;
}

function parse(text: string): SavedFile[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { generations } = Object(value) as { readonly generations?: unknown };
  if (!Array.isArray(generations) || generations.length === 0) return undefined;
  if (!generations.every(isSaved)) return undefined;
  return generations.map((saved) => ({ ...saved, unused: offsetsOf(saved.unused) }));
}

function isSaved(value: unknown): value is SavedFile {
  const { file, path, offset, anchor, modifiedMs, unused } = Object(value) as Partial<SavedFile>;
  return (
    typeof file === "string" &&
    typeof path === "string" &&
    typeof modifiedMs === "number" &&
    typeof anchor?.sha256 === "string" &&
    Number.isSafeInteger(offset) &&
    Number.isSafeInteger(anchor.bytes) &&
    Array.isArray(unused) &&
    unused.every(Number.isSafeInteger)
  );
}

/** The first, and each one's distance from the one before: a third of the text. */
function distancesOf(offsets: readonly number[]): number[] {
  return offsets.map((offset, index) => offset - (offsets[index - 1] ?? 0));
}

function offsetsOf(distances: readonly number[]): number[] {
  let offset = 0;
  return distances.map((distance) => (offset += distance));
}
