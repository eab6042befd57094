import { defineConfig } from "rolldown";

// Bundled whole, so that the program starts from a few files and runs without node_modules, and the library needs
// nothing that its package.json does not name. What is not always needed stays in chunks of its own: `--help` reads
// neither zod nor OpenTelemetry.
const output = {
  format: "esm",
  entryFileNames: "[name].js",
  chunkFileNames: "chunks/[name].js",
  cleanDir: true,
};

export const program = defineConfig({
  input: { bin: "src/cli/bin.ts" },
  platform: "node",
  output: { ...output, dir: "dist" },
});

// Its types are written by tsc, beside it.
export const library = defineConfig({
  input: { index: "src/index.ts", otlp: "src/otlp.ts", schema: "src/schema.ts" },
  platform: "node",
  external: ["@opentelemetry/api", "@opentelemetry/sdk-node", "zod"],
  output: { ...output, dir: "dist/lib" },
});

export default [program, library];
