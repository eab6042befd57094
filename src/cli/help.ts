import { COMMANDS, envName, GROUPS, optionsOf, type Command, type Option } from "../config/options.ts";
import { COMMAND_TEXTS } from "./commands.ts";

/** Columns of the help text: fits a terminal of 80. */
const WIDTH = 79;

/** What `--help` prints: of the program, or of one command. */
export function helpText(command: Command | undefined): string {
  return command === undefined ? programHelp() : commandHelp(command);
}

function programHelp(): string {
  const names = COMMANDS.map((command) => `  ${command.padEnd(13)}${COMMAND_TEXTS[command].summary}`);
  return `behest-otel: the events of agent runs as OpenTelemetry traces and metrics

Usage: behest-otel COMMAND [OPTION]...

Commands
${names.join("\n")}

Try it, with no backend
  behest-otel view events.ndjson

Send it
  my-agent | OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 behest-otel run

behest-otel COMMAND --help shows the options of a command.
Where traces and metrics go is set by the standard OTEL_* variables.
`;
}

function commandHelp(command: Command): string {
  const { about, examples, operands } = COMMAND_TEXTS[command];
  const usage = ["behest-otel", command, "[OPTION]...", operands].filter((part) => part !== "").join(" ");
  const blocks = [`Usage: ${usage}`, wrap(about, WIDTH).join("\n")];
  for (const group of GROUPS) {
    const options = optionsOf(command).filter((option) => option.group === group);
    if (options.length > 0) blocks.push([group, ...options.map(optionHelp)].join("\n"));
  }
  blocks.push(["Examples", ...examples.map((line) => `  ${line}`)].join("\n"));
  if (command !== "traceparent" && command !== "state") blocks.push(surroundings(command));
  return `${blocks.join("\n\n")}\n`;
}

function optionHelp(option: Option): string {
  const usage =
    option.kind === undefined ? `--${option.name}` : `--${option.name} ${option.kind.placeholder}`;
  return [
    `  ${usage}`,
    ...wrap(`${option.help}${defaultText(option)}`, WIDTH - 6).map((line) => `      ${line}`),
  ].join("\n");
}

/** The default in brackets, with a space before; empty for what is simply off. */
function defaultText(option: Option): string {
  const written = typeof option.default === "string" ? option.default : option.default?.join(" ");
  const text = option.defaultNote ?? written;
  return text === undefined ? "" : ` [${text}]`;
}

/** What holds for the command beside its options. */
function surroundings(command: Command): string {
  const option = optionsOf(command).find(({ name }) => name === "agent-name");
  const blocks = [];
  if (command !== "view") {
    blocks.push(
      "Where data goes is set by the standard variables: OTEL_EXPORTER_OTLP_ENDPOINT [http://localhost:4318], " +
        "OTEL_EXPORTER_OTLP_HEADERS, OTEL_EXPORTER_OTLP_PROTOCOL, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, " +
        "OTEL_TRACES_SAMPLER and their kin.",
    );
  }
  if (option !== undefined) {
    blocks.push(
      `Every option can be set by a variable, as --${option.name} by ${envName(option)}, and in the file that ` +
        "--config names. Durations are written 250ms, 2s, 10m, 24h.",
    );
  }
  if (command !== "view") {
    blocks.push(
      "Exit status: 0 all delivered, 1 something could not be delivered, 2 wrong usage or configuration (nothing " +
        "was started), 70 a bug.",
    );
  }
  return blocks.map((block) => wrap(block, WIDTH).join("\n")).join("\n\n");
}

/** Breaks a text at spaces into lines of at most `width` columns. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}
