/**
 * Every spelling in use of `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`, in our words;
 * undefined for a spelling nobody uses. Upper and lower case are the same.
 */
export function captureOf(text: string): "off" | "span" | undefined {
  switch (text.toLowerCase()) {
    case "true":
    case "1":
    case "span":
    case "span_only":
    case "span_and_event":
      return "span";
    // There is no content on events here, so asking for it there alone asks for none.
    case "event":
    case "event_only":
    case "none":
    case "no_content":
    case "false":
    case "0":
    case "":
      return "off";
    default:
      return undefined;
  }
}
