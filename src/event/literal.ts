/** Text that lines are compared with, four bytes at a time. */
export interface Literal {
  readonly length: number;
  /** Four bytes each; the last word ends where the text ends, and may overlap the one before it. */
  readonly words: Int32Array;
}

/** Of ASCII text of at least four characters. */
export function literal(text: string): Literal {
  const bytes = Buffer.from(text);
  const words: number[] = [];
  for (let at = 0; at < bytes.length - 4; at += 4) words.push(bytes.readInt32LE(at));
  words.push(bytes.readInt32LE(bytes.length - 4));
  return { length: bytes.length, words: Int32Array.from(words) };
}

/** The text stands at `start`; all of its length must lie within the view. */
export function matches(view: DataView, start: number, { length, words }: Literal): boolean {
  const last = words.length - 1;
  for (let word = 0; word < last; word += 1) {
    if (view.getInt32(start + word * 4, true) !== words[word]) return false;
  }
  return view.getInt32(start + length - 4, true) === words[last];
}
