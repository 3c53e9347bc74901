#!/usr/bin/env bash
# docker/mlflow.sh [port]
#
# Starts MLflow in the running container, on mlruns/mlflow.db and mlruns/artifacts, and prints its URL (port 5000).
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/server.sh"

# No jobs: they are for language models, and would bring a scheduler and its workers. Hosts: those under which it can be
# reached; any other name in a request comes from a page that attacks it (DNS rebinding).
serve mlflow "${1-5000}" "
  mkdir -p mlruns
  export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
  exec mlflow server --workers 1 \
    --backend-store-uri sqlite:///mlruns/mlflow.db --artifacts-destination mlruns/artifacts \
    --host 0.0.0.0 --port \"\$1\" --allowed-hosts 'localhost:*,127.0.0.1:*,$(setting BIND 127.0.0.1):*,$(hostname):*'"
echo "$url"
