import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, extname, join, relative } from "node:path";
import { describe, expect, test } from "vitest";
import packageJson from "../package.json" with { type: "json" };
import lock from "../package-lock.json" with { type: "json" };
import { VERSION } from "../src/version.ts";

const ROOT = join(import.meta.dirname, "..");

interface Import {
  /** A file of ours from the top of the repository, or the name of a package. */
  readonly target: string;
  /** `*` when everything of it may be used. */
  readonly names: readonly string[];
  readonly onlyTypes: boolean;
}

interface SourceFile {
  readonly path: string;
  readonly text: string;
  /** Without comments and without what stands in strings over one line. */
  readonly code: string;
  readonly imports: readonly Import[];
}

const src = readTree("src");
const others = ["test", "docs", "bench", "examples"].flatMap(readTree);
const all = [...src, ...others];

/**
 * What a part of src may import, beside itself. Imports go one way (event, run, otel; source to event; the bridge
 * wires all but the program and the viewer), so that the heart can be read, tested and moved alone.
 */
const LEAVES = ["abort", "clock", "errors", "duration", "every", "log", "version"];
const WIRING =
  "bridge counters settling lane committer kept-state taken shard others-time status pipeline report dead-letter source-counts host identity parse-event sink sink-core otlp telemetry index schema".split(
    " ",
  );
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  event: [],
  run: ["event"],
  metric: ["event", "run"],
  otel: ["event", "run", "metric", ...LEAVES],
  state: LEAVES,
  source: ["event", "state", ...LEAVES],
  viewer: ["event", "run"],
  config: ["run", "source", "shard", ...LEAVES],
  cli: ["event", "run", "metric", "otel", "source", "state", "viewer", "config", ...LEAVES, ...WIRING],
  ...Object.fromEntries(LEAVES.map((leaf) => [leaf, LEAVES])),
  ...Object.fromEntries(
    WIRING.map((part) => [
      part,
      ["event", "run", "metric", "otel", "source", "state", "config", ...LEAVES, ...WIRING],
    ]),
  ),
};

/** Files that belong to another part than their folder says. */
const PART_OF: Readonly<Record<string, string>> = {
  "src/config.ts": "config",
  // The library's own set-up of an SDK: wiring, kept beside the SDK's types.
  "src/otel/node-telemetry.ts": "telemetry",
};

function partOf(path: string): string {
  return PART_OF[path] ?? (path.split("/")[1] ?? "").replace(/\.ts$/, "");
}

