#!/usr/bin/env bash
# docker/run.sh [-d | --compose] [--gpus WHICH] [command ...]
#
# Starts the container and runs the command (default: fish) in it. The current directory is mounted at /workspace and
# DATASET at /dataset; without DATASET, data are stored in dataset/ of the workspace. The container ends with the
# command, and the exit code is the command's.
#
#   --compose     do not start the container, but print it as a Compose file; docker/devcontainer.sh uses this
#   -d            run in the background: enter with docker/exec.sh, docker/attach.sh or VS Code, end with docker/stop.sh
#   --gpus WHICH  all, none, 2 (a number), device=0,3; default: all if the engine has any that the image's torch can use
#
# Each clone of the repository has one container per user: exec.sh, stop.sh and the others act on that of the clone in
# which they are, wherever they are called. PATCH_SETS_CONTAINER=another_name gives a clone a second one.
#
# DATASET, PORTS, BIND, GPUS and TZ are read from the environment, else from .env: see .env.default.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/settings.sh"
source "$(dirname -- "${BASH_SOURCE[0]}")/ports.sh"

gpus=$(setting GPUS "")
detached=
compose=
while [[ ${1-} == -* ]]; do
  case $1 in
    -d) detached=1 ;;
    --compose) compose=1 ;;
    --gpus)
      gpus=${2-}
      [[ -n $gpus ]] || die "--gpus needs a value: all, none, 2, device=0,3"
      shift
      ;;
    --gpus=*) gpus=${1#*=} ;;
    --)
      shift
      break
      ;;
    *) die "unknown option $1: see docker/run.sh -h" ;;
  esac
  shift
done

# mount SOURCE TARGET: print a value of --mount, which is CSV; -v cannot take a path with colons
mount() {
  printf 'type=bind,"source=%s",target=%s' "${1//\"/\"\"}" "$2"
}

