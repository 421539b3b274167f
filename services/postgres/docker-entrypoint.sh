#!/bin/bash
# Creates the cluster on the first start, then becomes the server. The variables are the official image's.
set -euo pipefail

user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}
: "${POSTGRES_PASSWORD_FILE:?set it to the path of a file that holds the password}"
[ -s "$POSTGRES_PASSWORD_FILE" ] || { echo "postgres: error: $POSTGRES_PASSWORD_FILE is missing or empty" >&2; exit 1; }

# A major version cannot read another's files: said here in one line, before anything touches them.
own=$(postgres --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
for moved in "$PGDATA"/PG_VERSION.moved-to-*; do
    [ -e "$moved" ] || continue
    echo "postgres: error: these data were moved to PostgreSQL ${moved##*-}, which has a volume of its own: set POSTGRES_MAJOR and" \
        "POSTGRES_VOLUME as scripts/upgrade --postgres had set them, or go back by scripts/upgrade --postgres --back" >&2
    exit 1
done
if [ -s "$PGDATA/PG_VERSION" ] && [ "$(<"$PGDATA/PG_VERSION")" != "$own" ]; then
    found=$(<"$PGDATA/PG_VERSION")
    remedy="start the stack with POSTGRES_MAJOR=$found"
    [ "$found" -gt "$own" ] || remedy="$remedy, and scripts/upgrade --postgres $own moves them"
    echo "postgres: error: the files in the volume postgres-data are PostgreSQL $found's, and this is PostgreSQL $own: $remedy" >&2
    exit 1
fi

# Runs SQL without a server, hence without a password. A quote in a value is doubled, as SQL wants it.
# (By a here-string and a file, without a subshell: after a crash the lock file names this shell's process, and only its own child
# sees that it is stale.)
single_user() { postgres --single -j -D "$1" postgres <<<"$2" >/tmp/answer; }
quoted() { printf '%s' "${1//$2/$2$2}"; }

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # In a folder beside, moved at the end: a start that was interrupted leaves nothing that looks like a cluster.
    new=$PGDATA/.new whole=$PGDATA/.whole
    if [ ! -d "$whole" ]; then
        rm -rf "$new"
        initdb --pgdata="$new" --username="$user" --pwfile="$POSTGRES_PASSWORD_FILE" --encoding=UTF8 --locale=C.UTF-8 \
            --auth-local=scram-sha-256 --auth-host=scram-sha-256 >/dev/null
        echo 'host all all all scram-sha-256' >>"$new/pg_hba.conf"
        if [ "$database" != postgres ]; then
            single_user "$new" "CREATE DATABASE \"$(quoted "$database" '"')\";"
        fi
        mv "$new" "$whole"
    fi
    # A move that was interrupted goes on here. PG_VERSION last: it is what the next start looks for.
    find "$whole" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv --target-directory="$PGDATA" {} +
    mv "$whole/PG_VERSION" "$PGDATA/" && rmdir "$whole"
    echo "postgres: created the database $database" >&2
else
    # The password file rules: a changed file is a changed password, and a restored volume opens with today's file.
    single_user "$PGDATA" "SELECT 'found' || ' both' FROM pg_roles, pg_database
        WHERE rolname = '$(quoted "$user" "'")' AND datname = '$(quoted "$database" "'")';

ALTER ROLE \"$(quoted "$user" '"')\" PASSWORD '$(quoted "$(<"$POSTGRES_PASSWORD_FILE")" "'")';"
    if ! grep --quiet 'found both' /tmp/answer; then
        echo "postgres: error: there is no user $user or no database $database in what is stored here: the first start fixed" \
            "both, so put POSTGRES_USER and POSTGRES_DB back to what they were" >&2
        exit 1
    fi
fi

exec "$@"
