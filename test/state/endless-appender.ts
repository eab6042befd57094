import { systemClock } from "../../src/clock.ts";
import { BridgeError } from "../../src/errors.ts";
import { createLog } from "../../src/log.ts";
import { openJournal } from "../../src/state/journal.ts";

// A process that appends on and on, several at once, and says what it was promised. Its arguments: the
// directory and a name that its entries begin with.
const [path = "", name = ""] = process.argv.slice(2);

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

const log = createLog({ level: "error", format: "text", now: () => new Date(), write: say });
const journal = await openJournal(path, { clock: systemClock, log, segmentBytes: 20_000, groupMs: 2 });
say("opened");
let n = 0;
async function appendOnAndOn(): Promise<void> {
  for (;;) {
    const ids = Array.from({ length: 1 + (n % 3) }, () => `${name}-${(n += 1)}`);
    const payloads = ids.map((id) => Buffer.from(`${id} ${"x".repeat(n % 500)}`));
    await journal.append(
      payloads.map((payload) => ({ payload, outside: undefined, appendedMs: Date.now() })),
    );
    say(`appended ${ids.join(" ")}`);
  }
}
const results = await Promise.allSettled([1, 2, 3, 4].map(appendOnAndOn));
for (const result of results) {
  if (result.status === "fulfilled") continue;
  const reason: unknown = result.reason;
  say(reason instanceof BridgeError ? reason.code : String(reason));
}
