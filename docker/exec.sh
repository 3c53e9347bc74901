#!/usr/bin/env bash
# docker/exec.sh [command ...]
#
# Runs the command, or fish, in the running container, beside what runs there; its exit code is this script's.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/settings.sh"

require_container
(($#)) || set -- fish
if at_terminal; then
  exec docker exec --interactive --tty --detach-keys "$DETACH_KEYS" "$CONTAINER" "$@"
fi
exec docker exec --interactive "$CONTAINER" "$@"
