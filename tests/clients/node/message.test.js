// A client in Node.js, from the repository's .proto files: what an application does all day.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { after, test } from "node:test";
import { promisify } from "node:util";

import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const PATIENCE = 20_000; // milliseconds that a call may take

const root = fileURLToPath(new URL("../../../proto", import.meta.url));
const files = ["message_service", "contact_service", "event"].map((name) => `headlessly/communication/v1/${name}.proto`);
const definition = loader.loadSync(files, { includeDirs: [root], keepCase: true, enums: String, longs: String, oneofs: true });
const api = grpc.loadPackageDefinition(definition).headlessly.communication.v1;

const address = process.env.SERVER_ADDRESS;
const credentials = grpc.credentials.createInsecure();
const [messages, contacts, events] = [api.MessageService, api.ContactService, api.EventService].map(
  (Service) => new Service(address, credentials),
);
after(() => [messages, contacts, events].forEach((client) => client.close()));

function call(client, method, request, { timeout = PATIENCE } = {}) {
  const options = { deadline: Date.now() + timeout };
  return promisify((done) => client[method](request, new grpc.Metadata(), options, done))();
}

function mail(fields = {}) {
  return { channel: "EMAIL", recipient: "ann@example.test", subject: "Hello", body: "Hello, Ann", ...fields };
}

function send(fields, options = {}) {
  return call(messages, "Send", { message: mail(fields), request_id: randomUUID(), ...options });
}

function seconds(time) {
  return Number(time.seconds);
}

function inSeconds(wait) {
  return { seconds: Math.floor(Date.now() / 1000) + wait };
}

test("sends, and waits until it was delivered", async () => {
  const sent = await send({ html_body: "<p>Hello, Ann</p>" }, { wait_until: "DELIVERED" });
  assert.match(sent.id, /^message_/);
  assert.equal(sent.status, "DELIVERED");
  assert.ok(seconds(sent.delivered_at) >= seconds(sent.created_at) - 1);
});

test("unicode, bytes and metadata come back as they went", async () => {
  const content = Buffer.from([0, 255, 10, 13, 46]);
  const metadata = { fields: { city: { stringValue: "Žďár" }, deep: { listValue: { values: [{ boolValue: true }] } } } };
  const sent = await send({ body: "Grüße 👋🏽\n.\n", attachments: [{ name: "a.bin", content }], metadata });
  const found = await call(messages, "Get", { id: sent.id });
  assert.equal(found.body, "Grüße 👋🏽\n.\n");
  assert.deepEqual(found.attachments[0].content, content);
  assert.equal(found.metadata.fields.city.stringValue, "Žďár");
  assert.equal(found.metadata.fields.deep.listValue.values[0].boolValue, true);
});

test("a wait that ends early returns the message as it is", async () => {
  const began = Date.now();
  const sent = await call(
    messages,
    "Send",
    { message: mail({ recipient: "silent@example.test" }), wait_until: "DELIVERED" },
    { timeout: 1_500 },
  );
  assert.ok(["QUEUED", "SENT"].includes(sent.status), sent.status);
  assert.ok(Date.now() - began < 1_500);
});

test("watches one message to its end", async () => {
  const sent = await send();
  const stream = messages.Watch({ message: sent.id, until_final: true }, { deadline: Date.now() + PATIENCE });
  const seen = [];
  for await (const { event } of stream) seen.push(event);
  assert.deepEqual([...new Set(seen.map((event) => event.target))], [sent.id]);
  assert.equal(seen.at(-1).type, "Message.Delivered");
});

test("watches everything from now on, and stops when the caller does", async () => {
  const stream = events.Watch({ types: ["Message.Delivered"] }, { deadline: Date.now() + PATIENCE });
  await once(stream, "metadata");
  const sent = await send();
  let seen;
  do [seen] = await once(stream, "data");
  while (seen.target !== sent.id);
  stream.cancel();
  await assert.rejects(once(stream, "end"), { code: grpc.status.CANCELLED });
});

