import { open as openDescriptor } from "node:fs";
import { access, constants, open, stat, type FileHandle } from "node:fs/promises";
import { Socket } from "node:net";
import { promisify } from "node:util";
import { BridgeError, systemReason } from "../errors.ts";
import { CHUNK_BYTES, type Source } from "./source.ts";
import { streamSource } from "./stream.ts";

/** A file that is read once from its beginning to its end; also a named pipe or `/dev/fd/N`. */
export function fileSource(path: string): Source {
  let opened: Source | undefined;
  return {
    name: path,
    keepsOrder: true,
    timed: false,

    async prepare() {
      try {
        await access(path, constants.R_OK);
        if ((await stat(path)).isDirectory()) throw new Error("is a directory");
      } catch (error) {
        throw new BridgeError("BEHEST_SOURCE_OPEN", `${path} ${systemReason(error)}`, { cause: error });
      }
    },

    async open() {
      try {
        const stats = await stat(path);
        if (stats.isDirectory()) throw new Error("is a directory");
        opened = stats.isFIFO() ? await openPipe(path) : openFile(path, await open(path, "r"));
        await opened.open();
      } catch (error) {
        throw new BridgeError("BEHEST_SOURCE_OPEN", `${path} ${systemReason(error)}`, { cause: error });
      }
    },

    next: (signal) => opened?.next(signal) ?? Promise.resolve(undefined),

    async close() {
      const closing = opened;
      opened = undefined;
      await closing?.close();
    },
  };
}

/** Not read like a file: that would hold a thread until the writer writes, and the process with it. */
async function openPipe(path: string): Promise<Source> {
  const fd = await promisify(openDescriptor)(path, "r");
  return streamSource(path, new Socket({ fd }));
}

function openFile(path: string, handle: FileHandle): Source {
  let offset = 0;
  let hasEnded = false;
  return {
    name: path,
    keepsOrder: true,
    timed: false,
    open: () => Promise.resolve(),

    async next(signal) {
      if (signal.aborted || hasEnded) return undefined;
      const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
      let length: number;
      try {
        ({ bytesRead: length } = await handle.read(buffer, 0, CHUNK_BYTES, offset));
      } catch (error) {
        throw new BridgeError("BEHEST_SOURCE_READ", `${path}: ${systemReason(error)}`, { cause: error });
      }
      hasEnded = length === 0;
      if (hasEnded) return undefined;
      const position = { file: path, offset };
      offset += length;
      return { kind: "chunk", bytes: buffer.subarray(0, length), position };
    },

    close: () => handle.close().catch(() => {}),
  };
}
