const MIN_BYTES = 64 * 1024;
/** A larger buffer is not kept for the next message. */
const MAX_KEPT_BYTES = 4 * 1024 * 1024;

/** Most bytes of a varint. */
const VARINT_BYTES = 10;

/**
 * Writes protobuf's wire format into a buffer that serves one message after the other, in one pass: a length goes
 * before what it counts, into room that is made wider or narrower when it turns out what it takes.
 *
 * Fields are given as their tag (`number << 3 | wire type`), of two bytes at most.
 */
export class ProtobufWriter {
  #buffer = Buffer.allocUnsafeSlow(MIN_BYTES);
  #at = 0;

  /** The message, in memory of its own. */
  message(): Uint8Array {
    return new Uint8Array(this.#buffer.subarray(0, this.#at));
  }

  /** Ready for the next message. */
  clear(): void {
    this.#at = 0;
    if (this.#buffer.length > MAX_KEPT_BYTES) this.#buffer = Buffer.allocUnsafeSlow(MIN_BYTES);
  }

  /** Begins a part with a length, expected to take `room` bytes as a varint; gives what `end` needs. */
  begin(tag: number, room: 1 | 2 | 4): number {
    this.#reserve(2 + room);
    this.#tag(tag);
    const start = this.#at;
    this.#at += room;
    return start;
  }

  end(start: number, room: 1 | 2 | 4): void {
    const bodyAt = start + room;
    const length = this.#at - bodyAt;
    const size = varintBytes(length);
    if (size !== room) {
      this.#reserve(size);
      this.#buffer.copyWithin(start + size, bodyAt, this.#at);
    }
    const end = start + size + length;
    this.#at = start;
    this.#varint(length);
    this.#at = end;
  }

  /** A text as UTF-8. */
  text(tag: number, text: string): void {
    const { length } = text;
    this.#reserve(2 + VARINT_BYTES + 3 * length);
    this.#tag(tag);
    const start = this.#at;
    const buffer = this.#buffer;
    let at = start + varintBytes(length);
    for (let index = 0; index < length; index += 1) {
      const code = text.charCodeAt(index);
      if (code > 0x7f) return this.#otherText(text);
      buffer[at] = code;
      at += 1;
    }
    this.#varint(length);
    this.#at = at;
  }

  /** The bytes that the text has two hexadecimal digits of each for, in lower case; at most 127. */
  hex(tag: number, text: string): void {
    const bytes = text.length >> 1;
    this.#reserve(3 + bytes);
    this.#tag(tag);
    this.#buffer[this.#at++] = bytes;
    for (let index = 0; index < text.length; index += 2) {
      this.#buffer[this.#at++] = (digitOf(text, index) << 4) | digitOf(text, index + 1);
    }
  }

  /** A whole number of 64 bits at most, as int64. */
  integer(tag: number, value: number): void {
    this.#reserve(2 + VARINT_BYTES);
    this.#tag(tag);
    if (value >= 0 && value <= Number.MAX_SAFE_INTEGER) return this.#varint(value);
    let rest = BigInt.asUintN(64, BigInt(value));
    for (; rest > 0x7fn; rest >>= 7n) this.#buffer[this.#at++] = Number(rest & 0x7fn) | 0x80;
    this.#buffer[this.#at++] = Number(rest);
  }

  double(tag: number, value: number): void {
    this.#reserve(10);
    this.#tag(tag);
    this.#at = this.#buffer.writeDoubleLE(value, this.#at);
  }

  /** A number of 32 bits. */
  fixed32(tag: number, value: number): void {
    this.#reserve(6);
    this.#tag(tag);
    this.#at = this.#buffer.writeUInt32LE(value, this.#at);
  }

  /** Nanoseconds since 1970, as fixed64; from whole seconds below 2^37 and nanoseconds, which no double holds as one. */
  time(tag: number, seconds: number, nanos: number): void {
    this.#reserve(10);
    this.#tag(tag);
    const upper = Math.floor(seconds / 0x10000) * 1e9;
    const lower = (seconds % 0x10000) * 1e9 + nanos + (upper % 0x10000) * 0x10000;
    const high = Math.floor(upper / 0x10000) + Math.floor(lower / 0x100000000);
    this.#at = this.#buffer.writeUInt32LE(lower % 0x100000000, this.#at);
    this.#at = this.#buffer.writeUInt32LE(high, this.#at);
  }

  #otherText(text: string): void {
    const start = this.#at;
    const room = varintBytes(text.length);
    const length = this.#buffer.write(text, start + room, "utf8");
    const size = varintBytes(length);
    if (size !== room) this.#buffer.copyWithin(start + size, start + room, start + room + length);
    this.#varint(length);
    this.#at += length;
  }

  #tag(tag: number): void {
    if (tag > 0x7f) this.#buffer[this.#at++] = (tag & 0x7f) | 0x80;
    this.#buffer[this.#at++] = tag > 0x7f ? tag >>> 7 : tag;
  }

  #varint(value: number): void {
    let rest = value;
    for (; rest > 0x7fffffff; rest = Math.floor(rest / 0x80)) {
      this.#buffer[this.#at++] = (rest % 0x80) | 0x80;
    }
    for (; rest > 0x7f; rest >>>= 7) this.#buffer[this.#at++] = (rest & 0x7f) | 0x80;
    this.#buffer[this.#at++] = rest;
  }

  #reserve(bytes: number): void {
    const needed = this.#at + bytes;
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#buffer.length));
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }
}

/** Of a whole number below 2^35. */
function varintBytes(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x200000) return 3;
  return value < 0x10000000 ? 4 : 5;
}

function digitOf(text: string, at: number): number {
  const code = text.charCodeAt(at);
  return (code & 15) + (code >> 6) * 9;
}
