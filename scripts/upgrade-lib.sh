# What scripts/upgrade exchanges, and where it notes how far it has come: state, versions, files, images. Sourced, not run.
# shellcheck shell=bash

# find_state KIND: sets the project's name, and the file of the state.
find_state() {
    project=$(docker compose config 2>/dev/null | sed -n 's/^name: //p') || true
    [ -n "$project" ] || die "Docker Compose cannot read this folder's files: see docker compose config"
    state_file=backups/$1-$project
}

# The state: which upgrade is under way, or was the last one, and how far it came. NAME=VALUE on each line.
state() { sed -n "s/^$1=//p" "$state_file" 2>/dev/null || true; }

# remember NAME=VALUE...: changes these lines of the state, all at once.
remember() {
    local setting text=''
    [ ! -f "$state_file" ] || text=$(cat "$state_file")
    for setting; do
        text=$(grep -v "^${setting%%=*}=" <<<"$text" || true)$'\n'$setting
    done
    grep . <<<"$text" >"$state_file.new"
    mv "$state_file.new" "$state_file"
}

# Versions -------------------------------------------------------------------------------------------------------------

# The version in a pyproject.toml, as read.
version_in() { sed -n 's/^version = "\(.*\)"$/\1/p'; }
files_version() { version_in <services/trainer/pyproject.toml; }

# is_older A B: compares the numbers of two versions.
is_older() {
    local a b index
    IFS=. read -r -a a <<<"${1%%[-+]*}"
    IFS=. read -r -a b <<<"${2%%[-+]*}"
    for index in 0 1 2; do
        # The digits in front: 1 of 1rc2.
        a[index]=${a[index]:-0} b[index]=${b[index]:-0}
        a[index]=${a[index]%%[!0-9]*} b[index]=${b[index]%%[!0-9]*}
        [ "${a[index]:-0}" = "${b[index]:-0}" ] || break
    done
    [ "${a[index]:-0}" -lt "${b[index]:-0}" ]
}

# changes FROM: prints what the changelog on standard input says of the versions after FROM.
changes() {
    # A section begins with "## VERSION". All of them where FROM is unknown.
    awk -v from="$1" '/^## / { shown = 1; if ($2 == from) exit } shown { print }'
}

# Files ----------------------------------------------------------------------------------------------------------------

# This folder is a git clone itself, and not an unpacked release, perhaps inside of another clone.
in_git() { [ "$(git rev-parse --show-prefix HEAD 2>/dev/null | head -1)" = '' ] && git rev-parse --verify --quiet HEAD >/dev/null 2>&1; }

# commit_of VERSION: prints the commit of the version's tag; fails where there is none.
commit_of() {
    git rev-parse --verify --quiet "refs/tags/$1^{commit}" || git rev-parse --verify --quiet "refs/tags/v${1#v}^{commit}"
}

need_clean() {
    [ -z "$(git status --porcelain --untracked-files=no)" ] ||
        die "files in this folder were changed (git status): commit them or git stash; nothing was changed"
}

# check_out COMMIT [BRANCH]: brings a commit's files here; on the branch, where that is at this commit.
check_out() {
    local force='' what=$1
    # One that was killed began with a clean folder: what differs is its own.
    if [ -n "$(state checking_out)" ]; then
        force=--force
        rm -f "$(git rev-parse --git-path index.lock)"
    elif [ "$(git rev-parse HEAD)" = "$1" ]; then
        return
    else
        need_clean
    fi
    say "bringing the files to $(git describe --tags --always "$1")"
    [ -z "${2:-}" ] || [ "$(git rev-parse --verify --quiet "refs/heads/$2")" != "$1" ] || what=$2
    remember "checking_out=$1"
    if ! git -c advice.detachedHead=false checkout --quiet ${force:+"$force"} "$what"; then
        remember checking_out=
        die "git could not bring the files: see above"
    fi
    remember checking_out=
}

# Images ---------------------------------------------------------------------------------------------------------------

# The names of all images of the files in this folder; no name has a blank.
images() { docker compose --profile '*' config --images | sort -u; }

# The former version's images stay under a tag with their version.
keep_images() {
    local image used kept id
    kept=$(state kept)
    # What runs counts: a name may belong to a newer image by now.
    used=$({ docker compose ps --quiet && docker compose ps --all --quiet; } | xargs docker inspect --format '{{.Config.Image}} {{.Image}}' 2>/dev/null) || true
    for image in $(images); do
        ! docker image inspect "$image$kept" >/dev/null 2>&1 || continue
        id=$(awk -v image="$image" '$1 == image { print $2; exit }' <<<"$used")
        docker tag "${id:-$image}" "$image$kept" 2>/dev/null || true
    done
}

# Fails where one that the stack starts is not there any more.
bring_images_back() {
    local image missing='' started
    started=$(docker compose config --images)
    for image in $(images); do
        docker tag "$image$(state kept)" "$image" 2>/dev/null || ! grep -qxF "$image" <<<"$started" || missing=$image
    done
    [ -z "$missing" ]
}

# start [SERVICE]: starts what the files say, and waits until it is healthy.
start() {
    local container
    # A Compose that is killed while it replaces a container can leave one called ID_NAME, which stops the next Compose.
    for container in $(docker ps --all --quiet --filter "label=com.docker.compose.project=$project" --filter 'name=^/?[0-9a-f]{12}_'); do
        docker stop "$container" >/dev/null
        docker rm "$container" >/dev/null
    done
    docker compose up --detach --wait --quiet-pull "$@"
}
