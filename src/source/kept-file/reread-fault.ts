import { stat } from "node:fs/promises";

/** Why a file could not be read again after a restart, in words; undefined when it can, or is not there. */
export async function rereadFault(path: string): Promise<string | undefined> {
  const instead = "cannot be read again after a restart; expected --from - with --state-dir, or a file";
  if (/^\/(?:dev\/(?:fd\/|stdin$)|proc\/)/.test(path)) return `is a file descriptor and ${instead}`;
  const stats = await stat(path).catch(() => undefined);
  if (stats === undefined || stats.isFile() || stats.isDirectory()) return undefined;
  return `is a ${stats.isFIFO() ? "named pipe" : "device or socket"} and ${instead}`;
}
