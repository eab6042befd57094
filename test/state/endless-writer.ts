import { systemClock } from "../../src/clock.ts";
import { BridgeError } from "../../src/errors.ts";
import { stateDirectory } from "../../src/state/directory.ts";
import { changeOf, readAll } from "./commits.ts";

// A process that commits on and on from where the state stands, and says each commit once it is made. Its
// arguments: the directory and how many commits it makes at most. A refusal is said, and it tries again.
const [path = "", most = "Infinity"] = process.argv.slice(2);
const store = stateDirectory(path, "writer", { clock: systemClock, slackBytes: 20_000 });

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

try {
  const state = await readAll(await store.open());
  let n = Number(state.get("n") ?? 0);
  say(`opened ${n}`);
  for (let left = Number(most); left > 0; left -= 1) {
    await store.commit(changeOf(n + 1));
    n += 1;
    say(`committed ${n}`);
  }
  await store.close();
} catch (error) {
  if (!(error instanceof BridgeError)) throw error;
  say(`${error.code} ${error.message}`);
}
