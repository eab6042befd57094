/** The list of nothing, shared by all who have nothing yet. Frozen: it grows by `append` only. */
export const NONE: never[] = Object.freeze([]) as unknown as never[];

/** Up to this length a list is as long as what is in it. */
const SHORT = 12;

/**
 * A list with one more value. The first `push` to an array makes room for 17; most lists of a run stay
 * shorter than that, and there are a hundred thousand runs. The list given may be the one returned.
 */
export function append<T>(list: T[], value: T): T[] {
  // One value in brackets is the one way to begin a list of numbers that holds them unboxed.
  if (list.length === 0) return [value];
  // `concat` makes a list of exactly its length; spreading leaves room.
  if (list.length < SHORT) return list.concat([value]);
  list.push(value);
  return list;
}
