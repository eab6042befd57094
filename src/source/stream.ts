import type { Readable } from "node:stream";
import { BridgeError, systemReason } from "../errors.ts";
import type { Reading, Source } from "./source.ts";

/**
 * Standard input, a named pipe, or any other byte stream. What is not asked for stays in the pipe and
 * holds up its writer. A pipe cannot say that nothing is left for now, so it never has caught up.
 */
export function streamSource(name: string, stream: Readable): Source {
  let failure: Error | undefined;
  let ended = false;
  let offset = 0;
  let wake = () => {};
  const onChange = () => wake();
  const onEnd = () => {
    ended = true;
    wake();
  };
  const onError = (error: Error) => {
    failure = error;
    wake();
  };

  return {
    name,
    keepsOrder: true,
    timed: false,

    open() {
      stream.on("readable", onChange).on("end", onEnd).on("close", onEnd).on("error", onError);
      return Promise.resolve();
    },

    async next(signal): Promise<Reading | undefined> {
      while (!signal.aborted) {
        const bytes = stream.read() as Buffer | null;
        if (bytes !== null) {
          const reading = { kind: "chunk", bytes, position: { file: name, offset } } as const;
          offset += bytes.length;
          return reading;
        }
        if (failure !== undefined) {
          throw new BridgeError("BEHEST_SOURCE_READ", `${name}: ${systemReason(failure)}`, {
            cause: failure,
          });
        }
        if (ended || stream.readableEnded || stream.destroyed) return undefined;
        await new Promise<void>((resolve) => {
          wake = resolve;
          signal.addEventListener("abort", onChange, { once: true });
        });
        signal.removeEventListener("abort", onChange);
      }
      return undefined;
    },

    close() {
      // The error listener stays: a stream that is being destroyed may still report one.
      stream.off("readable", onChange).off("end", onEnd).off("close", onEnd);
      stream.destroy();
      onEnd();
      return Promise.resolve();
    },
  };
}
