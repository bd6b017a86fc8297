-- The event log on PostgreSQL, schema version 1. `{s}` is the schema's name. As in SQLite's file tables refuse to change or forget, and a
-- run grows only at its end, by one owner at a time; the rows are the same to the byte, so a run's hash chain is the same in both.
--
-- Columns of fixed width come first, which saves their padding. No foreign keys: each would lock and look up a row of `runs` for every
-- event, and nothing is ever deleted; `events_follow` sees to it that what an event belongs to is there. Texts are compared byte by byte
-- ("C"): the order of ids must not depend on the server's locale. PostgreSQL takes no NUL in a text, so type, state and message have it
-- as the two characters U+0010 0, and U+0010 doubled.

CREATE TABLE {s}.afk_es_log (
  version integer PRIMARY KEY,
  made_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE {s}.runs (
  run       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run_id    text COLLATE "C" NOT NULL UNIQUE,
  thread_id text COLLATE "C" NOT NULL
);

CREATE INDEX runs_of_thread ON {s}.runs (thread_id);

CREATE TABLE {s}.parts (
  digest  text COLLATE "C" PRIMARY KEY, -- blake2b-128 of content, in hexadecimal
  content text NOT NULL                 -- JSON; what {{"$part": digest}} in an event's data stands for
);

CREATE TABLE {s}.events (
  position       bigint GENERATED ALWAYS AS IDENTITY,
  run            bigint NOT NULL,
  at             bigint NOT NULL,  -- microseconds since 1970, UTC
  seq            integer NOT NULL CHECK (seq > 0),
  epoch          integer NOT NULL CHECK (epoch > 0),
  step           integer NOT NULL,
  schema_version integer NOT NULL,
  type           text COLLATE "C" NOT NULL,
  state          text COLLATE "C", -- NULL: running
  message        text COLLATE "C", -- NULL: none
  data           text COLLATE "C" NOT NULL, -- JSON; not jsonb, which would change its bytes
  hash           bytea NOT NULL,   -- blake2b-128 over the previous event's hash and the columns from seq to data
  PRIMARY KEY (run, seq)
);

CREATE TABLE {s}.letters (
  position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run      bigint NOT NULL,
  at       bigint NOT NULL,
  type     text COLLATE "C" NOT NULL,
  message  text COLLATE "C" NOT NULL,
  data     text COLLATE "C" NOT NULL
);

CREATE INDEX letters_of_run ON {s}.letters (run);

CREATE TABLE {s}.forks (
  run      bigint PRIMARY KEY,
  base_run bigint NOT NULL CHECK (base_run < run), -- the run that has the row of base_seq
  base_seq integer NOT NULL CHECK (base_seq > 0)   -- the last event that is shared
);

CREATE INDEX forks_of_run ON {s}.forks (base_run);

-- A takeover uses the next seq, so this and the primary key stop every owner who does not know of it. Once for each statement, over all rows
-- that it added: for each row it would cost as much again as the row itself.
CREATE FUNCTION {s}.events_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (
    SELECT FROM added AS a
    WHERE (SELECT p.epoch FROM {s}.events AS p WHERE p.run = a.run AND p.seq = a.seq - 1)
        IS DISTINCT FROM a.epoch - (a.type = 'run_started')::integer
      AND NOT (a.seq = 1 AND a.epoch = 1 AND a.type = 'run_started'
        AND (SELECT count(*) FROM {s}.runs AS r WHERE r.run = a.run) = 1
        AND (SELECT count(*) FROM {s}.forks AS f WHERE f.run = a.run) = 0)
      AND NOT (a.type = 'run_started' AND coalesce((
        SELECT a.seq = f.base_seq + 1 AND a.epoch = base.epoch + 1
        FROM {s}.forks AS f JOIN {s}.events AS base ON base.run = f.base_run AND base.seq = f.base_seq
        WHERE f.run = a.run), false))
  ) THEN
    RAISE EXCEPTION 'the event does not follow the head of its run with the epoch of its owner' USING ERRCODE = '23000';
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER events_follow AFTER INSERT ON {s}.events
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION {s}.events_follow();

-- What a run shares is said once, with its first own event: later it would change what the run is made of.
CREATE FUNCTION {s}.forks_first() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT count(*) FROM {s}.events AS e WHERE e.run = NEW.run AND e.seq <= NEW.base_seq) > 0
    OR (SELECT count(*) FROM {s}.events AS e WHERE e.run = NEW.base_run AND e.seq = NEW.base_seq) = 0
    OR (SELECT count(*) FROM {s}.runs AS r WHERE r.run = NEW.run) = 0
  THEN
    RAISE EXCEPTION 'a fork begins behind an event of another run, and has none of its own yet' USING ERRCODE = '23000';
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER forks_first AFTER INSERT ON {s}.forks FOR EACH ROW EXECUTE FUNCTION {s}.forks_first();

-- Letters are read from a position on, so one must not become visible behind a later one: whoever posts waits for whoever posts.
CREATE FUNCTION {s}.letters_queue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock((1634102124::bigint << 32) | TG_RELID::bigint);
  RETURN NULL;
END $$;

CREATE TRIGGER letters_queue BEFORE INSERT ON {s}.letters FOR EACH STATEMENT EXECUTE FUNCTION {s}.letters_queue();

-- Whoever drives the run is told, on the channel that all stores of this log listen on.
CREATE FUNCTION {s}.letters_tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('afk_es_' || TG_RELID, 'l' || (SELECT run_id FROM {s}.runs WHERE run = NEW.run));
  RETURN NULL;
END $$;

CREATE TRIGGER letters_tell AFTER INSERT ON {s}.letters FOR EACH ROW EXECUTE FUNCTION {s}.letters_tell();

CREATE FUNCTION {s}.stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% are never changed and never deleted', TG_TABLE_NAME USING ERRCODE = '23001';
END $$;

CREATE TRIGGER events_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON {s}.events FOR EACH STATEMENT EXECUTE FUNCTION {s}.stays();
CREATE TRIGGER runs_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON {s}.runs FOR EACH STATEMENT EXECUTE FUNCTION {s}.stays();
CREATE TRIGGER parts_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON {s}.parts FOR EACH STATEMENT EXECUTE FUNCTION {s}.stays();
CREATE TRIGGER forks_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON {s}.forks FOR EACH STATEMENT EXECUTE FUNCTION {s}.stays();
CREATE TRIGGER letters_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON {s}.letters FOR EACH STATEMENT EXECUTE FUNCTION {s}.stays();

-- ALWAYS: a session that calls itself a replica would otherwise go past them.
ALTER TABLE {s}.events ENABLE ALWAYS TRIGGER events_stay;
ALTER TABLE {s}.runs ENABLE ALWAYS TRIGGER runs_stay;
ALTER TABLE {s}.parts ENABLE ALWAYS TRIGGER parts_stay;
ALTER TABLE {s}.forks ENABLE ALWAYS TRIGGER forks_stay;
ALTER TABLE {s}.letters ENABLE ALWAYS TRIGGER letters_stay;

INSERT INTO {s}.afk_es_log (version) VALUES (1);
