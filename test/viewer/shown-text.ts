import type { Shown } from "../../src/viewer/store.ts";
import { renderTree } from "../../src/viewer/tree.ts";
import type { TreeOptions } from "../../src/viewer/tree.ts";
import type { SampleRun } from "./sample-runs.ts";
import { finishedTree } from "./span-builder.ts";

export const LOOK = { width: 80, colour: false, unicode: true };

/** The lines as one text that begins and ends with a line end, as a template literal does. */
export function shown(tree: Shown, options: Partial<TreeOptions> = {}): string {
  return `\n${renderTree(tree, { ...LOOK, ...options }).join("\n")}\n`;
}

/** Only the lines of the tree, without those above it. */
export function below(tree: Shown, options: Partial<TreeOptions> = {}): string {
  return shown(tree, options).replace(/^[^]*?\n\n/, "\n");
}

export function treeOf({ span, children }: SampleRun): Shown {
  return finishedTree(span, children);
}
