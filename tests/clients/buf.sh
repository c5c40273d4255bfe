#!/usr/bin/env bash
# `buf curl`: gRPC and gRPC-Web, over HTTP/2 and HTTP/1.1, by reflection and from the .proto files.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source check.sh

base=http://$SERVER_ADDRESS/headlessly.communication.v1
buf() { timeout 30 node/node_modules/.bin/buf curl "$@"; }
grpc() { buf --protocol grpc --http2-prior-knowledge "$@"; }
web() { buf --protocol grpcweb "$@"; }
mail='{"message": {"channel": "EMAIL", "recipient": "ann@example.test", "body": "Hello"}, "wait_until": "DELIVERED"}'

want='MessageService/SendBatch' check "reflection lists the methods" grpc --list-methods "http://$SERVER_ADDRESS"
want='"status": *"DELIVERED"' check "Send" grpc -d "$mail" "$base.MessageService/Send"
id=$(field id)
want="\"id\": *\"$id\"" check "Get" grpc -d "{\"id\": \"$id\"}" "$base.MessageService/Get"
want="\"id\": *\"$id\"" check "Find with a filter" \
    grpc -d '{"filter": {"where": {"status": {"in": ["DELIVERED", "READ"]}}}, "page_size": 1000}' "$base.MessageService/Find"
want='"Message.Delivered"' check "Watch" grpc -d "{\"message\": \"$id\", \"until_final\": true}" "$base.MessageService/Watch"

# buf curl exits with 8 times the code: 3 is INVALID_ARGUMENT, 5 is NOT_FOUND, 12 is UNIMPLEMENTED.
want='google.rpc.BadRequest' want_code=24 check "a refusal with its details" \
    grpc -d '{"message": {"recipient": "ann@example.test"}}' "$base.MessageService/Send"
want='not_found' want_code=40 check "NOT_FOUND" grpc -d '{"id": "contact_nobody"}' "$base.ContactService/Get"

want='"status": *"DELIVERED"' check "gRPC-Web over HTTP/2" \
    web --http2-prior-knowledge -d "$mail" "$base.MessageService/Send"
want='"status": *"DELIVERED"' check "gRPC-Web over HTTP/1.1" \
    web --schema ../../proto -d "$mail" "$base.MessageService/Send"
want='"Message.Delivered"' check "a gRPC-Web stream over HTTP/1.1" \
    web --schema ../../proto -d "{\"message\": \"$id\", \"until_final\": true}" "$base.MessageService/Watch"
want='google.rpc.BadRequest' want_code=24 check "a refusal over gRPC-Web" \
    web --schema ../../proto -d '{"message": {"recipient": "ann@example.test"}}' "$base.MessageService/Send"

summary buf
