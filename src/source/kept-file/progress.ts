import type { Delivery } from "../source.ts";
import type { Anchor } from "./anchor.ts";
import { writePosition, type SavedFile } from "./position.ts";

/** Files that are remembered after they were read, so that they are not read again for new ones. */
const REMEMBERED_FILES = 16;

/** One file as it was from its beginning on; written anew, it is another one. */
export interface Generation {
  /** Names it in the ids of its deliveries. */
  readonly name: string;
  /** Device and number. */
  readonly file: string;
  readonly path: string;
  /** Before this only what is in `again` is handed out. */
  readonly resumedAt: number;
  /** Lines that an earlier life left unused and that were not taken since. */
  readonly again: Set<number>;
  /** Behind the last line that was taken; undefined before the first. */
  mark: Mark | undefined;
  isOver: boolean;
}

export interface Mark {
  readonly offset: number;
  readonly anchor: Anchor;
  readonly modifiedMs: number;
}

/** A line, where it stands, and how long it was when the payload is only its head. */
export interface Line {
  readonly start: number;
  readonly end: number;
  readonly payload: Buffer;
  readonly wholeBytes: number | undefined;
}

/**
 * How far the files that had one name were read. What was handed out counts when it is said to have been
 * taken, so a position may be asked for at any time.
 */
export class Progress {
  /** Those of which something was taken, in the order in which that began. */
  #begun: Generation[] = [];
  /** Handed out and not known to be taken, oldest first. */
  #handedOut: HandedOut[] = [];
  readonly #tellLost: (lines: number, path: string) => void;
  #lost = 0;

  constructor(tellLost: (lines: number, path: string) => void) {
    this.#tellLost = tellLost;
  }

  /** Lines that were to come again and cannot be found any more. */
  get lost(): number {
    return this.#lost;
  }

  /** A file that is read from its beginning. */
  begin(file: string, path: string): Generation {
    const name = this.#nameOf(file);
    return { name, file, path, resumedAt: 0, again: new Set(), mark: undefined, isOver: false };
  }

  /** A file that is read on. To be called in the order in which they were saved. */
  resume({ path, offset, anchor, modifiedMs, unused }: SavedFile, file: string): Generation {
    const name = this.#nameOf(file);
    const again = new Set(unused);
    const mark = { offset, anchor, modifiedMs };
    const generation = { name, file, path, resumedAt: offset, again, mark, isOver: false };
    this.#begun.push(generation);
    return generation;
  }

  /** A file that was to be read on and is gone. */
  lose({ path, unused }: SavedFile): void {
    this.#lose(unused.length, path);
  }

  /** Whether the line that begins there is to be handed out. */
  isWanted({ resumedAt, again }: Generation, start: number): boolean {
    return start >= resumedAt || again.has(start);
  }

  /** At least one line, as deliveries; `mark` is behind the last. */
  handOut(generation: Generation, lines: readonly Line[], mark: Mark): Delivery[] {
    this.#handedOut.push({ generation, starts: lines.map(({ start }) => start), mark, isBegun: false });
    return lines.map(({ start, payload, wholeBytes }) => ({
      id: `${generation.name}:${start}`,
      appendedMs: undefined,
      payload,
      outside: undefined,
      ...(wholeBytes !== undefined && { wholeBytes }),
    }));
  }

  /** Nothing more is read of it: it was let go, or written anew. */
  end(generation: Generation): void {
    generation.isOver = true;
  }

  /** Where to go on when everything up to this delivery was taken, and of that these ids are not used. */
  write(last: string | undefined, unused: readonly string[]): string {
    if (last !== undefined) this.#take(last);
    const open = offsetsByName(unused);
    const unusedOf = (generation: Generation) => {
      const { name, again } = generation;
      return [...again, ...(open.get(name) ?? []), ...this.#waitingOf(generation)].toSorted((a, b) => a - b);
    };
    const firstKept = this.#begun.length - REMEMBERED_FILES;
    const isOpen = (generation: Generation) =>
      !generation.isOver || this.#handedOut.some((one) => one.generation === generation);
    this.#begun = this.#begun.filter(
      (generation, index) => index >= firstKept || isOpen(generation) || unusedOf(generation).length > 0,
    );
    return writePosition(
      this.#begun.flatMap((generation) => {
        const { file, path, mark } = generation;
        return mark === undefined ? [] : [{ file, path, ...mark, unused: unusedOf(generation) }];
      }),
    );
  }

  #take(last: string): void {
    const { name, start } = placeOf(last);
    const index = this.#handedOut.findLastIndex(
      ({ generation, starts }) => generation.name === name && starts.includes(start),
    );
    const newest = this.#handedOut[index];
    if (newest === undefined) return;
    for (const { generation, starts, mark } of this.#handedOut.slice(0, index)) {
      this.#count(generation, starts, mark);
    }
    const { generation, starts, mark } = newest;
    this.#handedOut = this.#handedOut.slice(index + 1);
    this.#count(
      generation,
      starts.filter((one) => one <= start),
      mark,
    );
    const others = starts.filter((one) => one > start);
    if (others.length > 0) this.#handedOut.unshift({ generation, starts: others, mark, isBegun: true });
  }

  #count(generation: Generation, starts: readonly number[], mark: Mark): void {
    const { again, resumedAt, path } = generation;
    for (const start of starts) again.delete(start);
    if (mark.offset > (generation.mark?.offset ?? 0)) generation.mark = mark;
    if ((starts.at(-1) ?? 0) >= resumedAt && again.size > 0) {
      // They stood before this line, so they would have come by now.
      this.#lose(again.size, path);
      again.clear();
    }
    if (!this.#begun.includes(generation)) this.#begun.push(generation);
  }

  /** Lines of a reading of which only the first ones were taken: the mark is behind them already. */
  #waitingOf(generation: Generation): readonly number[] {
    const [oldest] = this.#handedOut;
    return oldest?.isBegun === true && oldest.generation === generation ? oldest.starts : [];
  }

  #lose(lines: number, path: string): void {
    if (lines === 0) return;
    this.#lost += lines;
    this.#tellLost(lines, path);
  }

  /** An id must not come twice, though a file that is written anew keeps its number. */
  #nameOf(file: string): string {
    const handedOut = this.#handedOut.map(({ generation }) => generation);
    const names = new Set([...this.#begun, ...handedOut].map(({ name }) => name));
    let name = file;
    for (let incarnation = 2; names.has(name); incarnation += 1) name = `${file}~${incarnation}`;
    return name;
  }
}

interface HandedOut {
  readonly generation: Generation;
  /** Where its lines begin. */
  readonly starts: readonly number[];
  readonly mark: Mark;
  /** Some of it was taken. */
  readonly isBegun: boolean;
}

/** Of an id that `handOut` gave. */
function placeOf(id: string): { readonly name: string; readonly start: number } {
  const colon = id.lastIndexOf(":");
  return { name: id.slice(0, colon), start: Number(id.slice(colon + 1)) };
}

function offsetsByName(ids: readonly string[]): Map<string, number[]> {
  const offsets = new Map<string, number[]>();
  for (const id of ids) {
    const { name, start } = placeOf(id);
    const some = offsets.get(name);
    if (some === undefined) offsets.set(name, [start]);
    else some.push(start);
  }
  return offsets;
}
