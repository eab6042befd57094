import { afterAll, beforeAll, expect, test } from "vitest";

import { temporary } from "../cli/program.ts";
import { startGrpcBackend, startHttpBackend, type OtlpServer } from "../otel/otlp-server.ts";
import { envFor, runOver } from "./bridge-run.ts";
import { treeOf } from "./tree.ts";
import * as wire from "./wire-runs.ts";

const PROTOCOLS = ["http/protobuf", "http/json", "grpc"] as const;
const backends: OtlpServer[] = [];

beforeAll(async () => {
  backends.push(await startHttpBackend(), await startHttpBackend(), await startGrpcBackend());
});
afterAll(async () => {
  await Promise.all(backends.map((backend) => backend.close()));
});

/** A run whose producer reports executions (one fails), and one of the stock runtime, which does not. */
function runsOfBothShapes(): object[] {
  const seen = wire.teller(1);
  const unseen = wire.teller(2);
  return [
    wire.started(seen),
    wire.model(seen),
    wire.asked(seen, "a"),
    wire.asked(seen, "b"),
    wire.usage(seen),
    wire.said(seen),
    wire.toolStarted(seen, "a"),
    wire.toolFinished(seen, "a"),
    wire.toolStarted(seen, "b"),
    wire.toolFinished(seen, "b", { Failure: { error: "tool `search` failed: no" } }),
    wire.toolSaid(seen, 3),
    wire.toolSaid(seen, 4),
    wire.completed(seen),
    wire.started(unseen),
    wire.model(unseen),
    wire.asked(unseen, "a"),
    wire.usage(unseen),
    wire.said(unseen),
    wire.toolSaid(unseen),
    wire.completed(unseen),
  ];
}

test("runs with and without reported executions arrive the same over all three protocols", async () => {
  const path = temporary("runs.ndjson", `${wire.linesOf(runsOfBothShapes()).join("\n")}\n`);
  const trees: string[] = [];
  for (const [index, protocol] of PROTOCOLS.entries()) {
    const backend = backends[index]!;
    const { delivered, report } = await runOver({ from: [path], env: envFor(backend.url, protocol) });
    expect([delivered, report.spans]).toEqual([true, { exported: 7, failed: 0 }]);
    trees.push(treeOf(backend.taken));
  }
  expect(new Set(trees).size).toBe(1);
  expect(trees[0]).toMatchInlineSnapshot(`
    "7a1b0000-0000-4000-8000-000000000001 2025-06-01T12:00:00.000000000Z session=01a20000-0000-7000-8000-000000000001 agent=-
      invoke_agent INTERNAL [0 +12] Unset g:operation.name=invoke_agent b:run.outcome=completed g:provider.name=openai b:run.model=gpt-4o b:run.finish_reason=stop b:run.iterations=1 b:run.usage.input_tokens=100 b:run.usage.output_tokens=20 b:run.model_calls=1 b:run.tool_calls=2 b:run.tool_failures=1 b:run.events=13
        chat gpt-4o CLIENT [1 +3] Unset g:operation.name=chat g:provider.name=openai g:request.model=gpt-4o g:usage.input_tokens=100 g:usage.output_tokens=20 g:response.finish_reasons=["stop"] b:run.iteration=1 b:response.chunks=0 b:message.id=01a20000-0000-7000-8000-000000000002
        execute_tool search INTERNAL [6 +1] Unset g:operation.name=execute_tool g:tool.name=search g:tool.call.id=a g:tool.type=function b:run.iteration=1 b:message.id=01a20000-0000-7000-8000-000000000003
        execute_tool search INTERNAL [8 +1] ERROR "tool \`search\` failed: no" g:operation.name=execute_tool error.type=tool_failed g:tool.name=search g:tool.call.id=b g:tool.type=function b:run.iteration=1 b:message.id=01a20000-0000-7000-8000-000000000004

    7a1b0000-0000-4000-8000-000000000002 2025-06-01T12:00:00.000000000Z session=01a20000-0000-7000-8000-000000000001 agent=-
      invoke_agent INTERNAL [0 +6] Unset g:operation.name=invoke_agent b:run.outcome=completed g:provider.name=openai b:run.model=gpt-4o b:run.finish_reason=stop b:run.iterations=1 b:run.usage.input_tokens=100 b:run.usage.output_tokens=20 b:run.model_calls=1 b:run.tool_calls=1 b:run.tool_failures=0 b:run.events=7
        chat gpt-4o CLIENT [1 +2] Unset g:operation.name=chat g:provider.name=openai g:request.model=gpt-4o g:usage.input_tokens=100 g:usage.output_tokens=20 g:response.finish_reasons=["stop"] b:run.iteration=1 b:response.chunks=0 b:message.id=01a20000-0000-7000-8000-000000000002
        execute_tool search INTERNAL [4 +1] Unset g:operation.name=execute_tool g:tool.name=search g:tool.call.id=a g:tool.type=function b:run.iteration=1 b:message.id=01a20000-0000-7000-8000-000000000003 b:span.inferred=true
    "
  `);
});
