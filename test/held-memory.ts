import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** What is held when nothing is waiting to be collected. */
export async function heldMemory(): Promise<NodeJS.MemoryUsage> {
  // Memory outside of the heap is let go some time after what held it was collected.
  for (let times = 0; times < 5; times += 1) {
    collect();
    await new Promise(setImmediate);
  }
  return process.memoryUsage();
}
