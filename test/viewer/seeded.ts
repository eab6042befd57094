/** Parameters for fast-check: the seed of `SEED=` when it is set; fast-check prints the one it failed with. */
export function seeded(): { seed?: number } {
  const { SEED } = process.env;
  return SEED === undefined ? {} : { seed: Number(SEED) };
}
