/** The list of nothing, shared by all who have nothing yet. Frozen: it grows by what is here only. */
export const NONE: never[] = Object.freeze([]) as unknown as never[];

/** Up to this length a list has no more room than it is given here. */
const SHORT = 12;

/**
 * A list with one more value. The first `push` to an array makes room for 17; most lists of a run stay
 * shorter than that, and there are a hundred thousand runs. The list given may be the one returned.
 */
export function append<T>(list: T[], value: T): T[] {
  if (list.length === 0) return [value];
  // `concat` makes a list of exactly its length; spreading leaves room.
  if (list.length < SHORT) return list.concat([value]);
  list.push(value);
  return list;
}

/** How many numbers a short list gets room for at a time; a list of one has room for one. */
const STEP = 4;
const ROOM = Array.from({ length: STEP }, () => 0.5);
const ROOM_BEHIND_ONE = ROOM.slice(1);

/** The same for numbers below 2^53, of which every event brings one or two: they are kept unboxed, and room is made in steps. */
export function appendNumber(list: number[], value: number): number[] {
  const { length } = list;
  // One value in brackets is the one way to begin a list that holds its numbers unboxed.
  if (length === 0) return [value];
  if (length >= SHORT || (length !== 1 && length % STEP !== 0)) {
    list.push(value);
    return list;
  }
  const longer = list.concat(length === 1 ? ROOM_BEHIND_ONE : ROOM);
  // The room stays.
  longer.length = length;
  longer.push(value);
  return longer;
}
