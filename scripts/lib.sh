# What the scripts here share: messages, waiting, and reading Debian's package sources. Sourced, not run.
# shellcheck shell=bash

say() { printf '==> %s\n' "$*" >&2; }

die() {
    printf '%s: error: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# answer_help ARGUMENT...: to --help a script answers with the comment at its head, and ends.
answer_help() {
    local script
    # $0 may be relative to another folder by now.
    script=$(dirname "${BASH_SOURCE[0]}")/$(basename "$0")
    [ -f "$script" ] || script=$0
    case ${1:-} in
        -h | --help) sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p;}' "$script" && exit ;;
    esac
}

# wait_for SECONDS COMMAND...: polls until the command succeeds; fails when the time is over.
wait_for() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.2
    done
}

is_debian() { [ -r /etc/os-release ] && [ "$(. /etc/os-release && echo "$ID")" = debian ]; }

# debian_sources RELEASE: this machine's own Debian package sources, rewritten for another release, in one-line form.
# The mirror is the one that the machine uses, whatever it is.
debian_sources() {
    python3 "$(dirname "${BASH_SOURCE[0]}")/debian_sources.py" "$1"
}

# use_service_settings: where deploy/systemd/install has made this folder a service, its settings hold for a script as well, since
# sudo drops those of the shell. (What the environment does set counts more.)
use_service_settings() {
    local unit=${DESTDIR:-}/etc/systemd/system/mlflow-replica.service settings=${DESTDIR:-}/etc/default/mlflow-replica
    ! grep --quiet --no-messages --line-regexp --fixed-strings "WorkingDirectory=$PWD" "$unit" ||
        export COMPOSE_ENV_FILES="${COMPOSE_ENV_FILES:-.env,$settings}"
}

postgres_runs() { [ -n "$(docker compose ps --status running --quiet postgres 2>/dev/null)" ]; }

# The database is elsewhere: this stack's files have no PostgreSQL of their own.
postgres_is_external() { ! docker compose config --services 2>/dev/null | grep -x postgres >/dev/null; }

# need_postgres: ends the script with one line where there is no database to work on.
need_postgres() {
    external=''
    if ! postgres_runs; then
        ! postgres_is_external || external=true
        [ -n "$external" ] || die "the composed PostgreSQL does not run: docker compose up --detach --wait"
    fi
}

# in_postgres COMMAND: runs a command with PostgreSQL's programs, as the stack's user on the stack's database: in the database's own
# container, or where the database is elsewhere (need_postgres) in one of the service backup.
in_postgres() {
    # shellcheck disable=SC2016 # for the shell in the container
    local begin='set -o pipefail
        export PGPASSWORD
        PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
        '
    if [ -n "$external" ]; then
        # shellcheck disable=SC2016 # the same
        docker compose --progress quiet run --rm --no-TTY --no-deps --entrypoint bash backup -c \
            'export POSTGRES_DB=$PGDATABASE;'"$begin$1"
    else
        # shellcheck disable=SC2016 # the same
        docker compose exec --no-TTY postgres bash -c \
            'export PGHOST=$HOSTNAME PGUSER=$POSTGRES_USER PGDATABASE=$POSTGRES_DB;'"$begin$1"
    fi
}

# has_proxy: tells whether people log in at a proxy of this stack: it is among the services, or has run before.
has_proxy() {
    local project
    project=$(docker compose config 2>/dev/null | sed -n 's/^name: //p')
    docker compose config --services 2>/dev/null | grep -x proxy >/dev/null || [ -n "$(docker volume ls --quiet \
        --filter "label=com.docker.compose.project=$project" --filter label=com.docker.compose.volume=proxy-data)" ]
}

# in_proxy COMMAND...: runs a command of the proxy's (`user`), also where it does not run, or its profile is not named.
in_proxy() {
    if [ -n "$(docker compose --profile https ps --status running --quiet proxy 2>/dev/null)" ]; then
        docker compose --profile https exec --no-TTY proxy "$@"
    else
        docker compose --progress quiet --profile https run --rm --no-TTY --no-deps --entrypoint "$1" proxy "${@:2}"
    fi
}

