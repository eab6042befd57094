import { Console } from "node:console";
import { Writable } from "node:stream";

import type { Log } from "../log.ts";

/**
 * Has the log say what packages write to the console: stdout carries only data. The NATS client writes there when
 * it cannot read what a server sends (nats-core, `ProtocolHandler.dial`), and has no other way to tell.
 */
export function consoleTo(log: Log): Console {
  const said = new Writable({
    decodeStrings: false,
    write(text: string, _encoding, done) {
      log.warn("A package wrote to the console", { text: text.trimEnd() });
      done();
    },
  });
  return new Console({ stdout: said, stderr: said, colorMode: false });
}
