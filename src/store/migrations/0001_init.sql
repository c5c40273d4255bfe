-- Portable: TEXT, BIGINT (microseconds since 1970), BLOB. `INTEGER PRIMARY KEY` reads `BIGINT PRIMARY KEY` and `BLOB` reads `BYTEA`
-- where the database is not SQLite. Every row carries its tenant.

CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    channel TEXT CHECK (channel IN ('EMAIL', 'SMS', 'CHAT', 'PUSH')),
    direction TEXT NOT NULL CHECK (direction IN ('OUTBOUND', 'INBOUND', 'INTERNAL')),
    sender TEXT,
    recipient TEXT,
    subject TEXT,
    body TEXT NOT NULL,
    headers TEXT,
    metadata TEXT,
    tags TEXT,
    thread TEXT,
    in_reply_to TEXT,
    campaign TEXT,
    ticket TEXT,
    workflow TEXT,
    priority SMALLINT NOT NULL CHECK (priority BETWEEN 0 AND 2),
    scheduled_at BIGINT,
    expires_at BIGINT,
    sensitive SMALLINT NOT NULL,
    -- HTML body and files lie in message_part when there are any.
    parts SMALLINT NOT NULL,
    -- From here on: what changes. `status` is computed from the facts beside it, always by the same function.
    status TEXT NOT NULL CHECK (status IN
        ('DRAFT', 'SCHEDULED', 'QUEUED', 'SENT', 'DELIVERED', 'READ', 'FAILED', 'CANCELLED', 'EXPIRED')),
    generation INTEGER NOT NULL,
    accepted_at BIGINT,
    queued_at BIGINT,
    sent_at BIGINT,
    delivered_at BIGINT,
    read_at BIGINT,
    failed_at BIGINT,
    failure_reason TEXT,
    failure_code TEXT,
    failure_detail TEXT,
    cancelled_at BIGINT,
    expired_at BIGINT,
    provider TEXT,
    provider_message_id TEXT,
    attempts INTEGER NOT NULL,
    reporting SMALLINT,
    deleted_at BIGINT
);
CREATE INDEX message_by_tenant ON message (tenant, id);
CREATE INDEX message_by_recipient ON message (tenant, recipient, id);
CREATE INDEX message_by_thread ON message (tenant, thread, id) WHERE thread IS NOT NULL;

-- The big parts of a message, so that a change of status does not rewrite them.
CREATE TABLE message_part (
    message_id BIGINT NOT NULL,
    -- 0 is the HTML body, files follow.
    ordinal INTEGER NOT NULL,
    name TEXT,
    content_type TEXT NOT NULL,
    content_id TEXT,
    content BLOB NOT NULL,
    PRIMARY KEY (message_id, ordinal)
);