describe("imports", () => {
  test("go one way", () => {
    const wrong = src.flatMap(({ path, imports }) =>
      imports
        .filter(({ target }) => target.startsWith("src/"))
        .filter(
          ({ target }) =>
            partOf(target) !== partOf(path) && !MAY_IMPORT[partOf(path)]?.includes(partOf(target)),
        )
        .map(({ target }) => `${path} imports ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  test("of packages stand where they belong", () => {
    const allowed = (part: string, target: string): boolean => {
      if (part === "run" || part === "metric" || part === "viewer") return false;
      if (target.startsWith("node:")) return part !== "event" || target === "node:buffer";
      if (target === "zod") return part === "event" || part === "schema";
      if (target === "yaml") return part === "config";
      if (/^(fastify|redis|@nats-io\/.*)$/.test(target)) return part === "source";
      if (target === "@opentelemetry/api") return part === "otel" || WIRING.includes(part);
      return part === "otel" || part === "telemetry";
    };
    const wrong = src.flatMap(({ path, imports }) =>
      imports
        .filter(
          ({ target, onlyTypes }) =>
            !target.startsWith("src/") && !(onlyTypes && WIRING.includes(partOf(path))),
        )
        .filter(({ target }) => !allowed(partOf(path), target))
        .map(({ target }) => `${path} imports ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  test("name a file of ours with its ending", () => {
    const wrong = all.flatMap(({ path, imports }) =>
      imports
        .filter(({ target }) => /^(src|test|docs|bench)\//.test(target) && !existsSync(join(ROOT, target)))
        .map(({ target }) => `${path}: ${target}`),
    );
    expect(wrong).toEqual([]);
  });
});

describe("code", () => {
  test("of the wire and the heart knows no time, no chance and no process", () => {
    const banned =
      /\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|\bset(Timeout|Interval|Immediate)\b|\bconsole\b|\bprocess\b|\basync\b|\bawait\b|\bPromise\b|\bperformance\b/;
    expect(
      linesWith(
        src.filter(({ path }) => /^src\/(event|run)\//.test(path)),
        banned,
      ),
    ).toEqual([]);
  });

  test.each([
    ["no any", /\bas any\b/, src],
    ["no default exports", /^export default\b/, src],
    ["no enums and no namespaces", /^\s*(export )?(declare )?(const )?(enum|namespace) /, src],
    ["no console", /\bconsole\./, src],
    ["no test that is left out or alone", /\b(test|describe|it)\.(skip|only|todo)\(/, others],
  ])("has %s", (_, pattern, files) => {
    expect(linesWith(files, pattern)).toEqual([]);
  });

  test.each([
    ["unfinished business", /\b(TODO|FIXME|XXX|HACK)\b/],
    ["suppressed type errors", /@ts-(ignore|expect-error|nocheck)/],
  ])("and its comments have no %s", (_, pattern) => {
    // This file has the words; the other one a program whose error is expected.
    const exempt = ["test/tidy.test.ts", "test/package.test.ts"];
    const found = all.filter(({ path, text }) => !exempt.includes(path) && pattern.test(text));
    expect(found.map(({ path }) => path)).toEqual([]);
  });

  test("ends the process in one place", () => {
    expect(
      linesWith(
        src.filter(({ path }) => path !== "src/cli/main.ts"),
        /\bprocess\.(exit|kill|abort)\(/,
      ),
    ).toEqual([]);
  });

  test("re-exports only at the entries of the library", () => {
    const entries = ["src/index.ts", "src/otlp.ts", "src/schema.ts"];
    expect(
      linesWith(
        src.filter(({ path }) => !entries.includes(path)),
        /^export .*\bfrom "/m,
      ),
    ).toEqual([]);
  });

  test("files are named in kebab case, for what they are", () => {
    const names = src.map(({ path }) => basename(path, ".ts"));
    expect(names.filter((name) => !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name))).toEqual([]);
    expect(
      names.filter((name) => /^(utils?|helpers?|common|types|misc|manager|handler|processor)$/.test(name)),
    ).toEqual([]);
  });

  test("files have at most 400 lines", () => {
    const long = all
      .filter(({ text }) => text.split("\n").length > 401)
      .map(({ path, text }) => `${path}: ${text.split("\n").length - 1}`);
    expect(long).toEqual([]);
  });
});

describe("nothing is dead", () => {
  const entries = ["src/cli/bin.ts", "src/index.ts", "src/otlp.ts", "src/schema.ts"];

  test("every file of src is reached from an entry or makes documentation", () => {
    const reached = new Set<string>();
    const visit = (path: string): void => {
      if (reached.has(path)) return;
      reached.add(path);
      for (const { target } of all.find((file) => file.path === path)?.imports ?? []) visit(target);
    };
    [...entries, ...others.map(({ path }) => path).filter((path) => path.startsWith("docs/"))].forEach(visit);
    expect(src.map(({ path }) => path).filter((path) => !reached.has(path))).toEqual([]);
  });

  test("every export is imported somewhere, or is an entry's", () => {
    const used = new Map<string, Set<string>>();
    for (const { imports } of all) {
      for (const { target, names } of imports) {
        used.set(target, new Set([...(used.get(target) ?? []), ...names]));
      }
    }
    const dead = src
      .filter(({ path }) => !entries.includes(path) && !used.get(path)?.has("*"))
      .flatMap(({ path, code }) =>
        [...code.matchAll(/^export (?:async )?(const|let|function\*?|class|interface|type) (\w+)/gm)]
          .filter(([, , name = ""]) => !used.get(path)?.has(name))
          // A type that stands in the signature of something exported has to be exported with it.
          .filter(([, kind = "", name = ""]) => !/interface|type/.test(kind) || occurrences(code, name) === 1)
          .map(([, , name]) => `${path}: ${name}`),
      );
    expect(dead).toEqual([]);
  });
});

describe("packages", () => {
  const installed = Object.entries(lock.packages as Record<string, { version?: string }>).map(
    ([path, { version = "" }]) => ({
      path,
      version,
      name: path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length),
    }),
  );
  const ours = installed.filter(({ name }) => name.startsWith("@opentelemetry/"));

  test("of OpenTelemetry are there once each, and of one line", () => {
    expect(ours.length).toBeGreaterThan(10);
    expect(
      ours.filter(({ name }, index) => ours.findIndex((other) => other.name === name) !== index),
    ).toEqual([]);
    const lines = { "@opentelemetry/api": "1.10.0", "@opentelemetry/semantic-conventions": /^1\./ };
    const odd = ours.filter(({ name, version }) => {
      const line = lines[name as keyof typeof lines] ?? /^(3\.1\.0|0\.301\.0)$/;
      return !new RegExp(line).test(version);
    });
    expect(odd).toEqual([]);
  });

  test("that a host gets with the library are none of OpenTelemetry's, and no others than were decided on", () => {
    expect(Object.keys(packageJson.dependencies)).toEqual(["zod"]);
    expect(Object.keys(packageJson.peerDependencies)).toEqual([
      "@opentelemetry/api",
      "@opentelemetry/sdk-node",
    ]);
  });

  test("have exact versions", () => {
    const versions = Object.values({ ...packageJson.dependencies, ...packageJson.devDependencies });
    expect(versions.filter((version) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
  });

  test("have the version that the program says", () => {
    expect([packageJson.version, lock.version]).toEqual([VERSION, VERSION]);
  });
});

describe("the repository", () => {
  const tracked = trackedFiles();

  test("has links that lead somewhere", () => {
    const broken = tracked
      .filter((path) => path.endsWith(".md"))
      .flatMap((path) =>
        links(readFileSync(join(ROOT, path), "utf8"))
          .filter((link) => !leadsSomewhere(path, link))
          .map((link) => `${path}: ${link}`),
      );
    expect(broken).toEqual([]);
  });

  test("knows no machine and no registry", () => {
    const binary = new Set([".png", ".ico", ".gz", ".woff2"]);
    const banned =
      /(^|[\s"'`(=:])\/(work|root|home\/\w+|Users\/\w+)\/|registry\.npmjs|npmmirror|verdaccio|artifactory|"resolved":/i;
    const texts = tracked
      .filter((path) => !binary.has(extname(path)) && path !== "test/tidy.test.ts")
      .map((path) => ({ path, text: readFileSync(join(ROOT, path), "utf8") }));
    expect(
      texts
        .filter(({ text }) => banned.test(text))
        .map(({ path, text }) => `${path}: ${banned.exec(text)?.[0]}`),
    ).toEqual([]);
  });
});

function readTree(folder: string): SourceFile[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(ts|js)$/.test(entry.name))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)).replaceAll("\\", "/"))
    .filter((path) => !path.startsWith("test/recorder/"))
    .toSorted()
    .map(readSource);
}

function readSource(path: string): SourceFile {
  const text = readFileSync(join(ROOT, path), "utf8");
  const code = text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");
  return { path, text, code, imports: [...importsOf(path, code)] };
}

/** Static imports and re-exports; and lazy ones, which may use everything unless they are taken apart at once. */
function* importsOf(path: string, code: string): Generator<Import> {
  const statics = /^(?:import|export)( type)? ([^;"]*?)\s*from "([^"]+)"/gm;
  const lazies = /(?:(\{[^{}]*\})\s*=\s*await )?\bimport\("([^"]+)"\)/g;
  const at = (specifier: string) =>
    specifier.startsWith(".") ? join(dirname(path), specifier).replaceAll("\\", "/") : specifier;
  for (const [, type, clause = "", specifier = ""] of code.matchAll(statics)) {
    yield { target: at(specifier), names: namesOf(clause), onlyTypes: type !== undefined };
  }
  for (const [, clause = "*", specifier = ""] of code.matchAll(lazies)) {
    yield { target: at(specifier), names: namesOf(clause), onlyTypes: false };
  }
}

/** The names that an import clause takes, as the exporting file spells them. */
function namesOf(clause: string): string[] {
  if (clause.includes("*")) return ["*"];
  const [, list = ""] = /\{([^}]*)\}/.exec(clause) ?? [];
  return list
    .split(",")
    .map(
      (part) =>
        part
          .trim()
          .replace(/^type /, "")
          .split(/ as |:/)[0]
          ?.trim() ?? "",
    )
    .filter((name) => name !== "");
}

function occurrences(code: string, name: string): number {
  return code.match(new RegExp(`\\b${name}\\b`, "g"))?.length ?? 0;
}

function linesWith(files: readonly SourceFile[], pattern: RegExp): string[] {
  return files.flatMap(({ path, code }) =>
    code
      .split("\n")
      .filter((line) => pattern.test(line.replace(/"(?:[^"\\]|\\.)*"/g, '""')))
      .map((line) => `${path}: ${line.trim()}`),
  );
}

/** Files under version control, or that would be; all there are where there is no version control. */
function trackedFiles(): string[] {
  const listed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
    cwd: ROOT,
    encoding: "utf8",
  });
  return listed.split("\n").filter((path) => path !== "" && existsSync(join(ROOT, path)));
}

function links(text: string): string[] {
  const prose = text.replace(/```[\s\S]*?```/g, "").replace(/`[^`\n]*`/g, "");
  return [...prose.matchAll(/\]\(<?([^)\s>]+)>?\)/g)]
    .map(([, link]) => link ?? "")
    .filter((link) => !/^[a-z]+:/i.test(link));
}

function leadsSomewhere(from: string, link: string): boolean {
  const [path = "", anchor] = link.split("#");
  const file = path === "" ? join(ROOT, from) : join(ROOT, dirname(from), decodeURIComponent(path));
  if (!existsSync(file)) return false;
  if (anchor === undefined || !file.endsWith(".md")) return true;
  const headings = [...readFileSync(file, "utf8").matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    anchorOf(heading ?? ""),
  );
  return headings.includes(anchor);
}

/** The anchor that the usual renderers give a heading. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .trim()
    .replaceAll(" ", "-");
}
