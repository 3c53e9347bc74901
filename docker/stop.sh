#!/usr/bin/env bash
# docker/stop.sh [seconds]
#
# Ends the container. Trainings in it, wherever they were started, get SIGTERM and 30 (or so many) seconds to save.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/settings.sh"

seconds=${1-30}
[[ $seconds =~ ^[0-9]+$ ]] || die "'$seconds' is no number of seconds: see docker/stop.sh -h"
require_container
# `docker stop` alone tells the main process, and that is often a shell, which ignores it or takes its trainings along.
docker exec --interactive "$CONTAINER" sh -s "$seconds" <"$REPOSITORY/docker/end_trainings.sh" || true
docker stop --time 0 "$CONTAINER" >/dev/null 2>&1 || true # it has ended where a training was its main process
for ((i = 0; i < 100; i++)); do # until its name is free for another
  [[ -n $(container_state) ]] || exit 0
  sleep 0.1
done
die "container $CONTAINER does not go away: docker rm --force $CONTAINER"
