import {
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
} from "node:zlib";

/** Content codings that are read (RFC 9110, section 8.4.1), as `Accept-Encoding` lists them. */
export const ENCODINGS = ["gzip", "deflate", "br", "zstd"] as const;
export type Encoding = (typeof ENCODINGS)[number];

/** The coding that a `Content-Encoding` names; undefined for one that is not read, and for several. */
export function encodingOf(header: string | undefined): Encoding | "identity" | undefined {
  const name = (header ?? "").trim().toLowerCase();
  if (name === "" || name === "identity") return "identity";
  return name === "x-gzip" ? "gzip" : ENCODINGS.find((known) => known === name);
}

/** Largest window of zstd, as a power of two: 8 MiB, all that the coding may ask for (RFC 9659). */
const ZSTD_WINDOW_LOG = 23;

/** The method in the first byte of zlib's format (RFC 1950, section 2.2). */
const DEFLATED = 8;

/**
 * Inflates a body. `onBytes` gets what comes out, at most 16 KiB at a time, and says whether more is wanted; when
 * not, the work ends there, however much a bomb would still give. Resolves with what is wrong with the body, in
 * words; also when nothing more was wanted it is not wrong.
 */
export function inflate(
  body: Buffer,
  encoding: Encoding,
  onBytes: (bytes: Buffer) => boolean,
): Promise<string | undefined> {
  if (body.length === 0) return Promise.resolve(`the body is empty and cannot be ${encoding}`);
  const engine = engineOf(encoding, body[0] ?? 0);
  return new Promise((resolve) => {
    engine.on("data", (bytes: Buffer) => {
      if (engine.destroyed || onBytes(bytes)) return;
      engine.destroy();
      resolve(undefined);
    });
    engine.on("error", () => resolve(`the body is not valid ${encoding}, or is cut off`));
    engine.on("end", () => {
      // What stands behind the end of the data would be left out without a word.
      const isWhole = engine.bytesWritten === body.length;
      resolve(isWhole ? undefined : `the body has bytes behind the end of its ${encoding} data`);
      engine.destroy();
    });
    engine.end(body);
  });
}

function engineOf(encoding: Encoding, firstByte: number) {
  switch (encoding) {
    case "gzip":
      return createGunzip();
    case "deflate":
      // The coding is zlib's format (RFC 9110, 8.4.1.2), and some send the bare one: the first byte tells.
      return (firstByte & 0x0f) === DEFLATED ? createInflate() : createInflateRaw();
    case "br":
      return createBrotliDecompress();
    case "zstd":
      return createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG } });
  }
}
