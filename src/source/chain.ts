import type { Source } from "./source.ts";

/**
 * Several finite sources as one, one after another, each opened when the one before has ended. A
 * break stands between them, so that a last line without its end does not run into the next source.
 */
export function chainSource(sources: readonly [Source, ...Source[]]): Source {
  let index = 0;
  let opened = -1;

  return {
    name: sources.length === 1 ? sources[0].name : `${sources[0].name} and ${sources.length - 1} more`,
    keepsOrder: sources.every((source) => source.keepsOrder),
    timed: sources.every((source) => source.timed),

    async open() {
      await sources[0].open();
      opened = 0;
    },

    async next(signal) {
      const source = sources[index];
      if (source === undefined || signal.aborted) return undefined;
      if (opened < index) {
        await source.open();
        opened = index;
      }
      const reading = await source.next(signal);
      if (reading !== undefined || signal.aborted) return reading;
      await source.close();
      index += 1;
      return index < sources.length ? { kind: "break" } : undefined;
    },

    async close() {
      await sources[index]?.close();
      index = sources.length;
    },
  };
}
