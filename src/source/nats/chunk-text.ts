/** Records by key; undefined: there is none of that key any more. */
export type Changes = ReadonlyMap<string, string | undefined>;

export interface Packed {
  readonly text: Buffer;
  readonly changes: Changes;
}

const NEWLINE = 0x0a;
/** A key, and the length of its value in bytes; or a key that has none any more. */
const HEADER = /^(?:put (\S+) (\d+)|remove (\S+))$/;
const MAX_HEADER_BYTES = 1_024;

/** As few texts as it takes for each to have at most `chunkBytes`, unless it is a single record; in order. */
export function packRecords(records: Changes, chunkBytes: number): Packed[] {
  const packed: Packed[] = [];
  let [parts, changes, bytes]: [string[], Map<string, string | undefined>, number] = [[], new Map(), 0];
  const end = () => {
    if (changes.size > 0) packed.push({ text: Buffer.from(parts.join("")), changes });
    [parts, changes, bytes] = [[], new Map(), 0];
  };
  for (const [key, value] of records) {
    const length = recordBytes(key, value);
    if (bytes + length > chunkBytes) end();
    parts.push(
      value === undefined ? `remove ${key}\n` : `put ${key} ${Buffer.byteLength(value)}\n${value}\n`,
    );
    changes.set(key, value);
    bytes += length;
  }
  end();
  return packed;
}

/** Length of a record in the text of a chunk. */
export function recordBytes(key: string, value: string | undefined): number {
  if (value === undefined) return key.length + "remove \n".length;
  const bytes = Buffer.byteLength(value);
  return key.length + String(bytes).length + bytes + "put  \n\n".length;
}

/** Reads what `packRecords` wrote; throws an error that says where it is damaged. */
export function parseChunk(text: Buffer): Changes {
  const changes = new Map<string, string | undefined>();
  let at = 0;
  while (at < text.length) {
    const end = text.subarray(0, at + MAX_HEADER_BYTES).indexOf(NEWLINE, at);
    const header = HEADER.exec(text.toString("latin1", at, end < 0 ? at : end));
    if (header === null) throw new Error(`no record begins at byte ${at}`);
    const [, put, digits, removed] = header;
    at = end + 1;
    if (put === undefined) {
      changes.set(removed ?? "", undefined);
      continue;
    }
    const after = at + Number(digits);
    if (text[after] !== NEWLINE) throw new Error(`the record at byte ${at} is cut off`);
    changes.set(put, text.toString("utf8", at, after));
    at = after + 1;
  }
  return changes;
}
