import { BridgeError, systemReason } from "../errors.ts";
import { UnreadableState } from "./state-file.ts";

/** Why the state in a folder cannot be opened, and the way out. */
export function openError(folder: string, error: unknown): BridgeError {
  const unreadable = error instanceof UnreadableState;
  const wayOut = unreadable
    ? "`behest-otel state reset` moves it aside, and counting begins anew"
    : remedy(error);
  return new BridgeError(
    "BEHEST_STATE_OPEN",
    `${folder}${unreadable ? ":" : ""} ${reason(error)}; ${wayOut}`,
    {
      cause: error,
    },
  );
}

/** Why something could not be written into a folder. */
export function commitError(folder: string, error: unknown): BridgeError {
  return new BridgeError("BEHEST_STATE_COMMIT", `${folder} ${reason(error)}; ${remedy(error)}`, {
    cause: error,
  });
}

function reason(error: unknown): string {
  if (error instanceof UnreadableState) return error.message;
  const { code } = error as NodeJS.ErrnoException;
  return code === "EEXIST" ? "is a file where a directory is expected" : systemReason(error);
}

function remedy(error: unknown): string {
  switch ((error as NodeJS.ErrnoException).code) {
    case "ENOSPC":
    case "EDQUOT":
    case "EFBIG":
      return "make room on the disk";
    case "EEXIST":
    case "ENOTDIR":
      return "name another directory";
    default:
      return "it has to be a directory on a local disk that this user may write to";
  }
}
