#!/usr/bin/env bash
# docker/stop.sh [seconds]
#
# Ends the container. All trainings in it receive SIGTERM, and have 30 (or the given number of) seconds to save; the
# servers of docker/*.sh end at once.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/settings.sh"

seconds=${1-30}
[[ $seconds =~ ^[0-9]+$ ]] || die "'$seconds' is not a number of seconds: see docker/stop.sh -h"
require_container
# `docker stop` alone signals the main process: often a shell, which ignores it or ends before its trainings do.
docker exec --interactive "$CONTAINER" sh -s "$seconds" <"$REPOSITORY/docker/end_trainings.sh" || true
docker stop --time 0 "$CONTAINER" >/dev/null 2>&1 || true # it may have ended already, if a training was its main process
docker rm "$CONTAINER" >/dev/null 2>&1 || true # the dev container, which does not remove itself
for ((i = 0; i < 100; i++)); do # until its name is free again
  find_container
  [[ -n $state ]] || exit 0
  sleep 0.1
done
die "container $CONTAINER was not removed: docker rm --force $CONTAINER"
