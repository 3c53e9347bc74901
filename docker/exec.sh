#!/usr/bin/env bash
# docker/exec.sh [command ...]
#
# Runs the command (default: fish) in the running container. The exit code is the command's.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/settings.sh"

require_container
(($#)) || set -- fish
if at_terminal; then
  exec docker exec --interactive --tty --detach-keys "$DETACH_KEYS" "$CONTAINER" "$@"
fi
exec docker exec --interactive "$CONTAINER" "$@"
