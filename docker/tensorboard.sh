#!/usr/bin/env bash
# docker/tensorboard.sh [port]
#
# Starts TensorBoard in the running container, for all runs in outputs/ and multirun/, and prints its URL. The port is
# that of the container (6006), for which docker/run.sh has published one of the host.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/server.sh"

# one folder with links to both, whether they exist yet or not; --logdir_spec would disable the fast reader
# shellcheck disable=SC2016 # the container's sh expands it
serve tensorboard "${1-6006}" '
  mkdir -p /tmp/tensorboard
  ln -sfn /workspace/outputs /workspace/multirun /tmp/tensorboard
  exec tensorboard --logdir /tmp/tensorboard --host 0.0.0.0 --port "$1"'
echo "$url"
