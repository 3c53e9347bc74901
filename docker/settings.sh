# shellcheck shell=bash
# Sourced by the scripts of this folder: names and defaults, the reader of .env, and checks that several scripts make.
# It also prints the comment at the top of the script for -h. It must run on Bash 3.2 (macOS).

REPOSITORY=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
ENV_FILE=$REPOSITORY/.env

die() {
  echo "docker/${0##*/}: $*" >&2
  exit 1
}

case ${1-} in
  -h | --help)
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
    exit
    ;;
esac

# setting KEY DEFAULT: print the value in the environment (it may be empty), else in .env, else the default
setting() {
  local line value=$2
  if [[ -n ${!1+set} ]]; then
    value=${!1}
  elif [[ -f $ENV_FILE ]]; then
    while read -r line || [[ -n $line ]]; do # without the spaces around it, as Docker reads it
      line=${line%$'\r'}
      [[ $line != "$1="* ]] || value=${line#*=}
    done <"$ENV_FILE"
  fi
  printf '%s' "$value"
}

# shellcheck disable=SC2034 # used by the scripts
IMAGE=$(setting PATCH_SETS_IMAGE patch_sets)
CONTAINER=$(setting PATCH_SETS_CONTAINER patch_sets)
# shellcheck disable=SC2034
DETACH_KEYS='ctrl-]' # not Docker's Ctrl-P Ctrl-Q: Ctrl-P is a shell's previous command

require_engine() {
  command -v docker >/dev/null || die "Docker is not installed: https://docs.docker.com/engine/install"
  local reason
  reason=$(docker version --format '{{.Server.Version}}' 2>&1 >/dev/null) && return
  case $reason in
    *"permission denied"*) die "no permission to use Docker: sudo usermod -aG docker \"\$USER\", then log in again" ;;
    *) die "the Docker engine does not answer (${reason%%$'\n'*}): start it, as with sudo systemctl start docker" ;;
  esac
}

# print running, exited, ..., or nothing if there is no such container
container_state() {
  docker container inspect --format '{{.State.Status}}' "$CONTAINER" 2>/dev/null || true
}

require_container() {
  require_engine
  [[ $(container_state) == running ]] || die "container $CONTAINER is not running: start it with docker/run.sh"
}

at_terminal() {
  [[ -t 0 && -t 1 ]]
}
