#!/usr/bin/env bash
# docker/build.sh [option of docker build ...]
#
# Builds the image, for the user who calls it: files that the container writes will belong to them.
# PYTHON_IMAGE (environment or .env) exchanges the base image.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/settings.sh"

require_engine
uid=$(id -u) gid=$(id -g)
# a rootless engine runs as that user, who is root in its containers
[[ $(docker info --format '{{.SecurityOptions}}') != *name=rootless* ]] || uid=0 gid=0
base=$(setting PYTHON_IMAGE "")

DOCKER_BUILDKIT=1 exec docker build --tag "$IMAGE" --build-arg "UID=$uid" --build-arg "GID=$gid" \
  ${base:+--build-arg "PYTHON_IMAGE=$base"} "$@" "$REPOSITORY"
