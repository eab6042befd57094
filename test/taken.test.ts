import { expect, test } from "vitest";

import type { Event } from "../src/event/event.ts";
import { Taken } from "../src/taken.ts";

function event(runId: string): Event {
  return { type: "RunCancelled", runId, time: [0, 0], hash: 0, around: undefined };
}

test("what no event came of is used at once, the rest when it is decided, oldest first", () => {
  const taken = new Taken();
  const [early, late] = [event("a"), event("b")];
  taken.take("1", early);
  taken.take("2", undefined);
  taken.take("3", late);
  expect(taken.settle([late, early])).toEqual({ used: ["2"], unused: ["1", "3"], last: "3" });
  expect(taken.settle([early])).toEqual({ used: ["3"], unused: ["1"], last: "3" });
  expect(taken.size).toBe(1);
  expect(taken.settle([])).toEqual({ used: ["1"], unused: [], last: "3" });
  expect(taken.settle([])).toEqual({ used: [], unused: [], last: "3" });
});

test("equal events of two deliveries are told apart", () => {
  const taken = new Taken();
  const [one, twin] = [event("a"), event("a")];
  taken.take("1", one);
  taken.take("2", twin);
  expect(taken.settle([one])).toEqual({ used: ["2"], unused: ["1"], last: "2" });
});

test("before the first delivery nothing is the last", () => {
  expect(new Taken().settle([])).toEqual({ used: [], unused: [], last: undefined });
});
