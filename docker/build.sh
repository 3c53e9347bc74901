#!/usr/bin/env bash
# docker/build.sh [--cpu] [--without PART,...] [option of docker build ...]
#
# Builds the image for the user who calls it: that user will own the files that the container writes. It has the lock
# that docker/choose_lock.sh chooses for this machine's GPUs.
#
#   --cpu               torch without CUDA
#   --without PART,...  without these optional dependencies of pyproject.toml: ray,notebook,dev
#
# PYTHON_IMAGE (another base), CUDA=12|13 (the lock), CPU=1 and WITHOUT are read from the environment, else from .env.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/settings.sh"

without=$(setting WITHOUT "")
while (($#)); do
  case $1 in
    --cpu) export CPU=1 ;;
    --without)
      without=${2-}
      [[ -n $without ]] || die "--without needs a value, such as ray,notebook,dev"
      shift
      ;;
    --without=*) without=${1#*=} ;;
    *) break ;;
  esac
  shift
done

require_engine
kept=all
if [[ -n $without ]]; then
  parts=$(sed -n '/^\[project.optional-dependencies\]/,/^\[build-system\]/s/^\([a-z]*\) = .*/\1/p' "$REPOSITORY/pyproject.toml")
  kept=$parts
  parts=$(grep -vxF train <<<"$parts") # without it there is nothing to run
  for part in ${without//,/ }; do
    grep -qxF "$part" <<<"$parts" || die "there is no part '$part' to leave out: choose from ${parts//$'\n'/,}"
    kept=$(grep -vxF "$part" <<<"$kept")
  done
fi

uid=$(id -u) gid=$(id -g)
# a rootless engine runs as this user, who is root inside its containers
[[ $(docker info --format '{{.SecurityOptions}}') != *name=rootless* ]] || uid=0 gid=0
base=$(setting PYTHON_IMAGE "")
lock=$(sh "$REPOSITORY/docker/choose_lock.sh" '')
cpu=
[[ $lock != *" CPU=1" ]] || cpu=1

DOCKER_BUILDKIT=1 docker build --tag "$IMAGE" --build-arg "UID=$uid" --build-arg "GID=$gid" \
  --build-arg "LOCK=${lock% CPU=1}" --build-arg "CPU=$cpu" --build-arg "PARTS=${kept//$'\n'/ }" \
  ${base:+--build-arg "PYTHON_IMAGE=$base"} "$@" "$REPOSITORY" || {
  [[ $cpu != 1 ]] || die "no image was built, see above. If torch without CUDA is out of reach, build without --cpu and" \
    "CPU=1: torch with CUDA computes on the CPU too"
  die "no image was built: see above"
}
