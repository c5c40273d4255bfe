#!/usr/bin/env bash
# grpcurl, which people type: names and enums as they are in the README. An old build, which knows reflection v1alpha only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source check.sh

service=headlessly.communication.v1.MessageService
curl() { timeout 30 "$GRPCURL" -plaintext "$@"; }

want="$service" check "list" curl "$SERVER_ADDRESS" list
want='rpc Send \(' check "describe" curl "$SERVER_ADDRESS" describe $service
want='"status": *"DELIVERED"' check "Send" curl \
    -d '{"message": {"channel": "SMS", "recipient": "+15005550199", "body": "Hello"}, "wait_until": "DELIVERED"}' \
    "$SERVER_ADDRESS" $service/Send
id=$(field id)
want="\"id\": *\"$id\"" check "Get" curl -d "{\"id\": \"$id\"}" "$SERVER_ADDRESS" $service/Get
want='"Message.Delivered"' check "Watch" curl \
    -d "{\"message\": \"$id\", \"until_final\": true}" "$SERVER_ADDRESS" $service/Watch
want='"summary"' check "Explain" curl -d "{\"id\": \"$id\"}" "$SERVER_ADDRESS" $service/Explain
# grpcurl exits with 64 and the code: 3 is INVALID_ARGUMENT. Reflection serves the details, so it prints them decoded.
want='body: is required.*"field": *"body"' want_code=67 check "a refusal" \
    curl -d '{"message": {"recipient": "ann@example.test"}}' "$SERVER_ADDRESS" $service/Send
want='SERVING' check "health" curl "$SERVER_ADDRESS" grpc.health.v1.Health/Check

summary grpcurl
