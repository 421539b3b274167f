# What provision and teardown share: the settings with their defaults, and how a gcloud command is run or printed. Sourced, not run.
# shellcheck shell=bash
# shellcheck disable=SC2034 # those who source it use them
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

# The variables are gcloud's own.
project=${CLOUDSDK_CORE_PROJECT:-}
zone=${CLOUDSDK_COMPUTE_ZONE:-europe-west1-b}
name=mlflow
bucket=''
dry_run=''

# The settings that both scripts take as options; prints nothing and fails for any other. Each is --NAME VALUE or --NAME=VALUE.
set_common_option() {
    case $1 in
        --project) project=$2 ;;
        --name) name=$2 ;;
        --zone) zone=$2 ;;
        --bucket) bucket=$2 ;;
        *) return 1 ;;
    esac
}

# matches VALUE PATTERN WHAT: a wrong setting ends the script before anything is done.
matches() {
    [[ $1 =~ ^($2)$ ]] || die "$3 (got \"$1\")"
}

check_common_settings() {
    [ -n "$project" ] || die "name the Google Cloud project: --project ID, or CLOUDSDK_CORE_PROJECT"
    matches "$project" '[a-z][a-z0-9-]{4,28}[a-z0-9]' "--project takes a project's ID: 6 to 30 lower-case letters, digits and hyphens"
    # An account's name is this one with -server or -gc behind it, of 6 to 30 characters in all.
    matches "$name" '[a-z][a-z0-9-]{1,21}[a-z0-9]' "--name takes 3 to 23 lower-case letters, digits and hyphens"
    matches "$zone" '[a-z]+-[a-z]+[0-9]+-[a-z]' "--zone takes a zone, europe-west1-b for one"
    bucket=${bucket:-$project-mlflow}
    matches "$bucket" '[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]' "--bucket takes the bucket's name only, without gs://"
    region=${zone%-*}
    server_account=$name-server@$project.iam.gserviceaccount.com
    gc_account=$name-gc@$project.iam.gserviceaccount.com
    if [ -z "$dry_run" ]; then
        command -v gcloud >/dev/null || die "gcloud is not installed: install the Google Cloud CLI, then gcloud auth login"
    fi
}

# gcloud's arguments as a command that can be pasted. --quiet: what has to be asked, these scripts ask.
quoted() {
    local line
    printf -v line '%q ' gcloud "$@" "--project=$project" --quiet
    printf '%s' "${line% }"
}

call() { gcloud "$@" "--project=$project" --quiet; }

# run ARGUMENT...: gcloud with these arguments, or in a dry run the command.
run() {
    if [ -n "$dry_run" ]; then
        printf '%s\n' "$(quoted "$@")"
    else
        call "$@"
    fi
}

# Of two gcloud commands with -- between them, the first one asks whether something is there.
split_at_dashes() {
    check=()
    while [ "$1" != -- ]; do
        check+=("$1")
        shift
    done
    shift
    action=("$@")
}

is_there() { call "${check[@]}" >/dev/null 2>&1; }