# read_proxy_users: sets `users` to all who log in at the proxy, with the hashes of their passwords. It reads the file itself: the proxy
# that runs may be an earlier version's. What says `# whole` at its end is whole: a busy engine may lose what a short program prints.
read_proxy_users() {
    for _ in 1 2 3; do
        if users=$(in_proxy bash -c '{ [ ! -e /data/users ] || cat /data/users; } && echo "# whole"' </dev/null) && [ "${users##*$'\n'}" = '# whole' ]; then
            return
        fi
    done
    die "the proxy's users could not be read (docker compose exec proxy cat /data/users): nothing was changed"
}

is_bucket() { [[ $1 == s3://* || $1 == gs://* ]]; }

# on_backups PLACE COMMAND...: runs a command of the service backup (replica-server backup) on a bucket, or on a folder, as this user.
# It reads what `input` holds: what is secret is no argument.
# For root as the folder's owner: root in a container without capabilities may not write, nor read, what is another user's.
on_backups() {
    local folder=$1 owner=$1 user code=0
    shift
    if is_bucket "$folder"; then
        docker compose --progress quiet run --rm --no-TTY --no-deps backup --bucket "$folder" "$@" <<<"${input:-}" || code=$?
        [ "$code" != 137 ] || say "the container was killed: out of memory?"
        return "$code"
    fi
    user=$(id -u):$(id -g)
    if [ "${user%%:*}" = 0 ]; then
        [ ! -e "$folder/stack.json" ] || owner=$folder/stack.json
        # shellcheck disable=SC2012 # the numbers alone are looked at; `stat` is another on macOS
        user=$(ls -ldn "$owner" | awk '{print $3 ":" $4}')
    fi
    docker compose --progress quiet run --rm --no-TTY --no-deps --user "$user" --volume "$folder:/backup" backup "$@" <<<"${input:-}" || code=$?
    # The engine, or the system, has ended it, so it could say nothing.
    [ "$code" != 137 ] || say "the container was killed: out of memory?"
    return "$code"
}

# newest_snapshot FOLDER: prints the path of the folder's newest snapshot; fails where there is none.
newest_snapshot() {
    local snapshot newest=''
    # Their names sort by time.
    for snapshot in "$1"/mlflow-[0-9]*Z/manifest.jsonl.gz; do
        [ ! -f "$snapshot" ] || newest=${snapshot%/*}
    done
    [ -n "$newest" ] && printf '%s\n' "$newest"
}

# find_snapshot PLACE: sets `folder` and `name` by a snapshot's path or address, or by that of a folder or bucket, whose newest it is;
# `name` is empty where there is none.
find_snapshot() {
    local place=${1%/}
    folder=${place%/*} name=${place##*/}
    if is_bucket "$place"; then
        # A bucket's own name may look like a snapshot's; then it has no folder before it.
        [[ $name =~ ^mlflow-[0-9]{8}T[0-9]{6}Z$ && $folder == *://*[^/]* ]] || { folder=$place name=$(on_backups "$place" newest) || exit 1; }
    elif [ ! -f "$place/manifest.jsonl.gz" ]; then
        folder=$place name=''
        ! place=$(newest_snapshot "$folder") || name=${place##*/}
    fi
}

# write_dump SUFFIX FILE: writes the stack's database, or the one whose name ends in SUFFIX, to a file that is not there yet.
write_dump() {
    # It holds everything that the server knows: for its owner only.
    umask 077
    dump=$2.new
    trap 'rm -f "$dump"' EXIT
    in_postgres "pg_dump --format=custom --no-owner --no-privileges --dbname=\"\${POSTGRES_DB}$1\"" >"$dump" </dev/null ||
        die "pg_dump failed: nothing was written"
    in_postgres 'pg_restore --file=/dev/null' <"$dump" || die "the dump cannot be read back: nothing was written"
    mv "$dump" "$2"
    # Whoever reads the next line may remove what was dumped.
    sync
    say "$2: $(du -h "$2" | cut -f1)"
}

# note_backup: leaves the time of a whole backup as the comment on the database, where monitoring finds it.
note_backup() {
    in_postgres "psql --quiet --set=name=\"\$POSTGRES_DB\"" <<<"COMMENT ON DATABASE :\"name\" IS 'last backup: $(date +%s)'" ||
        say "warning: the time of this backup could not be noted in the database"
}

# started_again CONTAINER MOMENT: tells whether a container runs, and was started at another moment.
started_again() {
    case $(docker inspect --format '{{.State.Running}} {{.State.StartedAt}}' "$1") in
        "true $2" | false*) return 1 ;;
    esac
}
