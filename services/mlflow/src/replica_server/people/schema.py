"""The tables of people, in a schema of their own beside MLflow's, so that one backup holds both.

Passwords are not here: the proxy has them, as bcrypt hashes. A token is here as its SHA-256, which is enough, because
32 random bytes cannot be guessed.
"""

from typing import TYPE_CHECKING

from replica_server import limits

if TYPE_CHECKING:
    from psycopg2.extensions import cursor

STATEMENTS = f"""
CREATE SCHEMA IF NOT EXISTS people;
CREATE TABLE IF NOT EXISTS people.users (
    name text PRIMARY KEY,
    role text NOT NULL CHECK (role IN ('viewer', 'member', 'release', 'admin')),
    created timestamptz NOT NULL DEFAULT now()
);
-- When somebody who comes by single sign-on was here last; empty: the command `user` has made them.
ALTER TABLE people.users ADD COLUMN IF NOT EXISTS sso_seen date;
CREATE TABLE IF NOT EXISTS people.tokens (
    hash bytea PRIMARY KEY,
    owner text NOT NULL REFERENCES people.users ON DELETE CASCADE,
    name text NOT NULL,
    created timestamptz NOT NULL DEFAULT now(),
    expires timestamptz NOT NULL,
    used timestamptz,
    UNIQUE (owner, name)
);
CREATE OR REPLACE FUNCTION people.tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY people;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON people.users
    FOR EACH STATEMENT EXECUTE FUNCTION people.tell();
-- When a token was used is no matter.
CREATE OR REPLACE TRIGGER tell AFTER INSERT OR UPDATE OF hash, owner, name, expires OR DELETE OR TRUNCATE
    ON people.tokens FOR EACH STATEMENT EXECUTE FUNCTION people.tell();
CREATE TABLE IF NOT EXISTS people.grants (
    person text NOT NULL REFERENCES people.users ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('experiment', 'model')),
    -- An experiment's id, which stays, or a model's name.
    object text NOT NULL,
    role text NOT NULL CHECK (role IN ('member', 'release')),
    PRIMARY KEY (person, kind, object)
);
CREATE INDEX IF NOT EXISTS grants_object ON people.grants (kind, object);
CREATE OR REPLACE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON people.grants
    FOR EACH STATEMENT EXECUTE FUNCTION people.tell();
CREATE TABLE IF NOT EXISTS people.owners (
    kind text NOT NULL,
    key text NOT NULL,
    owner text NOT NULL,
    PRIMARY KEY (kind, key)
);
CREATE TABLE IF NOT EXISTS people.record (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    time timestamptz NOT NULL DEFAULT now(),
    person text NOT NULL,
    by text NOT NULL,
    address text NOT NULL,
    action text NOT NULL,
    object text NOT NULL,
    status integer NOT NULL
);
CREATE INDEX IF NOT EXISTS record_time ON people.record (time);
CREATE OR REPLACE FUNCTION people.only_append() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.time < now() - interval '{limits.LEAST_RECORD_DAYS} days' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the record of changes is only appended to';
END $$;
CREATE OR REPLACE TRIGGER only_append BEFORE UPDATE OR DELETE ON people.record
    FOR EACH ROW EXECUTE FUNCTION people.only_append();
CREATE OR REPLACE TRIGGER no_truncate BEFORE TRUNCATE ON people.record
    FOR EACH STATEMENT EXECUTE FUNCTION people.only_append();
-- Also for a session that replicates, which other triggers leave alone.
ALTER TABLE people.record ENABLE ALWAYS TRIGGER only_append, ENABLE ALWAYS TRIGGER no_truncate;
"""
# A grant ends with what it is for, and follows a model to its new name: in the same transaction, whoever does it.
FOLLOWING = """
CREATE OR REPLACE FUNCTION people.experiment_is_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM people.grants WHERE kind = 'experiment' AND object = OLD.experiment_id::text;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION people.model_is_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM people.grants WHERE kind = 'model' AND object = OLD.name;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION people.model_is_renamed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE people.grants SET object = NEW.name WHERE kind = 'model' AND object = OLD.name;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER people_gone AFTER DELETE ON experiments
    FOR EACH ROW EXECUTE FUNCTION people.experiment_is_gone();
CREATE OR REPLACE TRIGGER people_gone AFTER DELETE ON registered_models
    FOR EACH ROW EXECUTE FUNCTION people.model_is_gone();
CREATE OR REPLACE TRIGGER people_renamed AFTER UPDATE OF name ON registered_models
    FOR EACH ROW WHEN (OLD.name <> NEW.name) EXECUTE FUNCTION people.model_is_renamed();
"""


def has_admin(cursor: "cursor") -> bool:
    """Tells whether somebody has the role admin."""
    cursor.execute("SELECT EXISTS (SELECT FROM people.users WHERE role = 'admin')")
    return cursor.fetchone() == (True,)


def create(cursor: "cursor") -> None:
    """Creates what is missing of the tables and triggers; safe to run at any time once MLflow's tables are there."""
    cursor.execute(STATEMENTS + FOLLOWING)
