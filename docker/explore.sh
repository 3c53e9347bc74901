#!/usr/bin/env bash
# docker/explore.sh [port]
#
# Starts the page of trained runs (outputs/ and multirun/) in the running container and prints its URL: look at test
# images, add and remove patches by a click, and see the prediction. The port is that of the container (8501), for which
# docker/run.sh has published one of the host.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/server.sh"

# names: print those under which the page may be asked for: BIND, or all of this machine where that is 0.0.0.0
names() {
  if [[ $ADDRESS != 0.0.0.0 ]]; then
    printf '%s' "$ADDRESS"
  else
    echo "$(hostname)" "$(hostname -f 2>/dev/null)" "$(hostname -I 2>/dev/null)" # macOS has no -I
  fi
}

serve explore "${1-8501}" "set -- \"\$1\" 0.0.0.0 '$(names)' src
$(<"$(dirname -- "${BASH_SOURCE[0]}")/explore_server.sh")"
echo "$url"
