# shellcheck shell=sh
# MLflow on mlruns/ of this folder: what docker/mlflow.sh starts in the container, and `make mlflow` without one.
# $1: port; $2: the address to listen on; $3: the hosts under which it is reached, as any other name in a request comes
# from a page that attacks it (DNS rebinding)
mkdir -p mlruns
# no jobs: they are for language models, and would bring a scheduler and its workers
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true
exec mlflow server --workers 1 --host "$2" --port "$1" --allowed-hosts "$3" \
  --backend-store-uri sqlite:///mlruns/mlflow.db --artifacts-destination mlruns/artifacts
