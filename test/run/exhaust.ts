/** Every order of a few things: n! of them. */
export function* permutations<T>(list: readonly T[]): Generator<T[], void> {
  if (list.length <= 1) {
    yield [...list];
    return;
  }
  for (const [index, first] of list.entries()) {
    for (const rest of permutations(list.toSpliced(index, 1))) yield [first, ...rest];
  }
}
