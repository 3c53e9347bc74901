#!/usr/bin/env bash
# docker/attach.sh
#
# Joins the main shell of the running container, such as docker/run.sh -d leaves. Ctrl-] leaves again, and it runs on.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/settings.sh"

require_container
at_terminal || die "attaching needs a terminal: docker/exec.sh runs commands without one"
echo "Enter shows the prompt, Ctrl-] leaves the container running"
docker attach --detach-keys "$DETACH_KEYS" "$CONTAINER" || {
  code=$?
  [[ $(container_state) == running ]] || exit "$code" # leaving is a failure to Docker
}
