# shellcheck shell=bash
# Sourced by the scripts of this folder: every name and default, how .env is read, and what several scripts ask or say.
# It also answers -h, with the comment at the top of the script. Bash 3.2 (macOS) must do.

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

# setting KEY DEFAULT: the value in the environment (where it may be empty), else in .env, else the default
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
    *"permission denied"*) die "you may not use Docker: sudo usermod -aG docker \"\$USER\", then log in anew" ;;
    *) die "the Docker engine does not answer (${reason%%$'\n'*}): start it, as by sudo systemctl start docker" ;;
  esac
}

# prints running, exited, ..., or nothing where there is no such container
container_state() {
  docker container inspect --format '{{.State.Status}}' "$CONTAINER" 2>/dev/null || true
}

require_container() {
  require_engine
  [[ $(container_state) == running ]] || die "no container $CONTAINER runs: docker/run.sh first"
}

at_terminal() {
  [[ -t 0 && -t 1 ]]
}