test("a scheduled message is cancelled, once", async () => {
  const scheduled = await send({}, { scheduled_at: inSeconds(3_600) });
  assert.equal(scheduled.status, "SCHEDULED");
  const cancelled = await call(messages, "Cancel", { id: scheduled.id });
  assert.deepEqual([cancelled.outcome, cancelled.message.status], ["CANCELLED", "CANCELLED"]);
  const again = await call(messages, "Cancel", { id: scheduled.id });
  assert.equal(again.outcome, "ALREADY_CANCELLED");
  const sent = await send({}, { wait_until: "SENT" });
  assert.equal((await call(messages, "Cancel", { id: sent.id })).outcome, "TOO_LATE");
});

test("a draft is written, changed under its version, and sent", async () => {
  const draft = await call(messages, "Create", { message: mail() });
  assert.equal(draft.status, "DRAFT");
  const update = { message: { id: draft.id, version: draft.version, subject: "New" }, update_mask: { paths: ["subject"] } };
  const updated = await call(messages, "Update", update);
  assert.deepEqual([updated.subject, updated.body], ["New", "Hello, Ann"]);
  await assert.rejects(call(messages, "Update", update), { code: grpc.status.ABORTED });
  const sent = await call(messages, "Send", { id: draft.id, wait_until: "SENT" });
  assert.equal(sent.id, draft.id);
  assert.ok(["SENT", "DELIVERED"].includes(sent.status), sent.status);
});

test("a batch answers item by item, in order", async () => {
  const request = { messages: [mail(), mail({ body: "" }), mail({ recipient: "bob@example.test" })] };
  const { results } = await call(messages, "SendBatch", { ...request, request_id: randomUUID() });
  assert.deepEqual(results.map((item) => item.result), ["message", "status", "message"]);
  assert.equal(results[1].status.code, grpc.status.INVALID_ARGUMENT);
  assert.equal(results[2].message.recipient, "bob@example.test");
  await assert.rejects(call(messages, "SendBatch", { ...request, atomic: true }), { code: grpc.status.INVALID_ARGUMENT });
});

test("pages hold every message once", async () => {
  const campaign = `campaign-${randomUUID()}`;
  const sent = await Promise.all(Array.from({ length: 7 }, () => send({ campaign })));
  const found = [];
  const request = { filter: { json: JSON.stringify({ campaign }) }, order_by: "created_at", page_size: 3, page_token: "" };
  do {
    const page = await call(messages, "Find", request);
    assert.ok(page.messages.length <= 3);
    found.push(...page.messages.map((message) => message.id));
    request.page_token = page.next_page_token;
  } while (request.page_token);
  assert.equal(found.length, 7);
  assert.deepEqual(new Set(found), new Set(sent.map((message) => message.id)));
});

test("a failed message is sent again by Retry", async () => {
  const failed = await send({ recipient: "reject@example.test" }, { wait_until: "SENT" });
  assert.deepEqual([failed.status, failed.failure.reason], ["FAILED", "REJECTED"]);
  const again = await call(messages, "Retry", { id: failed.id });
  assert.equal(again.generation, 2);
});

test("refusals carry their details", async () => {
  await assert.rejects(send({ body: "", recipient: "" }), (error) => {
    assert.equal(error.code, grpc.status.INVALID_ARGUMENT);
    const details = error.metadata.get("grpc-status-details-bin")[0].toString("latin1");
    for (const word of ["google.rpc.ErrorInfo", "google.rpc.BadRequest", "headlessly.communication", "recipient", "body"]) {
      assert.ok(details.includes(word), `${word} is not in the details`);
    }
    return true;
  });
});

test("contacts are kept under the caller's own ids", async () => {
  const id = `contact_${randomUUID()}`;
  const contact = { id, name: "Ann", addresses: [{ channel: "CHAT", value: "ann" }] };
  await call(contacts, "Create", { contact });
  await assert.rejects(call(contacts, "Create", { contact }), { code: grpc.status.ALREADY_EXISTS });
  const sent = await call(messages, "Send", { message: { recipient: id, body: "Hello" }, wait_until: "DELIVERED" });
  assert.deepEqual([sent.channel, sent.status], ["CHAT", "DELIVERED"]);
});

test("a hundred calls at once over one connection", async () => {
  const sent = await Promise.all(Array.from({ length: 100 }, (_, index) => send({ subject: `No ${index}` })));
  assert.equal(new Set(sent.map((message) => message.id)).size, 100);
});
