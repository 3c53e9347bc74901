#!/usr/bin/env bash
# docker/run.sh [-d] [--gpus WHICH] [command ...]
#
# Starts the container and runs the command in it, or fish. The directory this is called in becomes /workspace, DATASET
# becomes /dataset; without DATASET, data go to dataset/ of the workspace. When the command ends, so does the container;
# its exit code is this script's.
#
#   -d            in the background: docker/exec.sh, docker/attach.sh and VS Code go in, docker/stop.sh ends it
#   --gpus WHICH  all, none, 2 (so many), device=0,3; without it, all if the engine can give them
#
# DATASET, PORTS, BIND, GPUS and TZ are taken from the environment, else from .env: see .env.default.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/settings.sh"

gpus=$(setting GPUS "")
detached=
while [[ ${1-} == -* ]]; do
  case $1 in
    -d) detached=1 ;;
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
    *) die "no option $1: see docker/run.sh -h" ;;
  esac
  shift
done

# mount SOURCE TARGET: prints a value of --mount, which is CSV; -v would stumble over colons
mount() {
  printf 'type=bind,"source=%s",target=%s' "${1//\"/\"\"}" "$2"
}

# Prints where DATASET is, as an absolute path; nothing where it is not set.
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
  [[ -d $path ]] || die "there is no folder DATASET=$path: create it, or set another in .env or the environment"
  printf '%s' "$path"
}

# Prints why the engine cannot give these GPUs, by trying; nothing when it can.
gpu_refusal() {
  local reason
  reason=$(docker run --rm --gpus "$1" --entrypoint true "$IMAGE" 2>&1 >/dev/null) && return
  # in one line; NVIDIA's runtime writes several
  reason=$(grep -vE "^ERRO|^time=|^$|docker run --help" <<<"${reason#docker: Error response from daemon: }") || true
  reason=${reason:-docker run --gpus $1 failed}
  printf '%s' "${reason//$'\n'/ }"
}

require_engine
docker image inspect "$IMAGE" >/dev/null 2>&1 || die "there is no image $IMAGE: docker/build.sh first"
case $(container_state) in
  "") ;;
  running) die "container $CONTAINER runs already: docker/exec.sh, docker/attach.sh, docker/stop.sh" ;;
  *) die "a container $CONTAINER that has ended is still there: docker rm --force $CONTAINER" ;;
esac

options=(--name "$CONTAINER" --rm --init --ipc=host --detach-keys "$DETACH_KEYS" --mount "$(mount "$PWD" /workspace)")
[[ ! -f $ENV_FILE ]] || options+=(--env-file "$ENV_FILE")

dataset=$(dataset)
if [[ -n $dataset ]]; then
  options+=(--mount "$(mount "$dataset" /dataset)" --env DATASET=/dataset)
else
  options+=(--env DATASET=/workspace/dataset)
fi
tz=$(setting TZ "")
[[ -z $tz ]] || options+=(--env "TZ=$tz")

bind=$(setting BIND 127.0.0.1)
ports=$(setting PORTS "5000 6006 8501 8888")
for port in $ports; do
  [[ $port =~ ^[0-9]+$ ]] || die "PORTS=\"$ports\" are not port numbers separated by spaces"
  # what listens on all addresses answers on each; the engine itself reports what this does not see
  if (: <"/dev/tcp/${bind/#0.0.0.0/127.0.0.1}/$port") 2>/dev/null; then
    die "port $port of $bind is in use: choose others, as in PORTS=\"${ports//$port/$((port + 1))}\" docker/run.sh"
  fi
  options+=(--publish "$bind:$port:$port")
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
    [[ $gpus != device=*,* ]] || gpus="\"$gpus\"" # Docker reads CSV
    refusal=$(gpu_refusal "$gpus")
    [[ -z $refusal ]] || die "no GPU ($gpus): $refusal"
    options+=(--gpus "$gpus")
    ;;
esac

[[ -n $dataset || -f $ENV_FILE ]] ||
  echo "docker/run.sh: data go to dataset/: for another folder, cp .env.default .env and edit it" >&2

if [[ -n $detached ]]; then
  docker run --detach --interactive --tty "${options[@]}" "$IMAGE" "$@" >/dev/null
  echo "container $CONTAINER runs: docker/exec.sh, docker/attach.sh, docker/stop.sh"
elif at_terminal; then
  exec docker run --interactive --tty "${options[@]}" "$IMAGE" "$@"
else
  exec docker run --interactive "${options[@]}" "$IMAGE" "$@"
fi
