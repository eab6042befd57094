/** The seed of this run of the tests: `SEED=...` repeats one. */
export const SEED = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));

/** Random numbers from 0 up to 1, the same ones for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Lines in an order in which none comes more than `withinMs` after one that is later by its timestamp. */
export function shuffledWithin(
  lines: readonly string[],
  withinMs: number,
  random: () => number,
  timeOf: (line: string) => bigint,
): string[] {
  const moved = lines.map((line) => ({
    line,
    at: timeOf(line) + BigInt(Math.floor(random() * withinMs * 1e6)),
  }));
  return moved.toSorted((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0)).map(({ line }) => line);
}
