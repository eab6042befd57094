#!/usr/bin/env bash
# The real programs that test/e2e talks to, on a bare Debian machine with Node.js and Go: Debian's packages, and what Debian
# does not have, or not new enough, built from published Go modules. Installs what is missing, and nothing twice.
#
#   bash test/e2e/install.sh [NAME...]       names are those of programs.json; all of them by default
#
# Built programs go to $E2E_TOOLS/NAME-VERSION/. Nothing that is installed is started.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${E2E_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/behest-otel}
manifest=$here/otelcol-builder.yaml
# Debian has servers there, and not everybody has it on the path.
PATH=$PATH:/usr/sbin
# A module that is a source tree may list others beside it, which are not there.
export CGO_ENABLED=0 GOWORK=off

fail() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}

# A value of programs.json: at otelcol version, at otelcol binaries.
at() {
  node -e 'const [file, name, key] = process.argv.slice(1);
    const { built, debian } = JSON.parse(require("fs").readFileSync(file, "utf8"));
    const value = name ? (built[name] ?? debian[name])?.[key] : Object.keys({ ...debian, ...built });
    const words = value && typeof value === "object" && !Array.isArray(value) ? Object.values(value) : [value ?? []];
    console.log(words.flat().join(" "))' "$here/programs.json" "$@"
}

main() {
  command -v node >/dev/null || fail "node is missing: Node.js 20 or newer reads programs.json"
  local known name
  known=" $(at) "
  for name in "$@"; do
    [[ $known == *" $name "* ]] || fail "$name is not one of:$known"
  done
  (($#)) || read -ra known <<<"$known"
  (($#)) || set -- "${known[@]}"

  mkdir -p "$tools"
  # Two at once would build the same twice.
  exec 9>"$tools/.lock"
  flock 9
  scratch=$(mktemp -d "$tools/.install-XXXXXX")
  # Modules that go has fetched are read-only.
  trap 'chmod -R u+w "$scratch" && rm -rf "$scratch"' EXIT
  from_debian "$@"
  for name in "$@"; do
    [[ -n $(at "$name" package) ]] || build "$name"
  done
}

from_debian() {
  local name package began=$SECONDS missing=()
  for name in "$@"; do
    package=$(at "$name" package)
    [[ -n $package ]] || continue
    for package in $package $(at "$name" with); do
      installed "$package" || missing+=("$package")
    done
  done
  if ((${#missing[@]})); then
    logged "${missing[*]}" as_root apt-get update -q
    logged "${missing[*]}" as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
      apt-get install -y -q --no-install-recommends "${missing[@]}"
  fi
  for name in "$@"; do
    package=$(at "$name" package)
    [[ -n $package ]] || continue
    printf '%-20s %-22s Debian, %d s\n' "$name" "$(dpkg-query -W -f='${Version}' "$package")" $((SECONDS - began))
    began=$SECONDS
  done
}

installed() {
  [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

as_root() {
  if ((EUID == 0)); then
    "$@"
  else
    command -v sudo >/dev/null || fail "root or sudo is needed for: $*"
    sudo "$@"
  fi
}

# Runs a command; when it fails, says for which program and the last it said.
logged() {
  local what=$1 log=$scratch/log
  shift
  "$@" >"$log" 2>&1 </dev/null || {
    tail -n 15 "$log" >&2
    fail "$what: failed: $*"
  }
}

build() {
  local name=$1 version module target began=$SECONDS binary how="there already"
  version=$(at "$name" version)
  module=$(at "$name" module)
  target=$tools/$name-$version
  if ! is_there "$name" "$target"; then
    command -v go >/dev/null || fail "$name $version: go is missing: Go 1.26.7 or newer builds it"
    mkdir -p "$scratch/$name/bin"
    "build_$name" "$version" "$module" "$scratch/$name"
    for binary in $(at "$name" binaries); do
      [[ -x $scratch/$name/bin/$binary ]] || fail "$name $version: the build gave no $binary"
    done
    # All of it or nothing: a build that was killed leaves nothing behind that looks like a program.
    rm -rf "$target"
    mv -T "$scratch/$name/bin" "$target"
    how="built, $((SECONDS - began)) s"
  fi
  printf '%-20s %-22s %s\n' "$name" "$version" "$how"
}

# What goes into the collector changes without its version.
is_there() {
  local name=$1 target=$2
  [[ -d $target ]] && { [[ $name != otelcol ]] || cmp -s "$manifest" "$target/${manifest##*/}"; }
}

# The collector's own builder writes the source from the manifest; the versions of everything below are those of tools/otelcol.
build_otelcol() {
  local version=$1 work=$3
  logged "otelcol $version" env GOBIN="$work" go install "go.opentelemetry.io/collector/cmd/builder@v$version"
  (
    cd "$work"
    logged "otelcol $version" ./builder --config="$manifest" --skip-compilation --skip-get-modules
  )
  cp "$here/tools/otelcol/go.mod" "$here/tools/otelcol/go.sum" "$work/source/"
  logged "otelcol $version" go build -C "$work/source" -trimpath -tags grpcnotrace -ldflags "-s -w" -o "$work/bin/otelcol" .
  cp "$manifest" "$work/bin/"
}

build_jaeger() {
  local version=$1 module=$2 work=$3
  source_of "jaeger $version" "github.com/jaegertracing/jaeger@$module" "$work/source"
  logged "jaeger $version" go build -C "$work/source" -trimpath -tags grpcnotrace \
    -ldflags "-s -w -X github.com/jaegertracing/jaeger/internal/version.latestVersion=v$version" -o "$work/bin/" ./cmd/jaeger
}

# Without service discovery in clouds, and without the web pages, which the module does not contain.
build_prometheus() {
  local version=$1 module=$2 work=$3
  source_of "prometheus $version" "github.com/prometheus/prometheus@$module" "$work/source"
  logged "prometheus $version" go build -C "$work/source" -trimpath -tags remove_all_sd \
    -ldflags "-s -w -X github.com/prometheus/common/version.Version=$version" -o "$work/bin/" ./cmd/prometheus ./cmd/promtool
}

# It embeds web pages that the module does not contain: an empty one stands in for them.
build_alertmanager() {
  local version=$1 module=$2 work=$3
  source_of "alertmanager $version" "github.com/prometheus/alertmanager@$module" "$work/source"
  mkdir "$work/source/ui/app/dist"
  echo '<!doctype html><title>Alertmanager</title>' >"$work/source/ui/app/dist/index.html"
  logged "alertmanager $version" go build -C "$work/source" -trimpath \
    -ldflags "-s -w -X github.com/prometheus/common/version.Version=$version" -o "$work/bin/" ./cmd/alertmanager ./cmd/amtool
}

# A published module as a source tree of its own. Built there, its own go.mod and go.sum hold with all their replacements;
# `go install` of a version refuses a module that has any.
source_of() {
  local what=$1 module=$2 to=$3 from
  logged "$what" go mod download -json "$module"
  from=$(node -p 'JSON.parse(require("fs").readFileSync(process.argv[1], "utf8")).Dir' "$scratch/log")
  cp -r "$from" "$to"
  chmod -R u+w "$to"
}

main "$@"
