#!/usr/bin/env bash
# docker/tensorboard.sh [port]
#
# Starts TensorBoard in the running container, for all runs in outputs/ and multirun/, and prints its URL. The port is
# that of the container (6006), for which docker/run.sh has published one of the host.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/server.sh"

serve tensorboard "${1-6006}" "set -- \"\$1\" 0.0.0.0
$(<"$(dirname -- "${BASH_SOURCE[0]}")/tensorboard_server.sh")"
echo "$url"