-- What waits to be handed off. Narrow, a row lives as long as the wait.
CREATE TABLE queue (
    message_id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    channel TEXT NOT NULL,
    lane SMALLINT NOT NULL,
    -- 0 ready, 1 leased, 2 held (may have been sent; waits for a receipt).
    state SMALLINT NOT NULL CHECK (state BETWEEN 0 AND 2),
    -- Ready: when it is due. Leased: when the lease ends. Held: when to give up.
    due_at BIGINT NOT NULL,
    -- Grows with every claim; a result counts only under the epoch of its claim.
    epoch BIGINT NOT NULL,
    -- Tries in this generation that count against the limit.
    tries INTEGER NOT NULL,
    -- A try of this generation may have reached the provider.
    ambiguous SMALLINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX queue_due ON queue (state, channel, lane, due_at);
-- For the sweep. What is claimed at the door never enters it.
CREATE INDEX queue_expiry ON queue (expires_at) WHERE state = 0;

-- One hand-off try.
CREATE TABLE attempt (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    message_id BIGINT NOT NULL,
    generation INTEGER NOT NULL,
    epoch BIGINT NOT NULL,
    provider TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT NOT NULL,
    -- ACCEPTED or the fault.
    outcome TEXT NOT NULL,
    provider_message_id TEXT,
    code TEXT,
    detail TEXT,
    -- When it is tried again, if it is.
    retry_at BIGINT,
    -- The result came after the lease had gone to somebody else.
    orphan SMALLINT NOT NULL
);
CREATE INDEX attempt_by_message ON attempt (message_id);
CREATE INDEX attempt_by_provider_id ON attempt (provider, provider_message_id) WHERE provider_message_id IS NOT NULL;

-- What a provider reported.
CREATE TABLE receipt (
    id INTEGER PRIMARY KEY,
    provider TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    -- 0 to be applied, 1 applied, 2 parked until its message is known, 3 of no effect.
    state SMALLINT NOT NULL CHECK (state BETWEEN 0 AND 3),
    kind TEXT NOT NULL,
    message_id BIGINT,
    provider_message_id TEXT,
    at BIGINT NOT NULL,
    code TEXT,
    detail TEXT,
    -- An inbound message as JSON, or the words of an unknown event.
    data TEXT
);
CREATE INDEX receipt_to_apply ON receipt (id) WHERE state = 0;
CREATE INDEX receipt_parked ON receipt (provider, provider_message_id) WHERE state = 2;
CREATE INDEX receipt_by_message ON receipt (message_id) WHERE message_id IS NOT NULL;

-- Everything that happened. Append only; `seq` is the place in the log.
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    kind TEXT NOT NULL,
    target TEXT NOT NULL,
    actor TEXT NOT NULL,
    at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    data TEXT NOT NULL
);
CREATE INDEX event_by_target ON event (target, seq);

-- How far a consumer of the log has come. Moves in the transaction of its effects.
CREATE TABLE consumer (
    name TEXT PRIMARY KEY,
    seq BIGINT NOT NULL
);

CREATE TABLE idempotency (
    tenant TEXT NOT NULL,
    method TEXT NOT NULL,
    request_id TEXT NOT NULL,
    hash BLOB NOT NULL,
    -- Ids of what the call made or changed, as JSON.
    result TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, method, request_id)
);
CREATE INDEX idempotency_by_age ON idempotency (created_at);

CREATE TABLE contact (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    name TEXT,
    -- [{"channel", "value", "label"}], in order of preference.
    addresses TEXT NOT NULL,
    preferred_channel TEXT CHECK (preferred_channel IN ('EMAIL', 'SMS', 'CHAT', 'PUSH')),
    locale TEXT,
    time_zone TEXT,
    metadata TEXT,
    deleted_at BIGINT,
    PRIMARY KEY (tenant, id)
);

CREATE TABLE device (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    contact TEXT NOT NULL,
    token TEXT NOT NULL,
    platform TEXT,
    provider TEXT,
    registered_at BIGINT NOT NULL,
    retired_at BIGINT,
    retired_reason TEXT,
    -- A token belongs to one person: the one who registered it last.
    UNIQUE (tenant, token)
);
CREATE INDEX device_by_contact ON device (tenant, contact);

CREATE TABLE activity (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    subject TEXT NOT NULL,
    type TEXT NOT NULL,
    contact TEXT,
    status TEXT NOT NULL,
    description TEXT,
    message_id BIGINT,
    event BIGINT
);
-- The wall behind "exactly once": an event makes one activity at most.
CREATE UNIQUE INDEX activity_by_event ON activity (event) WHERE event IS NOT NULL;
CREATE INDEX activity_by_contact ON activity (tenant, contact, id);

CREATE TABLE ticket (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    subject TEXT NOT NULL,
    description TEXT,
    status TEXT NOT NULL,
    priority TEXT NOT NULL,
    channel TEXT,
    requester TEXT,
    message_id BIGINT,
    event BIGINT
);
CREATE UNIQUE INDEX ticket_by_event ON ticket (event) WHERE event IS NOT NULL;
CREATE INDEX ticket_by_tenant ON ticket (tenant, id);

CREATE TABLE api_key (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    -- HMAC-SHA256 of the key under the store's own secret.
    hash BLOB NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    -- Bits: 1 send, 2 read, 4 admin.
    scopes SMALLINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

-- The store's own facts: its secret for key hashes, when it was made.
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
);
