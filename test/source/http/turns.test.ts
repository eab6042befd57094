import { expect, test } from "vitest";

import { Turns } from "../../../src/source/http/turns.ts";

test.each([1, 2, 3])(
  "%i may act at once, and the others follow in their order, also after one that fails",
  async (max) => {
    const turns = new Turns(max);
    const begun: number[] = [];
    const acts = Array.from({ length: 6 }, () => Promise.withResolvers<number>());
    const ends = acts.map(({ promise }, index) =>
      turns.take(() => {
        begun.push(index);
        return promise;
      }),
    );
    const settled = Promise.allSettled(ends);
    for (const [index, { resolve, reject }] of acts.entries()) {
      await new Promise(setImmediate);
      expect(begun).toEqual(Array.from({ length: Math.min(6, index + max) }, (_, n) => n));
      if (index === 2) reject(new Error("failed"));
      else resolve(index);
    }
    const expected = [0, 1, undefined, 3, 4, 5];
    expect((await settled).map((end) => (end.status === "fulfilled" ? end.value : undefined))).toEqual(
      expected,
    );
    expect(await turns.take(() => Promise.resolve("free again"))).toBe("free again");
  },
);
