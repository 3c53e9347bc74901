#!/usr/bin/env bash
# docker/build.sh [option of docker build ...]
#
# Builds the image for the user who calls it: that user will own the files that the container writes.
# PYTHON_IMAGE (environment or .env) sets another base image.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/settings.sh"

require_engine
uid=$(id -u) gid=$(id -g)
# a rootless engine runs as this user, who is root inside its containers
[[ $(docker info --format '{{.SecurityOptions}}') != *name=rootless* ]] || uid=0 gid=0
base=$(setting PYTHON_IMAGE "")

DOCKER_BUILDKIT=1 exec docker build --tag "$IMAGE" --build-arg "UID=$uid" --build-arg "GID=$gid" \
  ${base:+--build-arg "PYTHON_IMAGE=$base"} "$@" "$REPOSITORY"
