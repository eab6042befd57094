#!/usr/bin/env bash
# Records every scenario with the real runtime, in both versions, over every transport.
#
#   test/recorder/run.sh [OUT]      OUT defaults to a new temporary folder
#
# Needs cargo; installs redis-server and nats-server with apt-get when they are missing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-$(mktemp -d -t recordings-XXXXXX)}
mkdir -p "$out"
out=$(cd "$out" && pwd)

missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
command -v nats-server >/dev/null || missing+=(nats-server)
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v make >/dev/null || missing+=(make)
if ((${#missing[@]})); then
  export DEBIAN_FRONTEND=noninteractive
  sudo=$( ((EUID)) && echo sudo || true)
  $sudo apt-get update -qq </dev/null
  # The servers are started here, on ports of their own; the packages must not start any.
  $sudo env RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null
fi

work=$(mktemp -d -t recorder-XXXXXX)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap cleanup EXIT

echo "building"
(cd "$here" && cargo build --locked --quiet)

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A port that is free now may be taken in a moment: try others.
start() { # start NAME COMMAND...; the word PORT in the command becomes the port, kept in $port
  local name=$1 command pid
  shift
  for _ in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 20000))
    answers "$port" && continue
    command=("${@//PORT/$port}")
    "${command[@]}" >"$work/$name.log" 2>&1 </dev/null &
    pid=$!
    for _ in $(seq 100); do
      kill -0 "$pid" 2>/dev/null || break
      if answers "$port"; then
        pids+=("$pid")
        return
      fi
      sleep 0.05
    done
    kill "$pid" 2>/dev/null || true
  done
  echo "$name did not start:" >&2
  cat "$work/$name.log" >&2
  exit 1
}

start redis redis-server --bind 127.0.0.1 --port PORT --save "" --appendonly no --dir "$work"
redis=redis://127.0.0.1:$port/
start nats nats-server -a 127.0.0.1 -p PORT -js -sd "$work/nats"
nats=nats://127.0.0.1:$port

target=${CARGO_TARGET_DIR:-$here/target}/debug
for version in 0_2 0_5; do
  rm -rf "${out:?}/${version//_/.}".*
  "$target/record-$version" "$out" --redis "$redis" --nats "$nats"
done

echo "recorded $(find "$out" -name '*.ndjson' | wc -l) files into $out"
