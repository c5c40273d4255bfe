
-- The queue's rows come and go: room on the pages, and a vacuum that comes early.
ALTER TABLE queue SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0);
-- A message is rewritten a few times in its life, on its page while there is room.
ALTER TABLE message SET (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05);
