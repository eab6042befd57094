/** Distinct names of one kind, up to a limit; what comes later shares one word. */
export interface Names {
  readonly known: Set<string>;
  readonly limit: number;
  readonly overflow: string;
}

/** UTF-16 units of a name that are kept: a name is a label, not a text. */
export const MAX_NAME_LENGTH = 256;

export function noNames(limit: number, overflow: string): Names {
  return { known: new Set(), limit, overflow };
}

/** The label for a name: itself, cut when it is too long, or the overflow word; empty when there is none. */
export function admit(names: Names, name: string | undefined): string {
  if (name === undefined || name === "") return "";
  if (names.known.has(name)) return name;
  const label = cut(name);
  if (names.known.has(label)) return label;
  if (names.known.size >= names.limit) return names.overflow;
  names.known.add(label);
  return label;
}

/** At most `MAX_NAME_LENGTH` units, and no half of a surrogate pair at the end. */
function cut(name: string): string {
  if (name.length <= MAX_NAME_LENGTH) return name;
  const last = name.charCodeAt(MAX_NAME_LENGTH - 1);
  return name.slice(0, last >= 0xd800 && last <= 0xdbff ? MAX_NAME_LENGTH - 1 : MAX_NAME_LENGTH);
}
