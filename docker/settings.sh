# shellcheck shell=bash
# Sourced by the scripts of this folder: names and defaults, the settings of .env, and checks that several scripts make.
# It also prints the comment at the top of the script for -h. It must run on Bash 3.2 (macOS).

REPOSITORY=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
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

# Print the settings of .env, one per line, as Docker's --env-file takes them: KEY=VALUE, or KEY alone, whose value is
# that of the environment. As in a shell, `export`, quotes and comments are no part of a value; nor are spaces around =.
env_settings() {
  local line value number=0 name='^[[:space:]]*(export[[:space:]]+)?([A-Za-z_][A-Za-z0-9_]*)[[:space:]]*'
  local comment='[[:space:]]*(#.*)?$' # Bash 3.2 takes these expressions from variables alone
  local nothing="^$comment" key="$name$comment" assigned="$name=(.*)$" quoted="$name=[[:space:]]*[\"']"
  local double="$name=[[:space:]]*\"([^\"]*)\"$comment" single="$name=[[:space:]]*'([^']*)'$comment"
  while IFS= read -r line || [[ -n $line ]]; do
    number=$((number + 1))
    line=${line#$'\xef\xbb\xbf'} # the mark with which some editors of Windows begin a file
    if [[ $line =~ $nothing ]]; then
      continue
    elif [[ $line =~ $key ]]; then
      echo "${BASH_REMATCH[2]}"
    elif [[ $line =~ $double || $line =~ $single ]]; then
      echo "${BASH_REMATCH[2]}=${BASH_REMATCH[3]}"
    elif [[ $line =~ $quoted ]]; then
      die "line $number of $ENV_FILE: write the value of ${BASH_REMATCH[2]} in one pair of quotes, or without quotes"
    elif [[ $line =~ $assigned ]]; then
      value=${BASH_REMATCH[3]%%[[:space:]]#*}
      value=${value#"${value%%[![:space:]]*}"}
      echo "${BASH_REMATCH[2]}=${value%"${value##*[![:space:]]}"}"
    else
      die "line $number of $ENV_FILE is neither KEY=VALUE nor KEY"
    fi
  done <"$ENV_FILE"
}

SETTINGS=
if [[ -e $ENV_FILE || -L $ENV_FILE ]]; then
  [[ -f $ENV_FILE && -r $ENV_FILE ]] || die "$ENV_FILE is not a file that you can read: chmod u+r it, or remove it"
  SETTINGS=$(env_settings) || exit 1
fi

# setting KEY DEFAULT: print the value in the environment (it may be empty), else in .env, else the default
setting() {
  local line value=$2
  if [[ -n ${!1+set} ]]; then
    value=${!1}
  else
    while IFS= read -r line; do
      [[ $line != "$1="* ]] || value=${line#*=}
    done <<<"$SETTINGS"
  fi
  printf '%s' "$value"
}

# An image holds its user's UID, and a container belongs to one clone and user, whom its label names. The names are
# distinct on a host of several users and clones: the container's is that of the clone's folder, with a checksum.
OWNER=$(id -u):$REPOSITORY
LABEL=patch_sets.owner
IMAGE=$(setting PATCH_SETS_IMAGE "")
IMAGE=${IMAGE:-patch_sets:$(id -u)}
CONTAINER=$(setting PATCH_SETS_CONTAINER "")
default_container() {
  local LC_ALL=C sum name=${REPOSITORY##*/}
  name=${name//[^a-zA-Z0-9]/_}
  name=${name#"${name%%[^_]*}"} # Docker's names begin with a letter or digit
  sum=$(cksum <<<"$OWNER")
  printf '%s_%08x' "${name:-patch_sets}" "${sum%% *}"
}
CONTAINER=${CONTAINER:-$(default_container)}
# no empty address, with which Docker would publish on all
ADDRESS=$(setting BIND "")
ADDRESS=${ADDRESS:-127.0.0.1}
# shellcheck disable=SC2034 # used by the scripts
DETACH_KEYS='ctrl-]' # not Docker's Ctrl-P Ctrl-Q: Ctrl-P is a shell's previous command
# shellcheck disable=SC2034
SERVER_PORTS="5000 6006 8501 8888" # in the container: MLflow, TensorBoard, the page of trained runs, JupyterLab

require_engine() {
  command -v docker >/dev/null || die "Docker is not installed: https://docs.docker.com/engine/install"
  local reason
  reason=$(docker version --format '{{.Server.Version}}' 2>&1 >/dev/null) && return
  case $reason in
    *"permission denied"*) die "no permission to use Docker: sudo usermod -aG docker \"\$USER\", then log in again" ;;
    *) die "the Docker engine does not answer (${reason%%$'\n'*}): start it, as with sudo systemctl start docker" ;;
  esac
}

# Set state to running, exited, ..., or to nothing if there is no such container. Refuse a container of somebody else.
find_container() {
  local owner
  local format="{{.State.Status}} {{index .Config.Labels \"$LABEL\"}}"
  state=$(docker container inspect --format "$format" "$CONTAINER" 2>/dev/null) || state=
  owner=${state#* } state=${state%% *}
  case $state:$owner in
    : | *":$OWNER") ;;
    *:) die "container $CONTAINER is not of docker/run.sh: choose another name as PATCH_SETS_CONTAINER" ;;
    *) die "container $CONTAINER belongs to the clone ${owner#*:} of user ${owner%%:*}: call docker/${0##*/} there," \
      "or choose another name as PATCH_SETS_CONTAINER" ;;
  esac
}

require_container() {
  require_engine
  find_container
  [[ $state == running ]] || die "container $CONTAINER is not running: start it with docker/run.sh"
}

at_terminal() {
  [[ -t 0 && -t 1 ]]
}
