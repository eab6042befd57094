import { ALL_OPTIONS, envName, GROUPS, type Option } from "../config/options.ts";

/** `docs/configuration.md`: every option, made from the table that the program itself reads. */
export function configurationPage(): string {
  return `# Configuration

Unless it says otherwise, an option can be given on the command line, as an environment variable, or in the YAML file that
\`--config\` names; the first of these that says something wins. An empty variable counts as unset.
Wrong values are all reported at once, and nothing is started (exit status 2).

Where traces and metrics go is set by the standard \`OTEL_*\` variables alone.

An option that may be given several times takes a list in the file, and in its variable one value per
line or values parted by semicolons. Durations are written \`250ms\`, \`2s\`, \`10m\`, \`24h\`.

\`\`\`yaml
# behest-otel run --config bridge.yaml
agent-name: support
provider:
  - my-gateway=openai
run-idle-timeout: 15m
\`\`\`
${GROUPS.map(groupSection).join("")}`;
}

function groupSection(group: Option["group"]): string {
  const options = ALL_OPTIONS.filter((option) => option.group === group);
  return `\n## ${group}\n${options.map(optionSection).join("")}`;
}

function optionSection(option: Option): string {
  const value = option.kind === undefined ? "" : ` ${option.kind.placeholder}`;
  const rows = [`- Commands: ${option.commands.map((command) => `\`${command}\``).join(", ")}`];
  if (option.kind !== undefined) rows.push(`- Value: ${option.kind.expected}`);
  rows.push(`- Default: ${defaultText(option)}`);
  rows.push(option.perCall ? "- On the command line only" : `- Variable: \`${envName(option)}\``);
  if (option.standard !== undefined) rows.push(`- Also, in its own words: \`${option.standard.env}\``);
  return `\n### \`--${option.name}${value}\`\n\n${option.help}\n\n${rows.join("\n")}\n`;
}

function defaultText(option: Option): string {
  if (option.defaultNote !== undefined) return option.defaultNote;
  if (option.shape === "flag") return "off";
  if (option.default === undefined) return "none";
  const texts = typeof option.default === "string" ? [option.default] : option.default;
  return texts.map((text) => `\`${text}\``).join(", ");
}
