-- Several nodes over one database, and fairness among tenants in the queue.

-- Ready places by tenant: a claim takes from each in turn. Only what is ready is in it: what is claimed at the door never enters.
DROP INDEX queue_due;
CREATE INDEX queue_ready ON queue (channel, lane, tenant, due_at) WHERE state = 0;
-- When the next one is due.
CREATE INDEX queue_next ON queue (channel, due_at) WHERE state = 0;
-- Leases that run out, waits that end.
CREATE INDEX queue_wait ON queue (state, due_at) WHERE state <> 0;

-- The processes over this database. A number is part of every id that its node makes.
CREATE TABLE node (
    id SMALLINT PRIMARY KEY,
    -- Tells a node from one that had the number before.
    token BIGINT NOT NULL,
    name TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL
);
