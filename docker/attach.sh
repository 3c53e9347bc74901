#!/usr/bin/env bash
# docker/attach.sh
#
# Attaches to the main shell of the running container (docker/run.sh -d starts one). Ctrl-] detaches; it keeps running.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/settings.sh"

require_container
at_terminal || die "attaching needs a terminal: use docker/exec.sh to run commands without one"
echo "press Enter to see the prompt; Ctrl-] detaches and leaves the container running"
docker attach --detach-keys "$DETACH_KEYS" "$CONTAINER" || {
  code=$?
  find_container
  [[ $state == running ]] || exit "$code" # Docker reports detaching as a failure
}
