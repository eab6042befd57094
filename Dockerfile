# The program in an image of its own: built here from the sources, run by a user without rights, with no shell between
# it and its signals.
#
#   docker build --tag behest-otel .
#   docker run --rm --interactive behest-otel view - < events.ndjson
#   docker run --env OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 behest-otel run --from ...
FROM node:24.21.0-bookworm-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
# Without install scripts: bundling needs none of them, and Node.js is here already.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY LICENSE rolldown.config.js tsconfig.json ./
COPY src ./src
RUN npm run --silent bundle

FROM node:24.21.0-bookworm-slim
LABEL org.opencontainers.image.title="behest-otel" \
      org.opencontainers.image.description="OpenTelemetry bridge for agent runs" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /opt/behest-otel
COPY --from=build /build/LICENSE /build/package.json ./
COPY --from=build /build/dist/bin.js ./dist/
COPY --from=build /build/dist/chunks ./dist/chunks/
# `run` answers to /healthz and /readyz here; the other commands take no notice.
ENV BEHEST_OTEL_HEALTH=0.0.0.0:4321
# Events over HTTP, and health.
EXPOSE 4320 4321
USER 1000:1000
# /healthz, not /readyz: that one is 503 while a backend refuses the credentials, and a restart would lose what waits for
# it and mend nothing.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
  CMD ["node", "--eval", "fetch('http://127.0.0.1:4321/healthz').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/opt/behest-otel/dist/bin.js"]
CMD ["--help"]
