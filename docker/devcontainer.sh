#!/usr/bin/env bash
# docker/devcontainer.sh
#
# The host's part of VS Code's "Reopen in Container", which calls it: builds the image, and describes the container that
# docker/run.sh would start in .devcontainer/compose.yaml. So names, mounts, ports, GPUs and .env are read in one place.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source docker/settings.sh

docker/build.sh
find_container
[[ -z $state || $(docker container inspect --format '{{json .Config.Labels}}' "$CONTAINER") == *com.docker.compose.* ]] ||
  die "container $CONTAINER is one of docker/run.sh: attach to it, or end it with docker/stop.sh before this one starts"
umask 077 # .env may hold tokens
docker/run.sh --compose >.devcontainer/compose.yaml
