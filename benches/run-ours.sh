#!/usr/bin/env bash
# The service from outside: a release `hly serve`, the kit's sinks as vendors, the kit's gRPC load.
# Args: sqlite|postgres [n] [conc] [size]
#
# BENCH_KIT  the folder of the kit: lib.sh, built by its setup.sh. Needed.
# HLY        the program; target/release/hly of this tree when not set.
# HLY_STORE  the URL of an empty PostgreSQL database; with `postgres` and without it a cluster of the kit is started.
# RATE       calls a second of the paced line (500); PLACES hand-offs at once (64); RELAY connections to the relay (20).
#
# Prints lines `name=... n=... secs=... rate=... p50_us=... p99_us=...`; ends with 1 when something was lost or came twice.
kind=${1:?sqlite or postgres} n=${2:-20000} conc=${3:-64} size=${4:-1024}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "${BENCH_KIT:?BENCH_KIT must name the folder of the kit}/lib.sh"
hly=${HLY:-$here/target/release/hly} rate=${RATE:-500} places=${PLACES:-64} relay=${RELAY:-20}
[ -x "$hly" ] || { echo "$hly: build it first: cargo build --release" >&2; exit 1; }
[ -x "$KIT" ] || { echo "$KIT: build the kit first: setup.sh" >&2; exit 1; }
D=$W/ours; bad=0; rm -rf "$D"; mkdir -p "$D"

case $kind in
  sqlite) url=sqlite://$D/hly.db ;;
  postgres) if [ -n "${HLY_STORE:-}" ]; then url=$HLY_STORE; else trap 'cleanup; pg_stop' EXIT; pg_start || exit 1; url=$PGURL; fi ;;
  *) echo "sqlite or postgres, not $kind" >&2; exit 1 ;;
esac

cat >"$D/hly.toml" <<C
[api]
listen = "$GRPC"
[edge]
listen = "127.0.0.1:0"
[store]
url = "$url"
[log]
filter = "warn"
[limits]
queue_depth = 10000000
tenant_queue_depth = 10000000
queue_bytes = "64GiB"
tenant_queue_bytes = "64GiB"
[[provider]]
name = "gateway"
kind = "http"
channels = ["SMS"]
max_in_flight = $places
url = "http://$HTTP_SINK/messages"
json = { to = "{{ recipient.address }}", text = "{{ body }}", reference = "{{ message.id }}" }
[[provider]]
name = "relay"
kind = "smtp"
channels = ["EMAIL"]
max_in_flight = $relay
max_connections = $relay
host = "127.0.0.1"
port = ${SMTP_SINK##*:}
tls = "none"
from = "bench@example.test"
C

# The configuration is the file alone: no variable of the caller counts.
serve() { bg env -i "$hly" serve --config "$D/hly.toml"; S=${KIDS[-1]}; up "${GRPC##*:}"; }
payload() { "$hly" bench payload --size "$size" "$@"; }
load() { # name n payload-file [rate]: one call a message
  "$KIT" grpc-load --name "$1" --target "$GRPC" --path /headlessly.communication.v1.MessageService/Send \
    --payload-file "$3" --conns 4 --conc "$conc" --n "$2" --rate "${4:-0}" --max-secs 600; }
line() { # name control first-us n seconds: waits until the sink has them; the line of the whole way
  await "$2" "$4" "$5"; local st end; st=$(stat_of "$2"); end=$(field last_us <<<"$st")
  local got dup; got=$(field distinct <<<"$st") dup=$(field dup <<<"$st")
  [ "$got" = "$4" ] && [ "$dup" = 0 ] || { echo "$1: of $4 messages $got arrived, $dup came again" >&2; bad=1; }
  echo "name=$1 n=$got secs=$(bc <<<"scale=3; ($end-$3)/1000000") rate=$(bc <<<"$4*1000000/($end-$3)") p50_us=$(field p50_us <<<"$st") p99_us=$(field p99_us <<<"$st") dup=$dup rss_mib=$(rss_tree "$S")"; }
now_us() { date +%s%6N; }

http_sink --body '{}'; smtp_sink; serve
payload --channel sms >"$D/sms"; payload --channel sms --at +24h >"$D/sms-later"; payload --channel email >"$D/email"

load warm 500 "$D/sms" >/dev/null; load warm 200 "$D/email" >/dev/null; await "$HTTP_SINK" 500 60; await "$SMTP_CTL" 200 60

# Accepting is all there is to do.
load "ours-accept/$kind/c$conc" "$n" "$D/sms-later"

# Each handed off beside it.
reset "$HTTP_SINK"; s=$(now_us)
load "ours-live-http-calls/$kind/c$conc" "$n" "$D/sms"; line "ours-live-http/$kind/c$conc" "$HTTP_SINK" "$s" "$n" 120

# All due at one moment: the times of the sink count from the call on and say nothing here.
due=$(($(date +%s) + 3 + n / 2000)); payload --channel sms --at "$(date -u -d "@$due" +%FT%TZ)" >"$D/sms-due"
reset "$HTTP_SINK"; load "ours-drain-fill/$kind/c$conc" "$n" "$D/sms-due" >"$D/fill"
if [ "$(date +%s)" -ge "$due" ]; then echo "drain: accepting took too long, nothing was measured" >&2; await "$HTTP_SINK" "$n" 120
else line "ours-drain-http/$kind" "$HTTP_SINK" "${due}000000" "$n" 180 | sed 's/ p50_us=[0-9]* p99_us=[0-9]*/ p50_us=0 p99_us=0/'; fi

# Mails over kept connections.
reset "$SMTP_CTL"; s=$(now_us)
load "ours-smtp-calls/$kind/c$conc" "$n" "$D/email"; line "ours-smtp/$kind/c$conc" "$SMTP_CTL" "$s" "$n" 300

# At an even pace, from the call to the arrival.
reset "$HTTP_SINK"; s=$(now_us); m=$((rate * 8))
load "ours-$rate/s-calls/$kind" $m "$D/sms" "$rate"; line "ours-$rate/s/$kind" "$HTTP_SINK" "$s" $m 60
exit $bad
