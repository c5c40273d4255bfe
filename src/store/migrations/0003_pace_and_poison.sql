-- Claims in a row that ended without a result: a message that ends its process each time is taken out after a few.
ALTER TABLE queue ADD COLUMN losses INTEGER NOT NULL DEFAULT 0;
-- 1 when `due_at` is the message's own time in the lane of its sender.
ALTER TABLE queue ADD COLUMN paced SMALLINT NOT NULL DEFAULT 0;
