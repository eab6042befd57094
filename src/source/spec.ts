/** Where events come from, as a command line says it. */
export type SourceSpec = { readonly kind: "stdin" } | { readonly kind: "file"; readonly path: string };

/** What a source may be, for messages and documentation. */
export const SOURCE_FORMS = "- for standard input, or the path of a file";

/** Reads `-` or a path; undefined for nothing and for a URL, whose scheme nothing here can read. */
export function parseSourceSpec(text: string): SourceSpec | undefined {
  if (text === "-") return { kind: "stdin" };
  if (text === "" || /^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return undefined;
  return { kind: "file", path: text };
}
