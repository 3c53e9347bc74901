#!/usr/bin/env bash
# docker/mlflow.sh [port]
#
# Starts MLflow in the running container, for mlruns/mlflow.db and mlruns/artifacts, and prints its URL. The port is that
# of the container (5000), for which docker/run.sh has published one of the host.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/server.sh"

hosts="localhost:*,127.0.0.1:*,$ADDRESS:*,$(hostname):*"
serve mlflow "${1-5000}" "set -- \"\$1\" 0.0.0.0 '$hosts'
$(<"$(dirname -- "${BASH_SOURCE[0]}")/mlflow_server.sh")"
# without workflowType, MLflow opens with its page for language models
echo "$url/#/experiments?workflowType=machine_learning"
