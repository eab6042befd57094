import type { Ledger } from "./metric/ledger.ts";
import type { RequestRefusal } from "./metric/words.ts";
import type { Source } from "./source/source.ts";

/** Gives what tells the ledger the numbers that a source counts itself, each time as far as they are new. */
export function sourceCounts(source: Source, ledger: Ledger): () => void {
  let told = { redelivered: 0, lost: 0, refused: new Map<RequestRefusal, number>() };
  return () => {
    const { redelivered = 0, lost = 0 } = source;
    const refused = new Map(source.refused);
    ledger.sourceCounts({
      redelivered: redelivered - told.redelivered,
      lost: lost - told.lost,
      refused: new Map(
        [...refused].map(([reason, count]) => [reason, count - (told.refused.get(reason) ?? 0)]),
      ),
    });
    told = { redelivered, lost, refused };
  };
}
