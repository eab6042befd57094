import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export const RECORDINGS = join(import.meta.dirname, "../fixtures/recordings");
export const TREES = join(import.meta.dirname, "../fixtures/trees");

export const VERSIONS = ["0.2.2", "0.5.9"] as const;

/** A recording of the real runtime: what one scenario sent over one transport (fixtures/recordings/README.md). */
export interface Recording {
  readonly version: (typeof VERSIONS)[number];
  /** Empty for what came out of the process's own channel. */
  readonly transport: string;
  readonly scenario: string;
  readonly path: string;
}

/** The recordings of one transport in both versions, where there are any. */
export function recordingsOf(transport: string): readonly Recording[] {
  return VERSIONS.flatMap((version) => {
    const folder = join(RECORDINGS, version, transport);
    return filesIn(folder).map((file) => ({
      version,
      transport,
      scenario: file.slice(0, -".ndjson".length),
      path: join(folder, file),
    }));
  });
}

export function recording(version: Recording["version"], scenario: string, transport = ""): Recording {
  const path = join(RECORDINGS, version, transport, `${scenario}.ndjson`);
  return { version, transport, scenario, path };
}

export function nameOf({ version, transport, scenario }: Recording): string {
  return [version, transport, scenario].filter((part) => part !== "").join("/");
}

/** The lines of a file, without their ends. */
export function linesOf(path: string): string[] {
  return readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => line !== "");
}

export function treePath({ version, scenario }: Recording): string {
  return join(TREES, version, `${scenario}.txt`);
}

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((file) => file.endsWith(".ndjson"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
