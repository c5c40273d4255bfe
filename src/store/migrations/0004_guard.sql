-- Bytes of the content that waits, so that leaving the queue needs no look at the content.
ALTER TABLE queue ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;

-- Places in the queue that could not be read, with the reason. Every value as text, for it may be of any kind.
CREATE TABLE quarantine (
    message_id INTEGER PRIMARY KEY,
    reason TEXT NOT NULL,
    tenant TEXT,
    channel TEXT,
    lane TEXT,
    state TEXT,
    due_at TEXT,
    epoch TEXT,
    tries TEXT,
    ambiguous TEXT,
    expires_at TEXT,
    bytes TEXT,
    quarantined_at BIGINT NOT NULL
);
