import { BridgeError } from "../../errors.ts";
import type { Chunk } from "./chunk-log.ts";

/** The one value that says what the state is: whoever moves it by compare-and-set has committed. */
export interface Head {
  /** Goes up with every process that opens the state. */
  readonly epoch: number;
  /** The process that wrote it, and which of its commits this is. */
  readonly writer: string;
  readonly commit: number;
  /** Oldest first. */
  readonly chunks: readonly Chunk[];
}

/** Changes with every form of the state that older programs cannot read. */
const VERSION = 1;

/** More than a chunk of one value takes in the text of a head. */
export const CHUNK_REFERENCE_BYTES = 64;

export function formatHead({ epoch, writer, commit, chunks }: Head): string {
  const listed = chunks.map((chunk) => [chunk.epoch, chunk.number, chunk.bytes, ...chunk.revisions]);
  return JSON.stringify({ version: VERSION, epoch, writer, commit, chunks: listed });
}

/** Throws `BEHEST_STATE_OPEN` with a way out for what `formatHead` did not write; `name` is the state's. */
export function parseHead(text: string, name: string): Head {
  const head = readObject(text);
  const wayOut = `to begin anew, with new counters and from the beginning of the stream, delete ${name}`;
  if (typeof head?.["version"] === "number" && head["version"] !== VERSION) {
    throw new BridgeError(
      "BEHEST_STATE_OPEN",
      `${name}: the state has version ${head["version"]}, expected ${VERSION}. Run the program that wrote it; or, ${wayOut}`,
    );
  }
  const { epoch, writer, commit, chunks } = head ?? {};
  if (isCount(epoch) && typeof writer === "string" && isCount(commit) && Array.isArray(chunks)) {
    const parsed = chunks.map(parseReference);
    if (!parsed.includes(undefined)) return { epoch, writer, commit, chunks: parsed as Chunk[] };
  }
  throw new BridgeError("BEHEST_STATE_OPEN", `${name}: the state is damaged or somebody else's; ${wayOut}`);
}

function parseReference(reference: unknown): Chunk | undefined {
  if (!Array.isArray(reference) || reference.length < 4 || !reference.every(isCount)) return undefined;
  const [epoch = 0, number = 0, bytes = 0, ...revisions] = reference;
  return { epoch, number, bytes, revisions };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function readObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
