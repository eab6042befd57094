import { answerOfNetwork, type Answer } from "./answer.ts";
import type { Sender } from "./courier.ts";

/**
 * Writes requests as lines of OTLP/JSON: the format that the Collector's file exporter writes and its
 * `otlp_json_file` receiver reads. `write` rejects when the reader has gone.
 */
export function createConsoleSender(write: (line: Uint8Array) => Promise<void>): Sender {
  return {
    target: "stdout",
    prepare: async (bytes) => Buffer.concat([bytes, LINE_END]),
    send: async (line): Promise<Answer> => {
      try {
        await write(line);
        return { kind: "accepted" };
      } catch (error) {
        const { code = "WRITE", message } = error as Error & { code?: string };
        // A reader that has gone does not come back.
        if (code === "EPIPE") return { kind: "split", cause: code, message, tooLarge: false };
        return answerOfNetwork(code, message);
      }
    },
    close: () => {},
  };
}

const LINE_END = Buffer.from("\n");
