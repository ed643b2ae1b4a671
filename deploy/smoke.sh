#!/usr/bin/env bash
# Brings compose up with its monitoring, asks, scrapes, looks at what the container may do, and takes it all down.
# Needs docker with compose. Prints a line per check; exits 1 at the first that fails, naming it.
set -euo pipefail
cd "$(dirname "$0")/.."

export SERVICE_PUBLISH=${SERVICE_PUBLISH:-127.0.0.1:18000} PROMETHEUS_PUBLISH=${PROMETHEUS_PUBLISH:-127.0.0.1:19090}
# An empty folder in place of ./models: the demo is asked for, whatever bundles lie here.
MODELS_FOLDER=$(mktemp -d)
export MODELS_FOLDER
chmod 755 "$MODELS_FOLDER"
service=http://$SERVICE_PUBLISH
prometheus=http://$PROMETHEUS_PUBLISH
compose() { docker compose --project-name recoserve-smoke --profile monitoring "$@"; }
passed=0

ok() { passed=$((passed + 1)); echo "ok: $*"; }
fail() {
  echo "failed: $*" >&2
  compose logs --tail 40 >&2 || true
  echo "smoke: $passed passed, 1 failed"
  exit 1
}
trap 'compose down --volumes --timeout 20 >/dev/null 2>&1 || true; rm -rf "$MODELS_FOLDER"' EXIT
inside() { compose exec -T recoserve "$@"; }
# until_true SECONDS COMMAND…: the command, twice a second, until it succeeds.
until_true() {
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do [ "$SECONDS" -lt "$end" ] || return 1; sleep 0.5; done
}

compose build --quiet || fail "the image builds"
ok "image built, $(docker image inspect recoserve:0.1.0 --format '{{.Size}}' | awk '{printf "%.0f MB", $1 / 1e6}')"

# seconds_since START: with one decimal; START is an $EPOCHREALTIME.
seconds_since() { awk -v from="${1/,/.}" -v to="${EPOCHREALTIME/,/.}" 'BEGIN { printf "%.1f", to - from }'; }
start=$EPOCHREALTIME
compose up --detach recoserve >/dev/null 2>&1 || fail "compose up"
until_true 60 curl -sSf "$service/readyz" || fail "ready within 60 s"
ready=$(seconds_since "$start")
compose up --detach --wait --wait-timeout 120 >/dev/null 2>&1 || fail "compose up until healthy"
ok "ready after $ready s, healthy with its Prometheus after $(seconds_since "$start") s"

curl -sSf "$service/recommend" -H 'Content-Type: application/json' -d '{"user_id": 42, "k": 10, "include": ["metadata"]}' |
  python3 -c '
import json, sys
answer = json.load(sys.stdin)
scores = [item["score"] for item in answer["items"]]
assert len(scores) == 10 and scores == sorted(scores, reverse=True), scores
assert all(item["metadata"]["title"] for item in answer["items"])
print("   ", answer["items"][0]["metadata"]["title"], scores[0])' || fail "ten books for reader 42, best first"
ok "ten books for reader 42, best first"

status=$(curl -s -o /dev/null -w '%{http_code} %{content_type}' "$service/recommend" -H 'Content-Type: application/json' -d '{"user_id": -1}')
[ "$status" = "422 application/problem+json" ] || fail "a bad id is a problem document, not $status"
ok "a bad id is a problem document"

metrics=$(curl -sSf "$service/metrics") || fail "metrics answer"
grep -q '^recoserve_http_request_duration_seconds_count{.*route="/recommend".*status="200"' <<<"$metrics" || fail "metrics count the request"
ok "metrics count the request"

# `query EXPRESSION`: succeeds when Prometheus has a non-zero answer.
query() { curl -sSf --get "$prometheus/api/v1/query" --data-urlencode "query=$1" | python3 -c '
import json, sys
found = json.load(sys.stdin)["data"]["result"]
sys.exit(not any(float(series["value"][1]) > 0 for series in found))'; }
until_true 60 query 'up{job="recoserve"} == 1' || fail "Prometheus scrapes the service"
until_true 60 query 'recoserve_http_request_duration_seconds_count{route="/recommend"}' || fail "Prometheus has the request"
until_true 60 query 'recoserve_model_info{name="library"}' || fail "Prometheus knows the model"
ok "scraped by Prometheus"

[ "$(inside id -u)" = 10001 ] || fail "runs as uid 10001"
ok "runs as uid 10001"
# As root, who owns these folders: the service's own user couldn't write there on a writable root either.
for folder in /opt/recoserve /models; do
  refused=$(compose exec -T --user 0 recoserve sh -c "echo x > $folder/x" 2>&1) && fail "$folder is read-only"
  [[ $refused = *"Read-only file system"* ]] || fail "$folder is read-only, not: $refused"
done
inside sh -c 'touch /tmp/x' || fail "/tmp can be written"
ok "read-only root, models read-only, /tmp writable"
# CapEff is empty for every non-root process; CapBnd is empty only where all of them were dropped.
for line in 'CapEff:[[:space:]]*0*' 'CapBnd:[[:space:]]*0*' 'NoNewPrivs:[[:space:]]*1'; do
  inside grep -qx "$line" /proc/1/status || fail "no capabilities, no new privileges: $line"
done
ok "no capabilities, no new privileges"
inside python -c '
import importlib.util, sys
found = [name for name in ("torch", "keras", "tensorflow", "onnx", "pip") if importlib.util.find_spec(name)]
sys.exit(f"inside the image: {found}" if found else 0)' || fail "no frameworks inside"
ok "no frameworks inside"
inside python -c '
from recoserve.search.kernel import library
words = set(library.CPUINFO.read_text().split())
able = [name for name, needed in library.INSTRUCTION_SETS.items() if needed <= words]
loaded = [library.KernelLibrary(name, path).name for name, path in library.libraries().items()]
assert loaded == able, (loaded, able)
print("    kernel", *loaded)' || fail "the kernel is inside, for what this processor can run"
inside python -c '
import os
print("    resident", round(int(open("/proc/1/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20), "MiB")' || fail "resident memory is read"

# On a read-only root the runtime complains that it can't keep its device id, wherever its telemetry is on.
logs=$(compose logs --no-log-prefix recoserve 2>&1) || fail "logs are read"
grep -q '"message": *"serving"' <<<"$logs" || fail "the log tells of the start"
if grep -qi telemetry <<<"$logs"; then fail "ONNX Runtime's telemetry is off"; fi
ok "ONNX Runtime's telemetry is off"

container=$(compose ps --quiet recoserve)
compose stop --timeout 40 recoserve >/dev/null 2>&1 || fail "compose stop"
[ "$(docker inspect "$container" --format '{{.State.ExitCode}}')" = 0 ] || fail "SIGTERM ends it with exit code 0"
ok "SIGTERM ends it with exit code 0"

echo "smoke: $passed passed, 0 failed"
