/** A stream of numbers that depends on its seed and on nothing else. */
export interface Random {
  /** A whole number from 0 to `n` - 1. */
  below(n: number): number;
  /** A whole number from `least` to `most`. */
  between(least: number, most: number): number;
  chance(probability: number): boolean;
  pick<T>(from: readonly T[]): T;
  shuffled<T>(list: readonly T[]): T[];
}

/** Mulberry32: small, and good enough to choose among test cases. */
export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 4_294_967_296;
  };
  const below = (n: number) => Math.floor(next() * n);
  return {
    below,
    between: (least, most) => least + below(most - least + 1),
    chance: (probability) => next() < probability,
    pick: (from) => from[below(from.length)]!,
    shuffled(list) {
      const result = [...list];
      for (let last = result.length - 1; last > 0; last--) {
        const other = below(last + 1);
        [result[last], result[other]] = [result[other]!, result[last]!];
      }
      return result;
    },
  };
}

/** Seed of this trial: `SEED=` in the environment, else another one each time. */
export function seedFromEnvironment(): number {
  const { SEED } = process.env;
  return SEED === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(SEED);
}

/** How long trials may take, in milliseconds: a share of `TRIAL_SECONDS`, 5 when not set. */
export function trialMs(share = 1): number {
  return Number(process.env["TRIAL_SECONDS"] ?? 5) * 1_000 * share;
}
