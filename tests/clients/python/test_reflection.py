"""A client that has no .proto file: it learns the API by reflection, as generic tools do."""

import os
import time
import unittest
import uuid

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

PACKAGE = "headlessly.communication.v1"
PATIENCE = 20
"""Seconds that a call may take before the test fails."""


class Client:
    """Calls methods by name, with requests and answers as dictionaries in proto3 JSON."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        self.database = ProtoReflectionDescriptorDatabase(self.channel)
        self.pool = descriptor_pool.DescriptorPool(self.database)

    def call(self, method, request, timeout=PATIENCE, metadata=()):
        return self._dict(self._stub(method)(self._message(method, request), timeout=timeout, metadata=metadata))

    def stream(self, method, request, timeout=PATIENCE):
        for answer in self._stub(method)(self._message(method, request), timeout=timeout):
            yield self._dict(answer)

    def _method(self, name):
        service, method = name.split("/")
        full = service if "." in service else f"{PACKAGE}.{service}"
        return self.pool.FindServiceByName(full).FindMethodByName(method)

    def _message(self, name, request):
        return json_format.ParseDict(
            request, message_factory.GetMessageClass(self._method(name).input_type)(), descriptor_pool=self.pool
        )

    def _stub(self, name):
        method = self._method(name)
        answer = message_factory.GetMessageClass(method.output_type)
        kind = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        path = f"/{method.containing_service.full_name}/{method.name}"
        return kind(path, request_serializer=lambda m: m.SerializeToString(), response_deserializer=answer.FromString)

    def _dict(self, message):
        return json_format.MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=self.pool)


class Refusal:
    """What a refused call says: its code, and the google.rpc details."""

    def __init__(self, error):
        self.code = error.code()
        self.message = error.details()
        self.info = self.fields = self.resource = self.retry = None
        for detail in rpc_status.from_call(error).details:
            for name, kind in [
                ("info", error_details_pb2.ErrorInfo),
                ("fields", error_details_pb2.BadRequest),
                ("resource", error_details_pb2.ResourceInfo),
                ("retry", error_details_pb2.RetryInfo),
            ]:
                if detail.Is(kind.DESCRIPTOR):
                    setattr(self, name, kind())
                    detail.Unpack(getattr(self, name))


class Reflection(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = Client(os.environ["SERVER_ADDRESS"])

    @classmethod
    def tearDownClass(cls):
        cls.client.channel.close()

    def send(self, **fields):
        message = {"channel": "EMAIL", "recipient": "ann@example.test", "subject": "Hello", "body": "Hello, Ann"}
        return {"message": {**message, **fields}, "request_id": str(uuid.uuid4())}

    def refusal(self, method, request, **options):
        with self.assertRaises(grpc.RpcError) as caught:
            self.client.call(method, request, **options)
        return Refusal(caught.exception)

    def test_every_service_is_listed(self):
        services = set(self.client.database.get_services())
        ours = ["Message", "Contact", "Activity", "Ticket", "Event", "Provider", "ApiKey"]
        expected = {f"{PACKAGE}.{name}Service" for name in ours} | {"grpc.health.v1.Health"}
        self.assertLessEqual(expected, services)

    def test_health(self):
        for service in ["", f"{PACKAGE}.MessageService"]:
            self.assertEqual(self.client.call("grpc.health.v1.Health/Check", {"service": service})["status"], "SERVING")

    def test_send_until_delivered(self):
        sent = self.client.call(
            "MessageService/Send",
            {**self.send(metadata={"order": 42}, tags=["welcome"]), "wait_until": "DELIVERED"},
        )
        self.assertRegex(sent["id"], "^message_[A-Za-z0-9]+$")
        self.assertEqual(sent["status"], "DELIVERED")
        self.assertEqual(sent["context"], "https://headless.ly/~default")
        self.assertLessEqual({"created_at", "sent_at", "delivered_at", "provider_message_id"}, set(sent))
        found = self.client.call("MessageService/Get", {"id": sent["id"]})
        self.assertEqual((found["body"], found["metadata"]), ("Hello, Ann", {"order": 42.0}))

    def test_send_to_a_contact(self):
        contact = self.client.call(
            "ContactService/Create",
            {"contact": {"name": "Ann", "addresses": [{"channel": "SMS", "value": "+15005550199"}]}},
        )
        sent = self.client.call(
            "MessageService/Send",
            {"message": {"recipient": contact["id"], "body": "Hello, Ann"}, "wait_until": "SENT"},
        )
        self.assertEqual((sent["channel"], sent["recipient"]), ("SMS", contact["id"]))
        self.assertIn(sent["status"], ["SENT", "DELIVERED"])

    def test_watch_to_the_end(self):
        sent = self.client.call("MessageService/Send", self.send())
        answers = list(self.client.stream("MessageService/Watch", {"message": sent["id"], "until_final": True}))
        events = [answer["event"] for answer in answers]
        kinds = [event["type"] for event in events]
        self.assertEqual({event["target"] for event in events}, {sent["id"]})
        self.assertIn("Message.Sent", kinds)
        self.assertEqual(kinds[-1], "Message.Delivered")
        self.assertEqual(len({event["id"] for event in events}), len(events))
        # Resumed in the middle, the stream goes on with the very next event.
        resumed = {"message": sent["id"], "until_final": True, "cursor": events[0]["cursor"]}
        again = [answer["event"]["id"] for answer in self.client.stream("MessageService/Watch", resumed)]
        self.assertEqual(again, [event["id"] for event in events[1:]])

    def test_watch_with_messages(self):
        sent = self.client.call("MessageService/Send", self.send(recipient="read@example.test"))
        request = {"message": sent["id"], "types": ["message.READ"], "include_message": True}
        first = next(self.client.stream("MessageService/Watch", request))
        self.assertEqual((first["event"]["type"], first["message"]["status"]), ("Message.Read", "READ"))

    def test_everything_wrong_is_said_at_once(self):
        refused = self.refusal(
            "MessageService/Send", {"message": {"channel": "EMAIL", "recipient": "nobody", "subject": "a\nb"}}
        )
        self.assertEqual(refused.code, grpc.StatusCode.INVALID_ARGUMENT)
        self.assertEqual((refused.info.reason, refused.info.domain), ("INVALID_ARGUMENT", "headlessly.communication"))
        fields = {violation.field for violation in refused.fields.field_violations}
        for field in ["recipient", "subject", "body"]:
            self.assertTrue(any(name.endswith(field) for name in fields), f"{field} is not in {fields}")
        self.assertTrue(all(violation.description for violation in refused.fields.field_violations))

    def test_a_repeated_request_is_carried_out_once(self):
        request = self.send()
        first, second = (self.client.call("MessageService/Send", request) for _ in range(2))
        self.assertEqual(first["id"], second["id"])
        refused = self.refusal("MessageService/Send", {**self.send(body="Other"), "request_id": request["request_id"]})
        self.assertEqual((refused.code, refused.info.reason), (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"))
        self.assertEqual(refused.fields.field_violations[0].field, "request_id")

    def test_unknown_things(self):
        draft = self.client.call("MessageService/Create", self.send())
        request = {"id": "message_" + draft["id"].removeprefix("message_")[::-1]}
        refused = self.refusal("MessageService/Get", request)
        self.assertIn(refused.code, [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT])
        refused = self.refusal("ContactService/Get", {"id": "contact_nobodyAtAll"})
        self.assertEqual((refused.code, refused.info.reason), (grpc.StatusCode.NOT_FOUND, "NOT_FOUND"))
        self.assertEqual(
            (refused.resource.resource_type, refused.resource.resource_name), ("Contact", "contact_nobodyAtAll")
        )

    def test_a_wrong_key_opens_nothing(self):
        metadata = [("authorization", "Bearer hly_sk_wrong")]
        refused = self.refusal("MessageService/Find", {}, metadata=metadata)
        self.assertEqual((refused.code, refused.info.reason), (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"))

    def test_an_unknown_method(self):
        unknown = self.client.channel.unary_unary(f"/{PACKAGE}.MessageService/Shout")
        with self.assertRaises(grpc.RpcError) as caught:
            unknown(b"", timeout=PATIENCE)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_a_failed_message_is_explained(self):
        sent = self.client.call(
            "MessageService/Send", {**self.send(recipient="reject@example.test"), "wait_until": "SENT"}
        )
        self.assertEqual((sent["status"], sent["failure"]["reason"]), ("FAILED", "REJECTED"))
        decisions = self.client.call("MessageService/Explain", {"id": sent["id"]})["decisions"]
        kinds = [decision["kind"] for decision in decisions]
        self.assertLessEqual({"ACCEPT", "CHANNEL", "PROVIDER", "ATTEMPT", "END"}, set(kinds))
        self.assertTrue(all(decision["summary"] for decision in decisions))

    def test_what_the_other_domains_are_told(self):
        sent = self.client.call("MessageService/Send", {**self.send(), "wait_until": "SENT"})
        deadline = time.monotonic() + PATIENCE
        found = []
        while not found and time.monotonic() < deadline:
            page = self.client.call(
                "ActivityService/Find", {"filter": {"where": {"message": {"eq": sent["id"]}}}}, timeout=PATIENCE
            )
            found = page.get("activities", [])
        self.assertEqual([(activity["type"], activity["status"]) for activity in found], [("EMAIL", "COMPLETED")])


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=2).result
    failed = len(result.failures) + len(result.errors)
    print(f"python: {result.testsRun - failed} passed, {failed} failed", flush=True)
    raise SystemExit(not result.wasSuccessful())
