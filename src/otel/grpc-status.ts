/**
 * The little of protocol buffers that an error answer needs: `google.rpc.Status` (code = 1,
 * message = 2, details = 3 of `Any`) and in it `google.rpc.RetryInfo` (retry_delay = 1 of
 * `Duration`: seconds = 1, nanos = 2).
 */
export interface GrpcStatus {
  readonly message: string;
  /** Type URL and value of each detail. */
  readonly details: readonly { readonly type: string; readonly value: Uint8Array }[];
}

/** Undefined when the bytes are no `google.rpc.Status`. */
export function readStatus(bytes: Uint8Array): GrpcStatus | undefined {
  const fields = readFields(bytes);
  if (fields === undefined) return undefined;
  const details = [];
  for (const detail of fields) {
    if (detail.number !== 3 || detail.bytes === undefined) continue;
    const any = readFields(detail.bytes);
    const type = any?.find((field) => field.number === 1)?.bytes;
    const value = any?.find((field) => field.number === 2)?.bytes;
    if (type !== undefined) details.push({ type: text(type), value: value ?? new Uint8Array() });
  }
  return { message: text(fields.find((field) => field.number === 2)?.bytes ?? new Uint8Array()), details };
}

/** How long the backend asks to wait, in milliseconds; undefined when its status does not say. */
export function readRetryDelayMs(status: Uint8Array): number | undefined {
  const info = readStatus(status)?.details.find((detail) => detail.type.endsWith("/google.rpc.RetryInfo"));
  if (info === undefined) return undefined;
  const delay = readFields(info.value)?.find((field) => field.number === 1)?.bytes;
  const duration = delay === undefined ? undefined : readFields(delay);
  if (duration === undefined) return undefined;
  const seconds = duration.find((field) => field.number === 1)?.varint ?? 0;
  const nanos = duration.find((field) => field.number === 2)?.varint ?? 0;
  return seconds * 1_000 + Math.ceil(nanos / 1_000_000);
}

interface Field {
  readonly number: number;
  readonly varint?: number;
  readonly bytes?: Uint8Array;
}

/** All fields of a message; undefined when the bytes end in the middle of one. */
function readFields(bytes: Uint8Array): readonly Field[] | undefined {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): number | undefined => {
    let value = 0;
    for (let shift = 0; at < bytes.length && shift < 70; shift += 7) {
      const byte = bytes[at++] ?? 0;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    return undefined;
  };
  while (at < bytes.length) {
    const tag = varint();
    if (tag === undefined) return undefined;
    const number = Math.floor(tag / 8);
    const length = [undefined, 8, undefined, undefined, undefined, 4][tag % 8];
    if (tag % 8 === 0) {
      const value = varint();
      if (value === undefined) return undefined;
      fields.push({ number, varint: value });
      continue;
    }
    const size = tag % 8 === 2 ? varint() : length;
    if (size === undefined || at + size > bytes.length) return undefined;
    fields.push({ number, bytes: bytes.subarray(at, at + size) });
    at += size;
  }
  return fields;
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
