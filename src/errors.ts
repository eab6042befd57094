/**
 * Every way in which the program refuses or gives up, with the exit status it leads to.
 *
 * Bad input is not here: an event that cannot be used is rejected with a code of the decoder, is
 * counted, and never ends anything.
 */
export const ERROR_CODES = {
  BEHEST_USAGE: {
    exit: 2,
    meaning:
      "The command line, the environment or the configuration file says something that cannot be done.",
    remedy: "Every problem is named with the place it stands at and what would be right there.",
  },
  BEHEST_SOURCE_OPEN: {
    exit: 2,
    meaning: "A source cannot be opened.",
    remedy: "Check that it exists and that this user may read it. Nothing was taken from it.",
  },
  BEHEST_SOURCE_READ: {
    exit: 1,
    meaning: "A source that was open cannot be read any further.",
    remedy: "What was read before is delivered. Start again when the source is back.",
  },
  BEHEST_STATE_OPEN: {
    exit: 2,
    meaning: "The state of an earlier process cannot be read: damaged, of another version, or out of reach.",
    remedy: "The message says which. Nothing was taken and nothing was changed.",
  },
  BEHEST_STATE_COMMIT: {
    exit: 1,
    meaning: "The state cannot be written.",
    remedy:
      "Nothing is acknowledged meanwhile, and it is tried again until it can be: make room, or give the rights.",
  },
  BEHEST_STATE_REPLACED: {
    exit: 1,
    meaning: "Replaced by a newer process that reads the same source with the same state.",
    remedy: "Nothing was acknowledged since. The newest process always wins; stop this one for good.",
  },
  BEHEST_OUTPUT: {
    exit: 1,
    meaning: "A file that was asked for (`--report`) cannot be written.",
    remedy: "Check the directory, the rights and the space on the disk.",
  },
  BEHEST_BUG: {
    exit: 70,
    meaning: "The program broke one of its own rules.",
    remedy: "Report it, with the message and the stack that were printed.",
  },
} as const satisfies Record<string, ErrorCode>;

export type BridgeErrorCode = keyof typeof ERROR_CODES;

interface ErrorCode {
  readonly exit: 1 | 2 | 70;
  readonly meaning: string;
  readonly remedy: string;
}

/** The one error of the program: match on `code`, never on the text. */
export class BridgeError extends Error {
  override readonly name = "BridgeError";
  readonly code: BridgeErrorCode;
  /** One text per thing that is wrong; for most codes just the message. */
  readonly problems: readonly string[];

  constructor(code: BridgeErrorCode, problems: string | readonly string[], options?: ErrorOptions) {
    const all = typeof problems === "string" ? [problems] : problems;
    super(all.join("\n"), options);
    this.code = code;
    this.problems = all;
  }
}

/** What the operating system says of a failed call, in words: `ENOENT` becomes "does not exist". */
export function systemReason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = (error as NodeJS.ErrnoException).code;
  return (code !== undefined && SYSTEM_REASONS[code]) || error.message;
}

const SYSTEM_REASONS: Readonly<Record<string, string | undefined>> = {
  ENOENT: "does not exist",
  EACCES: "may not be accessed by this user",
  EPERM: "may not be accessed by this user",
  EISDIR: "is a directory",
  ENOTDIR: "is under something that is not a directory",
  ENOSPC: "has no space left on its disk",
  EROFS: "is on a read-only file system",
  EMFILE: "cannot be opened: too many files are open",
  ELOOP: "is a circle of symbolic links",
  ENAMETOOLONG: "has too long a name",
};
