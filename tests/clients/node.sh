#!/usr/bin/env bash
# The tests in Node.js, with their counts in the form that run.sh reads.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/node"

code=0
output=$(node --test --test-reporter=spec) || code=$?
echo "$output"
count() { sed -nE "s/^ℹ $1 ([0-9]+)\$/\1/p" <<<"$output" | tail -n 1; }
echo "node: $(count pass) passed, $(($(count fail) + $(count cancelled))) failed"
exit $code
