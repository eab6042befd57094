import { onTestFinished } from "vitest";

import { serve, type Served, type ServeOptions } from "./served.ts";

/** A source as of `serve`, which is closed when the test has ended. */
export async function serveInTest(options?: ServeOptions): Promise<Served> {
  const served = await serve(options);
  onTestFinished(() => served.close());
  return served;
}