# Print the absolute path of DATASET; nothing if it is not set.
dataset() {
  local path base=$REPOSITORY
  [[ -z ${DATASET+set} ]] || base=$PWD
  path=$(setting DATASET "")
  case $path in
    "") return ;;
    \~ | \~/*) path=$HOME${path#\~} ;;
    /*) ;;
    *) path=$base/$path ;;
  esac
  [[ -d $path ]] || die "no folder DATASET=$path: create it, or set another in .env or the environment"
  printf '%s' "$path"
}

# user_folder XDG DEFAULT: print the folder patch_sets in XDG, else in DEFAULT of the home. It is made here: Docker would
# make it as root. Print nothing if it cannot be made.
user_folder() {
  local path=$1
  [[ $path == /* ]] || path=${HOME-}/$2
  if [[ $path != "/$2" ]] && (umask 077 && mkdir -p "$path/patch_sets") 2>/dev/null; then
    printf '%s' "$path/patch_sets"
  fi
}

# Print the folder of src/datamodule/pixel_cache.py. Print nothing if it cannot be made: then images are decoded each time.
cache_folder() {
  local path
  path=$(setting PATCH_SETS_CACHE "")
  case $path in
    "") user_folder "${XDG_CACHE_HOME-}" .cache ;;
    /*)
      mkdir -p "$path" 2>/dev/null || die "cannot make the folder PATCH_SETS_CACHE=$path"
      printf '%s' "$path"
      ;;
    *) die "PATCH_SETS_CACHE=$path: give an absolute path" ;;
  esac
}

# Try these GPUs in the image, and print why its torch cannot use them; nothing if it can.
gpu_refusal() {
  local reason
  reason=$(docker run --rm --interactive --gpus "$1" --entrypoint python3 "$IMAGE" - \
    <"$REPOSITORY/docker/gpu_probe.py" 2>&1 >/dev/null) && return
  # join the lines of NVIDIA's runtime into one
  reason=$(grep -vE "^ERRO|^time=|^$|docker run --help" <<<"${reason#docker: Error response from daemon: }") || true
  reason=${reason:-docker run --gpus $1 failed}
  printf '%s' "${reason//$'\n'/ }"
}

require_engine
docker image inspect "$IMAGE" >/dev/null 2>&1 || die "no image $IMAGE: run docker/build.sh first"
find_container
case $compose$state in
  "" | 1*) ;;
  running) die "container $CONTAINER is already running: use docker/exec.sh, docker/attach.sh or docker/stop.sh" ;;
  *) die "container $CONTAINER has ended but was not removed: docker rm --force $CONTAINER" ;;
esac

options=(--name "$CONTAINER" --label "$LABEL=$OWNER" --rm --init --ipc=host --detach-keys "$DETACH_KEYS")
options+=(--mount "$(mount "$PWD" /workspace)")
# run.json records the machine's name, not the container's number. The name leads to the container first, and then still
# to the machine, on which servers may run.
machine=$(docker info --format '{{.Name}}')
options+=(--hostname "$machine" --add-host "$machine:host-gateway")
if [[ -n $SETTINGS ]]; then # in no argument, which other users can see
  exec 9<<<"$SETTINGS"
  options+=(--env-file /dev/fd/9)
fi

dataset=$(dataset)
if [[ -n $dataset ]]; then
  options+=(--mount "$(mount "$dataset" /dataset)" --env DATASET=/dataset)
else
  options+=(--env DATASET=/workspace/dataset)
fi
# with the key that signs this user's runs, also those of earlier containers; without it, no run is signed
key_folder=$(user_folder "${XDG_STATE_HOME-}" .local/state)
if [[ -n $key_folder ]]; then
  options+=(--mount "$(mount "$key_folder" /state)" --env PATCH_SETS_STATE=/state)
fi
cache_folder=$(cache_folder)
if [[ -n $cache_folder ]]; then
  options+=(--mount "$(mount "$cache_folder" /cache)" --env PATCH_SETS_CACHE=/cache)
fi
tz=$(setting TZ "")
[[ -z $tz ]] || options+=(--env "TZ=$tz")

ipv4='^[0-9]+([.][0-9]+){3}$'
[[ $ADDRESS =~ $ipv4 ]] || die "BIND=$ADDRESS is not an IPv4 address of this machine, such as 127.0.0.1 or 0.0.0.0"
[[ -z $compose ]] || own_ports=$(docker port "$CONTAINER" 2>/dev/null | sed 's/.*://') || true
ports=$(published_ports "$ADDRESS")
for port in $ports; do
  options+=(--publish "$ADDRESS:$port")
done

case $gpus in
  none) ;;
  "")
    refusal=$(gpu_refusal all)
    if [[ -z $refusal ]]; then
      options+=(--gpus all)
    else
      echo "docker/run.sh: no GPU: $refusal" >&2
    fi
    ;;
  *)
    [[ $gpus != device=*,* ]] || gpus="\"$gpus\"" # Docker parses the value as CSV
    refusal=$(gpu_refusal "$gpus")
    [[ -z $refusal ]] || die "no GPU ($gpus): $refusal"
    options+=(--gpus "$gpus")
    ;;
esac

[[ -n $dataset || -f $ENV_FILE ]] ||
  echo "docker/run.sh: data are stored in dataset/; for another folder: cp .env.default .env, and edit it" >&2

if [[ -n $compose ]]; then
  source "$(dirname -- "${BASH_SOURCE[0]}")/compose.sh"
  compose "${options[@]}" "$IMAGE"
elif [[ -n $detached ]]; then
  docker run --detach --interactive --tty "${options[@]}" "$IMAGE" "$@" >/dev/null
  echo "container $CONTAINER is running: use docker/exec.sh, docker/attach.sh or docker/stop.sh"
elif at_terminal; then
  exec docker run --interactive --tty "${options[@]}" "$IMAGE" "$@"
else
  exec docker run --interactive "${options[@]}" "$IMAGE" "$@"
fi
