/** Up to this many UTF-16 units a call into the engine costs more than writing them one by one. */
const SHORT = 64;

/** Writes the text as UTF-8 to the beginning of a buffer that has room for it; gives how many bytes that took. */
export function writeText(buffer: Buffer, text: string): number {
  const { length } = text;
  if (length > SHORT) return buffer.write(text, 0, "utf8");
  for (let at = 0; at < length; at += 1) {
    const code = text.charCodeAt(at);
    if (code > 0x7f) return buffer.write(text, 0, "utf8");
    buffer[at] = code;
  }
  return length;
}
