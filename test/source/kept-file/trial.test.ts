import {
  appendFileSync,
  copyFileSync,
  existsSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { randomOf, seedFromEnvironment, trialMs } from "../../run/random.ts";
import { isHeldOpen } from "../reader.ts";
import { Life, newPath, wholeLife } from "./life.ts";

const seed = seedFromEnvironment();
const random = randomOf(seed);

/** Files beside the one that has the name, as a rotator numbers them. */
const MAX_ROTATED = 6;

/** Who writes the file and rotates it, and knows which lines are done with. */
class Writer {
  readonly path = newPath();
  /** Lines whose end has been written. */
  written = 0;
  /** Lines whose fate is committed. */
  readonly used = new Set<number>();
  #unfinished = "";
  /** The last line of each file, the named one first. */
  #lastOf = [0];

  constructor() {
    writeFileSync(this.path, "");
  }

  get isWithinLine(): boolean {
    return this.#unfinished !== "";
  }

  append(): void {
    const rest = this.#unfinished;
    // No two lines end alike, as no two events do.
    const text = Array.from({ length: random.between(8, 40) }, () => random.below(0xffff_ffff)).join("");
    const whole = rest === "" ? `{"n":${this.written + 1},"text":"${text}"}\n` : rest;
    const cut = rest === "" && random.chance(0.2) ? random.between(1, whole.length - 1) : whole.length;
    appendFileSync(this.path, whole.slice(0, cut));
    this.#unfinished = whole.slice(cut);
    if (this.#unfinished === "") this.#lastOf[0] = this.written += 1;
  }

  finish(): void {
    if (this.isWithinLine) this.append();
  }

  /** False when there is no room for one more file of which all is not done. */
  rotate(how: "rename" | "copy and truncate"): boolean {
    const oldest = `${this.path}.${MAX_ROTATED}`;
    if (this.isWithinLine) return false;
    if (existsSync(oldest) && !this.#isDone(this.#lastOf[MAX_ROTATED]!)) return false;
    for (let count = MAX_ROTATED - 1; count >= 1; count -= 1) {
      const file = `${this.path}.${count}`;
      if (existsSync(file)) renameSync(file, `${this.path}.${count + 1}`);
    }
    if (how === "rename") {
      renameSync(this.path, `${this.path}.1`);
      writeFileSync(this.path, "");
    } else {
      copyFileSync(this.path, `${this.path}.1`);
      truncateSync(this.path);
    }
    this.#lastOf = [this.#lastOf[0]!, ...this.#lastOf].slice(0, MAX_ROTATED + 1);
    return true;
  }

  /** Deletes the oldest file if all of it is done. */
  remove(): void {
    const count = this.#lastOf.length - 1;
    if (count === 0 || !this.#isDone(this.#lastOf[count]!)) return;
    rmSync(`${this.path}.${count}`);
    this.#lastOf.pop();
  }

  #isDone(last: number): boolean {
    for (let number = 1; number <= last; number += 1) if (!this.used.has(number)) return false;
    return true;
  }
}

/** Commits what was taken but for some of it; nothing may be decided twice. */
function commit(life: Life, decided: Set<number>, used: Set<number>): void {
  const open = [...life.taken.keys()].filter((index) => !decided.has(index));
  const unused = random.chance(0.5) ? [] : open.filter(() => random.chance(0.3));
  life.commit(unused);
  const waits = new Set(unused);
  for (const index of open) {
    if (waits.has(index)) continue;
    decided.add(index);
    const number = life.numbers[index]!;
    if (used.has(number)) {
      throw new Error(`line ${number} was handed out after it was committed (SEED=${seed})`);
    }
    used.add(number);
  }
}

/** What the file goes through while it is read. */
async function actLive(writer: Writer, isAllDone: boolean): Promise<void> {
  const act = random.below(10);
  if (act < 7) writer.append();
  else if (act === 7) writer.remove();
  else if (act === 8 && writer.rotate("rename")) {
    // A file that came and went between two looks is the one thing that cannot be seen.
    while (process.platform === "linux" && !isHeldOpen(writer.path)) await setImmediate();
  } else if (isAllDone) writer.rotate("copy and truncate");
}

function actAway(writer: Writer): void {
  const act = random.below(12);
  if (act < 7) writer.append();
  else if (act < 9) writer.rotate("rename");
  else if (act < 11) writer.rotate("copy and truncate");
  else writer.remove();
}

test(
  `over any number of kills and rotations every line is used once and in order (SEED=${seed})`,
  { timeout: trialMs() + 30_000 },
  async () => {
    const endsAt = Date.now() + Math.min(trialMs(), 600_000);
    const writer = new Writer();
    const { path, used } = writer;
    // Before anything is committed a file is known by its name alone.
    writer.append();
    writer.finish();
    let { position } = await wholeLife(path);
    used.add(1);
    let lives = 0;
    for (let isLast = false; !isLast; lives += 1) {
      isLast = Date.now() >= endsAt;
      for (let acts = random.below(8); acts > 0; acts -= 1) actAway(writer);
      if (isLast) writer.finish();
      const follow = isLast || random.chance(0.7);
      const before = used.size;
      const life = await Life.begin(path, position, { follow });
      const decided = new Set<number>();
      // Everything that is written and was not used when this life began.
      const expected = () => writer.written - before;
      for (let acts = random.below(20); acts > 0; acts -= 1) {
        if (follow && !isLast) await actLive(writer, used.size === writer.written && !writer.isWithinLine);
        await life.takeUntil(random.between(life.taken.length, Math.max(life.taken.length, expected())));
        if (random.chance(0.4)) commit(life, decided, used);
      }
      if (isLast) {
        await life.takeUntil(expected());
        life.commit();
        for (const number of life.numbers) used.add(number);
      }
      await life.end();
      ({ position } = life);
      const { numbers } = life;
      expect({ seed, lives, numbers }).toEqual({ seed, lives, numbers: numbers.toSorted((a, b) => a - b) });
      expect({ seed, lives, distinct: new Set(numbers).size }).toEqual({
        seed,
        lives,
        distinct: numbers.length,
      });
      expect({ seed, lives, lost: life.source.lost }).toEqual({ seed, lives, lost: 0 });
    }
    expect({ seed, lives: lives > 10, used: used.size }).toEqual({ seed, lives: true, used: writer.written });
  },
);
