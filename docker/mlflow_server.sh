# shellcheck shell=sh
# Serves MLflow on mlruns/ of this folder: docker/mlflow.sh starts it in the container, `make mlflow` without one.
# $1: port; $2: the address to listen on; $3: the host names in its URL: requests that name another host are refused, as
# an attack by DNS rebinding would send them
mkdir -p mlruns
# MLflow's jobs are for language models, and would start a scheduler and its workers
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true
# Without workflowType, MLflow opens with its page for language models. In the container, docker/mlflow.sh prints the URL.
[ "$2" = 0.0.0.0 ] || echo "http://localhost:$1/#/experiments?workflowType=machine_learning"
exec mlflow server --workers 1 --host "$2" --port "$1" --allowed-hosts "$3" \
  --backend-store-uri sqlite:///mlruns/mlflow.db --artifacts-destination mlruns/artifacts
