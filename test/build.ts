import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..");

/** Builds before the tests that run what is built, unless nothing has changed since it was. */
export function setup(): void {
  const built = ["bin.js", "lib/index.js", "lib/index.d.ts"].map((file) => join(ROOT, "dist", file));
  if (built.every((file) => existsSync(file) && statSync(file).mtimeMs > newestSource())) return;
  execFileSync("npm", ["run", "--silent", "build"], {
    cwd: ROOT,
    stdio: "inherit",
    shell: process.platform === "win32",
  });
}

function newestSource(): number {
  const sources = readdirSync(join(ROOT, "src"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  const configs = ["package.json", "rolldown.config.js", "tsconfig.build.json", "tsconfig.json"].map((name) =>
    join(ROOT, name),
  );
  return Math.max(...[...sources, ...configs].map((file) => statSync(file).mtimeMs));
}
