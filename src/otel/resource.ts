import { SDK_INFO } from "@opentelemetry/core";
import { resourceFromAttributes, type Resource } from "@opentelemetry/resources";

/**
 * The resource of a process: what the environment says of the service, and constants.
 *
 * No host, no process id, no arguments: they say nothing about the agent whose runs these are,
 * would differ at every replay, and arguments leak what stands in them. An instance id, which metrics
 * need, is left out of spans for the same reason; one of the environment wins over ours.
 */
export function createResource(attributes: Readonly<Record<string, string>>, instanceId?: string): Resource {
  return resourceFromAttributes({
    ...(instanceId !== undefined && { "service.instance.id": instanceId }),
    ...attributes,
    "telemetry.sdk.language": SDK_INFO["telemetry.sdk.language"],
    "telemetry.sdk.name": SDK_INFO["telemetry.sdk.name"],
    "telemetry.sdk.version": SDK_INFO["telemetry.sdk.version"],
  });
}
